"""A Kubernetes to try things on: finds one, makes one, gives it the images, installs the operator,
takes it away.

Which cluster: the one of KUBECONFIG when that is set; else one that an earlier run made; else a
new kind cluster of kind-config.yaml, on kind's own node image where a registry answers and on one
made from packages (tests/e2e/kindlab) where none does.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
from pathlib import Path

import commands
import images

NAME = "onezone"
"""kind's name for a cluster of ours."""
NAMESPACE = "onezone-system"
RELEASE = "onezone-operator"
CHART = commands.ROOT / "charts" / "onezone-operator"
KIND_CONFIG = commands.ROOT / "kind-config.yaml"
KUBECONFIG = Path.home() / ".cache" / "onezone" / "kubeconfig"
LOCK = KUBECONFIG.parent / "lock"
LAB_HOME = Path(os.environ.get("KINDLAB_HOME", Path.home() / ".cache" / "kindlab"))
LAB_KUBECONFIG = LAB_HOME / "kubeconfig"
LAB_BIN = LAB_HOME / "bin"
PROGRAMS = ("kind", "kubectl", "helm")
LAB_NEEDS = ("dockerd", "debootstrap", "go")
CREATE_SECONDS = "180s"
OPERATOR_SECONDS = "240s"


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster that answers."""

    kubeconfig: str
    """What KUBECONFIG is set to for kubectl and helm."""
    ours: bool
    """Whether `down` may delete the cluster itself."""

    def use(self) -> None:
        """Let every command from here on talk to this cluster."""
        os.environ["KUBECONFIG"] = self.kubeconfig

    @property
    def context(self) -> str:
        """The name of the kube-context."""
        return commands.output("kubectl", "config", "current-context")

    @property
    def kind_name(self) -> str | None:
        """Kind's name of the cluster, or None where it is not one of kind's on this machine's
        engine.
        """
        name = self.context.removeprefix("kind-")
        known = shutil.which("kind") and name in commands.output("kind", "get", "clusters").split()
        return name if known else None


def find_programs() -> None:
    """Put the folder of the programs that were compiled here behind PATH: the machine's own are
    preferred.
    """
    folders = (os.environ.get("PATH", ""), str(LAB_BIN), "/usr/local/go/bin", "/usr/sbin", "/sbin")
    os.environ["PATH"] = ":".join(folders)


def reachable(kubeconfig: str) -> bool:
    """Whether an API server answers there."""
    return commands.answers(
        "kubectl", "--kubeconfig", kubeconfig, "--request-timeout=10s", "get", "--raw", "/readyz"
    )


def find() -> Cluster | None:
    """The cluster that KUBECONFIG names or an earlier run made, if it answers."""
    find_programs()
    if named := os.environ.get("KUBECONFIG"):
        if not shutil.which("kubectl"):
            commands.fail("KUBECONFIG is set, but there is no kubectl on PATH")
        if not commands.answers("kubectl", "--request-timeout=10s", "get", "--raw", "/readyz"):
            commands.fail(
                f"the cluster of KUBECONFIG={named} does not answer",
                next_command="unset KUBECONFIG; make up",
            )
        own = named in (str(KUBECONFIG), str(LAB_KUBECONFIG))
        return Cluster(kubeconfig=named, ours=own)
    for path in (KUBECONFIG, LAB_KUBECONFIG):
        if path.exists() and shutil.which("kubectl") and reachable(str(path)):
            return Cluster(kubeconfig=str(path), ours=True)
    return None


def engine() -> None:
    """See to it that a Docker engine answers."""
    if commands.answers("docker", "info"):
        return
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        commands.fail(
            "no Docker engine answers, and none can be started here",
            next_command="start Docker, or KUBECONFIG=… make up",
        )
    commands.say("starting a Docker engine")
    commands.run(images.KINDLAB, "engine", quiet=True)


def create() -> Cluster:
    """A new kind cluster."""
    engine()
    if images.base_image() == images.DEFAULT_BASE_IMAGE and all(map(shutil.which, PROGRAMS)):
        commands.say(f"creating the kind cluster {NAME}")
        KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
        commands.run(
            "kind", "create", "cluster", "--name", NAME, "--config", KIND_CONFIG,
            "--kubeconfig", KUBECONFIG, "--wait", CREATE_SECONDS,
        )  # fmt: skip
        return Cluster(kubeconfig=str(KUBECONFIG), ours=True)
    missing = [name for name in LAB_NEEDS if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        commands.fail(
            f"no container registry answers or one of {', '.join(PROGRAMS)} is missing; to make "
            f"them from packages takes root and {', '.join(missing) or 'nothing else'}",
            next_command="install kind, kubectl and helm, or KUBECONFIG=… make up",
        )
    commands.say(
        "creating a kind cluster from packages (the first time takes about 12 minutes on 2 cores)"
    )
    commands.run(images.KINDLAB, "up", KIND_CONFIG)
    return Cluster(kubeconfig=str(LAB_KUBECONFIG), ours=True)


def ensure() -> Cluster:
    """A cluster that answers, in use."""
    cluster = find() or create()
    cluster.use()
    return cluster


def load(cluster: Cluster, names: dict[str, str]) -> dict[str, str]:
    """Make the images known to the cluster's nodes; returns the names under which they are."""
    if registry := os.environ.get("IMAGE_REGISTRY"):
        pushed = {}
        for target, name in names.items():
            pushed[target] = f"{registry.rstrip('/')}/{target}:{name.rpartition(':')[2]}"
            commands.say(f"pushing {pushed[target]}")
            commands.run("docker", "tag", name, pushed[target])
            commands.run("docker", "push", "--quiet", pushed[target], quiet=True)
        return pushed
    if not (kind_name := cluster.kind_name):
        commands.fail(
            f"the cluster of the context {cluster.context} cannot be given images of this machine",
            next_command="IMAGE_REGISTRY=<a registry that you and the cluster reach> make up",
        )
    commands.say("loading the images into the nodes")
    commands.run("kind", "load", "docker-image", "--name", kind_name, *names.values(), quiet=True)
    return names


