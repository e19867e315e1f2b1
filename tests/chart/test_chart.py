"""The chart renders what it should, refuses what it should, and is in step with the operator."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from onezone_operator import naming
from onezone_operator.config import Settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "onezone-operator"
LAB_HELM = Path.home() / ".cache" / "kindlab" / "bin" / "helm"
HELM = shutil.which("helm") or (str(LAB_HELM) if LAB_HELM.exists() else None)
needs_helm = pytest.mark.skipif(HELM is None, reason="no helm: make up builds one")


def helm(*words: object) -> subprocess.CompletedProcess[str]:
    command = [str(HELM), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)


def render(*settings: str) -> list[dict[str, Any]]:
    options = [word for setting in settings for word in ("--set-json", setting)]
    done = helm("template", "here", CHART, "-n", "there", "--kube-version", "1.35", *options)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def one(kind: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def test_crds_are_the_repositorys():
    """Helm installs its own copy: it must be the same bytes."""
    for path in (ROOT / "crds").glob("*.yaml"):
        assert (CHART / "crds" / path.name).read_bytes() == path.read_bytes()
    assert len(list((CHART / "crds").iterdir())) == len(list((ROOT / "crds").iterdir()))


def test_every_value_is_commented_and_has_a_schema():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    text = (CHART / "values.yaml").read_text()
    for name in values:
        assert name in schema["properties"], f"{name} is not in values.schema.json"
        assert f"# {name}" in text or f"{name}." in text or f", {name}" in text, name
    assert schema["additionalProperties"] is False


@needs_helm
def test_lint():
    done = helm("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_helm
@pytest.mark.parametrize("namespaces", [[], ["one", "two"]])
def test_rules_are_the_operators(namespaces: list[str]):
    """Granted is what the operator says it needs, cluster-wide or in each namespace."""
    objects = render(f"watchNamespaces={json.dumps(namespaces)}")
    roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
    lease = roles.pop()
    assert lease["metadata"]["name"] == "here-onezone-operator-lease"
    known = json.dumps(lease["rules"]).replace("here-onezone-operator", naming.OPERATOR)
    assert json.loads(known) == [dict(rule) for rule in naming.LEASE_RULES]
    assert [role["kind"] for role in roles] == (["Role"] * 2 if namespaces else ["ClusterRole"])
    assert [role["metadata"].get("namespace") for role in roles] == (namespaces or [None])
    for role in roles:
        assert role["rules"] == [dict(rule) for rule in naming.RBAC_RULES]


@needs_helm
def test_environment_is_the_operators_settings():
    """A variable that the operator does not know would be a setting without effect."""
    objects = render('watchNamespaces=["one","two"]', 'logLevel="debug"')
    (container,) = one("Deployment", objects)["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    known = {f"ONEZONE_{name.upper()}" for name in Settings.model_fields}
    assert environment.keys() <= known
    assert environment["ONEZONE_NAMESPACES"] == "one,two"
    assert environment["ONEZONE_LOG_LEVEL"] == "DEBUG"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"health": Settings().probe_port, "metrics": Settings().metrics_port}


@needs_helm
@pytest.mark.parametrize("replicas", [0, 1, 2, 3])
def test_replicas_share_a_lease_and_one_may_be_evicted(replicas: int):
    objects = render(f"replicas={replicas}")
    deployment = one("Deployment", objects)["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    environment = {each["name"]: each for each in container["env"]}
    field = environment["ONEZONE_LEASE_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.namespace"
    (role,) = (
        each
        for each in objects
        if each["kind"] == "Role" and each["metadata"]["name"].endswith("-lease")
    )
    names = [name for rule in role["rules"] for name in rule.get("resourceNames", ())]
    assert names == [environment["ONEZONE_LEASE_NAME"]["value"]]
    budgets = [each["spec"] for each in objects if each["kind"] == "PodDisruptionBudget"]
    assert [each["maxUnavailable"] for each in budgets] == ([1] if replicas > 1 else [])
    labels = deployment["template"]["metadata"]["labels"].items()
    for each in (*budgets, {"selector": deployment["selector"]}):
        assert each["selector"]["matchLabels"].items() <= labels
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= labels
    assert deployment["strategy"]["type"] == "RollingUpdate"


@needs_helm
def test_pods_meet_the_restricted_standard():
    objects = render()
    deployment = one("Deployment", objects)["spec"]["template"]["spec"]
    for spec in (deployment, one("Pod", objects)["spec"]):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]["memory"]
            assert ":latest" not in container["image"]
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= {"emptyDir", "configMap", "secret", "projected"}


@needs_helm
def test_selectors_match_and_services_lead_somewhere():
    objects = render()
    template = one("Deployment", objects)["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    assert one("Deployment", objects)["spec"]["selector"]["matchLabels"].items() <= labels
    service = one("Service", objects)["spec"]
    assert service["selector"].items() <= labels
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports
    test = one("Pod", objects)["metadata"]["labels"].items()
    assert not service["selector"].items() <= test


@needs_helm
def test_network_policy_of_the_operator():
    assert not [each for each in render() if each["kind"] == "NetworkPolicy"]
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = render("networkPolicy.enabled=true", f"networkPolicy.metricsFrom={json.dumps(peers)}")
    policy = one("NetworkPolicy", objects)["spec"]
    template = one("Deployment", objects)["spec"]["template"]
    assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress"]
    ports = {each["name"] for each in template["spec"]["containers"][0]["ports"]}
    allowed = {
        port["port"]: rule.get("from") for rule in policy["ingress"] for port in rule["ports"]
    }
    assert allowed == {"metrics": peers, "health": None}
    assert allowed.keys() == ports
    (open_to_all, _) = one("NetworkPolicy", render("networkPolicy.enabled=true"))["spec"]["ingress"]
    assert "from" not in open_to_all


MONITORING = {"PrometheusRule", "ServiceMonitor", "PodMonitor", "ConfigMap"}


@needs_helm
def test_monitoring_is_off_by_default():
    assert not MONITORING & {each["kind"] for each in render()}


@needs_helm
def test_alerts_are_those_of_the_file_and_lead_to_their_runbooks():
    address = "https://docs.example.org/main/"
    objects = render("monitoring.alerts=true", f'monitoring.runbookUrl="{address}"')
    plain = (CHART / "files" / "alerts.yaml").read_text()
    expected = yaml.safe_load(plain.replace("docs/runbooks/", f"{address}docs/runbooks/"))
    assert one("PrometheusRule", objects)["spec"] == expected
    assert {each["kind"] for each in objects} & MONITORING == {"PrometheusRule"}


@needs_helm
@pytest.mark.parametrize("namespaces", [[], ["one", "two"]])
def test_monitors_find_the_operator_and_its_servers(namespaces: list[str]):
    watched = f"watchNamespaces={json.dumps(namespaces)}"
    objects = render("monitoring.monitors=true", watched, 'monitoring.labels={"release":"p"}')
    operator = one("ServiceMonitor", objects)
    labels = one("Service", objects)["metadata"]["labels"].items()
    assert operator["spec"]["selector"]["matchLabels"].items() <= labels
    (endpoint,) = operator["spec"]["endpoints"]
    ports = {port["name"] for port in one("Service", objects)["spec"]["ports"]}
    assert endpoint["port"] in ports
    servers = one("PodMonitor", objects)
    selected = servers["spec"]["selector"]["matchLabels"].items()
    assert selected <= naming.object_labels("zone").items()
    expected = {"matchNames": namespaces} if namespaces else {"any": True}
    assert servers["spec"]["namespaceSelector"] == expected
    (label,) = (
        label
        for relabeling in servers["spec"]["podMetricsEndpoints"][0]["relabelings"]
        for label in relabeling.get("sourceLabels", [])
    )
    assert label == "__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", naming.ZONE_LABEL)
    for monitor in (operator, servers):
        assert monitor["metadata"]["labels"]["release"] == "p"


@needs_helm
def test_dashboards_are_the_files():
    objects = [each for each in render("monitoring.dashboards=true") if each["kind"] == "ConfigMap"]
    shipped = {name: json.loads(text) for each in objects for name, text in each["data"].items()}
    files = (CHART / "files" / "dashboards").glob("*.json")
    assert shipped == {f"onezone-{path.name}": json.loads(path.read_text()) for path in files}
    assert all(each["metadata"]["labels"]["grafana_dashboard"] == "1" for each in objects)


@needs_helm
def test_digest_wins_over_tag():
    digest = "sha256:" + "a" * 64
    objects = render(f'image.digest="{digest}"', 'onedImage.tag="1.2.3"')
    (container,) = one("Deployment", objects)["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f"@{digest}")
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["ONEZONE_ONED_IMAGE"].endswith(":1.2.3")


@needs_helm
@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("replicsa=1", "replicsa"),
        ("replicas=6", "replicas"),
        ("replicas=-1", "replicas"),
        ('image.tag="latest"', "tag"),
        ('logLevel="loud"', "logLevel"),
        ('resources.requests.memory="much"', "memory"),
        ('watchNamespaces=["Not A Name"]', "watchNamespaces"),
        ('image.pullPolicy="Sometimes"', "pullPolicy"),
        ('monitoring.runbookUrl="docs"', "runbookUrl"),
        ("monitoring.alert=true", "alert"),
        ("serviceAccount.create=false", "serviceAccount.name is needed"),
    ],
)
def test_wrong_values_are_refused(setting: str, complaint: str):
    options = ("--kube-version", "1.35", "--set-json", setting)
    done = helm("template", "here", CHART, *options)
    assert done.returncode != 0
    assert complaint in done.stderr
