"""The CRD: ``crds/`` is what the models say, it is structural, and the models agree with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pydantic import ValidationError

from onezone_operator.cli import main
from onezone_operator.models.crd import DEFINITIONS, FILE_NAME, TASK, build_crd, render_crd
from onezone_operator.models.onezone import OneZoneSpec
from onezone_operator.naming import RBAC_RULES

ROOT = Path(__file__).parents[2]
REFUSED = yaml.safe_load((Path(__file__).parent / "data" / "refused.yaml").read_text())


def schema(definition=DEFINITIONS[0]):
    return build_crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


every_kind = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.kind)


def walk(node, path=""):
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from walk(node[key], f"{path}[]")


@every_kind
def test_file_is_what_the_models_say(definition):
    text = (ROOT / "crds" / definition.file_name).read_text()
    assert text == render_crd(definition), "run: onezone-operator crds"


@every_kind
def test_rendered_text_is_the_crd(definition):
    assert yaml.safe_load(render_crd(definition)) == build_crd(definition)


@every_kind
def test_schema_is_structural(definition):
    for path, node in walk(schema(definition)):
        assert "$ref" not in node, path
        assert "title" not in node, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        if "anyOf" in node:
            assert node.get("x-kubernetes-int-or-string"), path


@every_kind
def test_every_field_is_described_and_every_rule_has_a_message(definition):
    for path, node in walk(schema(definition)["properties"]["spec"], "spec"):
        if not path.endswith("[]"):
            assert node.get("description"), path
        for rule in node.get("x-kubernetes-validations", []):
            assert rule["message"], path


@every_kind
def test_status_has_no_defaults(definition):
    for path, node in walk(schema(definition)["properties"]["status"]):
        assert "default" not in node, path


def test_defaults_of_the_schema_are_those_of_the_model():
    spec = schema()["properties"]["spec"]
    assert OneZoneSpec.model_validate(spec["default"]) == OneZoneSpec()


@every_kind
def test_names_in_the_schema_are_those_of_the_model(definition):
    for section, model in (("spec", definition.spec), ("status", definition.status)):
        names = {field.alias for field in model.model_fields.values()}
        assert set(schema(definition)["properties"][section]["properties"]) == names


def test_a_spec_that_must_be_given_has_no_default():
    tasks = schema(TASK)
    assert tasks["required"] == ["spec"]
    assert tasks["properties"]["spec"]["required"] == ["zoneRef", "type"]
    assert "default" not in tasks["properties"]["spec"]


def test_only_confirm_of_a_task_can_be_changed():
    spec = schema(TASK)["properties"]["spec"]
    rules = " ".join(each["rule"] for each in spec["x-kubernetes-validations"])
    for name in spec["properties"]:
        assert (f"self.{name} == oldSelf.{name}" in rules) == (name != "confirm"), name


@pytest.mark.parametrize(
    "case", [case for case in REFUSED if case.get("model", True)], ids=lambda case: case["title"]
)
def test_model_refuses_what_the_api_server_refuses(case):
    with pytest.raises(ValidationError):
        OneZoneSpec.model_validate(case["spec"])


def test_command_writes_and_checks(tmp_path):
    runner = CliRunner()
    arguments = ["crds", "--output", str(tmp_path / "crds")]
    assert runner.invoke(main, [*arguments, "--check"]).exit_code == 1
    assert runner.invoke(main, arguments).exit_code == 0
    assert runner.invoke(main, [*arguments, "--check"]).exit_code == 0
    (tmp_path / "crds" / FILE_NAME).write_text("changed")
    assert runner.invoke(main, [*arguments, "--check"]).exit_code == 1


def test_rules_grant_no_wildcard_and_nothing_cluster_wide():
    for rule in RBAC_RULES:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"nodes", "namespaces", "customresourcedefinitions"} & set(rule["resources"])
