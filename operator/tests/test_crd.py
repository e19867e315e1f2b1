"""The CRD: ``crds/`` is what the models say, it is structural, and the models agree with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pydantic import ValidationError

from onezone_operator.cli import main
from onezone_operator.models.crd import FILE_NAME, build_crd, render_crd
from onezone_operator.models.onezone import OneZoneSpec
from onezone_operator.naming import RBAC_RULES

ROOT = Path(__file__).parents[2]
REFUSED = yaml.safe_load((Path(__file__).parent / "data" / "refused.yaml").read_text())


def schema():
    return build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def walk(node, path=""):
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from walk(node[key], f"{path}[]")


def test_file_is_what_the_models_say():
    assert (ROOT / "crds" / FILE_NAME).read_text() == render_crd(), "run: onezone-operator crds"


def test_rendered_text_is_the_crd():
    assert yaml.safe_load(render_crd()) == build_crd()


def test_schema_is_structural():
    for path, node in walk(schema()):
        assert "$ref" not in node, path
        assert "title" not in node, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        if "anyOf" in node:
            assert node.get("x-kubernetes-int-or-string"), path


def test_every_field_is_described_and_every_rule_has_a_message():
    for path, node in walk(schema()["properties"]["spec"], "spec"):
        if not path.endswith("[]"):
            assert node.get("description"), path
        for rule in node.get("x-kubernetes-validations", []):
            assert rule["message"], path


def test_status_has_no_defaults():
    for path, node in walk(schema()["properties"]["status"]):
        assert "default" not in node, path


def test_defaults_of_the_schema_are_those_of_the_model():
    spec = schema()["properties"]["spec"]
    assert OneZoneSpec.model_validate(spec["default"]) == OneZoneSpec()


def test_names_in_the_schema_are_those_of_the_model():
    names = {field.alias for field in OneZoneSpec.model_fields.values()}
    assert set(schema()["properties"]["spec"]["properties"]) == names


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