def install_operator(names: dict[str, str]) -> None:
    """Install the CRDs and the chart, or upgrade them, and wait until the operator answers."""
    commands.say(f"installing the operator into the namespace {NAMESPACE}")
    # Helm installs CRDs but never upgrades them, so they go their own way.
    commands.run(
        "kubectl",
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        commands.ROOT / "crds",
        quiet=True,
    )
    settings = []
    for value, target in (("image", "operator"), ("onedImage", "oned")):
        repository, _, tag = names[target].rpartition(":")
        settings += [
            "--set-string",
            f"{value}.repository={repository}",
            "--set-string",
            f"{value}.tag={tag}",
        ]
    commands.run(
        "helm", "upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE,
        "--create-namespace", "--skip-crds", "--wait", "--timeout", OPERATOR_SECONDS, *settings,
        quiet=True,
    )  # fmt: skip
    # The chart's pods meet the strictest standard: let the cluster hold them to it.
    commands.run(
        "kubectl", "label", "--overwrite", "namespace", NAMESPACE,
        "pod-security.kubernetes.io/enforce=restricted", quiet=True,
    )  # fmt: skip


def prepare() -> Cluster:
    """A cluster with the operator of these sources on it: what `up` and the e2e tests start
    from.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock:
        # `make up` in one terminal and `make e2e` in another would trip over each other's Helm.
        fcntl.flock(lock, fcntl.LOCK_EX)
        cluster = ensure()
        install_operator(load(cluster, images.build()))
    return cluster


def metallb(cluster: Cluster) -> None:
    """Run MetalLB on a cluster of ours that was made from packages, where it is not there yet."""
    if commands.answers("kubectl", "-n", "metallb-system", "get", "deployment/controller"):
        return
    if cluster.kubeconfig != str(LAB_KUBECONFIG):
        commands.fail(
            "MetalLB is not installed on this cluster",
            next_command="see docs/how-to/floating-address.md",
        )
    commands.say("compiling MetalLB and running it (the first time takes about 3 minutes)")
    commands.run(images.KINDLAB, "metallb", quiet=True)


def policies(cluster: Cluster, *, wanted: bool) -> None:
    """Let the nodes of a cluster that was made from packages heed NetworkPolicies, or no more.

    Networks of other clusters do it by themselves, or cannot be taught.
    """
    if cluster.kubeconfig != str(LAB_KUBECONFIG):
        return
    if wanted:
        commands.say("compiling kube-router and running it (the first time takes about 5 minutes)")
    commands.run(images.KINDLAB, "policies" if wanted else "no-policies", quiet=True)


def down(example: Path) -> None:
    """Take away what `up` made: a cluster of ours whole, else the example zone and the operator."""
    cluster = find()
    if cluster is None:
        commands.say("no cluster of ours answers: nothing to take away")
        return
    cluster.use()
    if cluster.ours:
        commands.run(
            "kind",
            "delete",
            "cluster",
            "--name",
            cluster.kind_name or NAME,
            "--kubeconfig",
            cluster.kubeconfig,
        )
        return
    # The zone first, while there is someone to look after it.
    commands.run("kubectl", "delete", "--ignore-not-found", "--timeout=120s", "-f", example)
    commands.run(
        "helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait"
    )
    if left := commands.output("kubectl", "get", "onezones", "--all-namespaces", "-o", "name"):
        commands.say(f"the CRD stays, because other zones need it: {' '.join(left.split())}")
        return
    commands.run("kubectl", "delete", "--ignore-not-found", "-f", commands.ROOT / "crds")
    commands.run("kubectl", "delete", "--ignore-not-found", "namespace", NAMESPACE)
    if kept := commands.output(
        "kubectl", "get", "pvc", "-l", "onezone.dev/zone=zone", "-o", "name"
    ):
        # Somebody else's cluster: what holds data is theirs to delete.
        commands.say(
            f"volumes are kept ({' '.join(kept.split())}); to delete them and the password:"
        )
        commands.say("  kubectl delete pvc,secret -l onezone.dev/zone=zone")
