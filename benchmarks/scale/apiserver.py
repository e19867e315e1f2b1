"""A real Kubernetes API without nodes: etcd, kube-apiserver and, on request, a few controllers.

Local processes on loopback with certificates of their own. Tests and the benchmark of the operator
use it where what matters is what the API server itself does: versions, conflicts, watches,
admission, roles, audit. The binary is the one that the test cluster's nodes are made of.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.goprograms import NotBuilt, alone, go
from benchmarks.processes import BenchmarkError, Child, free_ports, wait_until
from benchmarks.scale.identities import Identities

__all__ = ["ADMIN", "ApiServer", "binary", "compiled", "missing"]

ROOT = Path(__file__).resolve().parents[2]
KINDLAB = ROOT / "tests" / "e2e" / "kindlab" / "kindlab"
HOME = Path(os.environ.get("KINDLAB_HOME", Path.home() / ".cache" / "kindlab"))
BINARY = HOME / "bin" / "kube"
BUILD_SECONDS = 1200
READY_SECONDS = 90
STOP_SECONDS = 10
IDLE_SECONDS = 60
"""The API server closes a connection that was idle for 90, and a test may compile for longer."""
_OK, _ERRORS, _NOT_FOUND = 200, 400, 404
ADMIN = "admin"
"""A user who may do anything."""

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager"]},
        {"level": "Metadata"},
    ],
}


def missing() -> str:
    """Why there can be no API server here; empty when there can."""
    if BINARY.exists() or go() is not None:
        return ""
    return f"no {BINARY}, and no Go to make it: {KINDLAB.relative_to(ROOT)} --help"


def binary() -> Path:
    """The binary of all of Kubernetes, compiled where it is not there yet: minutes, once.

    Raises:
        NotBuilt: it cannot be made.
    """
    return compiled("kube")


def compiled(name: str) -> Path:
    """A program of the test cluster's, made by the cluster's own tool if it is not there yet.

    Raises:
        NotBuilt: it cannot be made.
    """
    path = HOME / "bin" / name
    with alone(HOME / f"{name}.lock"):
        if path.exists():
            return path
        compiler = go()
        if compiler is None:
            raise NotBuilt(f"no {path}, and no Go to make it: {KINDLAB.relative_to(ROOT)} --help")
        search = f"{os.environ.get('PATH', '')}:{Path(compiler).parent}"
        done = subprocess.run(
            [KINDLAB, name],
            env=os.environ | {"PATH": search},
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
        if done.returncode:
            raise NotBuilt(f"{name} was not compiled: {done.stderr[-2000:]}")
    return path


class ApiServer:
    """Use as a context manager, which starts it and waits until it is ready.

    Args:
        controllers: of kube-controller-manager, by their names; none are run when empty.
        audit: whether each request is written down, for ``requests``.
        directory: where its files are; one of its own when absent, and gone afterwards.
    """

    def __init__(
        self,
        *,
        controllers: Iterable[str] = (),
        audit: bool = True,
        directory: Path | None = None,
    ) -> None:
        self._scratch = None if directory else tempfile.TemporaryDirectory(prefix="apiserver-")
        self.directory = directory or Path(self._scratch.name if self._scratch else "")
        self._controllers = tuple(controllers)
        self._has_audit = audit
        self._children: list[Child] = []
        self._identities = Identities(self.directory)
        self.url = ""
        self._connection: http.client.HTTPSConnection | None = None
        self._used = 0.0

    def __enter__(self) -> Self:
        try:
            self._start(binary())
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, kube: Path) -> None:
        for name in ("etcd", "kube-apiserver", "kube-controller-manager"):
            (self.directory / name).symlink_to(kube)
        etcd, peer, port = free_ports(3)
        store = f"http://127.0.0.1:{etcd}"
        self.url = f"https://127.0.0.1:{port}"
        self._child(
            "etcd",
            f"--data-dir={self.directory / 'data'}",
            # What is tried here is no disk: nothing of it outlives the process.
            "--unsafe-no-fsync",
            f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        )
        made = self._identities
        made.make_server()
        options = [
            f"--etcd-servers={store}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            f"--client-ca-file={made.authority}",
            f"--tls-cert-file={made.server_certificate}",
            f"--tls-private-key-file={made.server_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={made.server_key}",
            f"--service-account-signing-key-file={made.server_key}",
            "--allow-privileged=true",
        ]
        if self._has_audit:
            policy = self.directory / "audit-policy.json"
            policy.write_text(json.dumps(AUDIT_POLICY))
            options += [f"--audit-policy-file={policy}", f"--audit-log-path={self._audit_log}"]
        self._child("kube-apiserver", *options)
        self.kubeconfig(ADMIN, groups=("system:masters",))
        wait_until(self._is_ready, "ready: the API server", READY_SECONDS)
        if self._controllers:
            user = "system:kube-controller-manager"
            self._child(
                "kube-controller-manager",
                f"--kubeconfig={self.kubeconfig(user, groups=('system:masters',))}",
                f"--controllers={','.join(self._controllers)}",
                "--leader-elect=false",
                "--use-service-account-credentials=false",
                "--secure-port=0",
                "--kube-api-qps=1000",
                "--kube-api-burst=2000",
                "--concurrent-statefulset-syncs=20",
            )

    def _child(self, name: str, *options: str) -> None:
        command = [str(self.directory / name), *options]
        child = Child(command, self.directory / f"{name}.log")
        self._children.append(child)
        child.start()

    def stop(self) -> None:
        """End all of it; safe to call at any time."""
        self._disconnect()
        for child in reversed(self._children):
            if not child.has_ended():
                child.kill(signal.SIGTERM)
                try:
                    wait_until(child.has_ended, "ended", STOP_SECONDS)
                except BenchmarkError:
                    child.end()
        self._children.clear()
        if self._scratch is not None:
            self._scratch.cleanup()

    def _is_ready(self) -> bool:
        if any(child.has_ended() for child in self._children):
            log = (self.directory / "kube-apiserver.log").read_text(errors="replace")
            raise BenchmarkError(f"etcd or the API server ended: {log[-1500:]}")
        try:
            return self._ask("GET", "/readyz")[0] == _OK
        except (OSError, http.client.HTTPException):
            return False

    # Users

    def kubeconfig(
        self, user: str, *, groups: tuple[str, ...] = (), token: str | None = None
    ) -> Path:
        """A kubeconfig of a user, who is known by a certificate, or else by a token."""
        if token is not None:
            login: dict[str, str] = {"token": token}
        else:
            certificate, key = self._identities.make_client(user, groups)
            login = {"client-certificate": str(certificate), "client-key": str(key)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [
                {
                    "name": "here",
                    "cluster": {
                        "server": self.url,
                        "certificate-authority": str(self._identities.authority),
                    },
                }
            ],
            "users": [{"name": user, "user": login}],
            "contexts": [
                {
                    "name": "here",
                    "context": {"cluster": "here", "user": user, "namespace": "default"},
                }
            ],
        }
        path = self.directory / f"{user.replace(':', '-')}.kubeconfig"
        path.write_text(json.dumps(content))
        return path

    def token(self, namespace: str, account: str) -> str:
        """A token of a ServiceAccount, as a pod would be given it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer: str = self.request("POST", path, body)["status"]["token"]
        return answer

    # Requests, as the admin

    def request(
        self,
        verb: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
    ) -> Any:
        """What the API server answers, decoded.

        Raises:
            BenchmarkError: with a status that is an error.
        """
        data = None if body is None else json.dumps(body).encode()
        return _decoded(verb, path, *self._ask(verb, path, data, content_type))

    def find(self, path: str) -> Any:
        """An object, or None where there is none.

        Raises:
            BenchmarkError: with any other error.
        """
        status, text = self._ask("GET", path)
        return None if status == _NOT_FOUND else _decoded("GET", path, status, text)

    def apply(self, path: str, manifest: Any, *, dry_run: bool = False) -> Any:
        """Server-side apply at this path."""
        query = "?fieldManager=test&force=true" + ("&dryRun=All" if dry_run else "")
        return self.request(
            "PATCH", path + query, manifest, content_type="application/apply-patch+yaml"
        )

    def make_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """A new namespace."""
        metadata = {"name": name, "labels": labels or {}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.request("POST", "/api/v1/namespaces", body)

    def install_crds(self, folder: Path = ROOT / "crds", files: str = "*.yaml") -> None:
        """CRDs, the project's unless told otherwise, and wait until they are served."""
        import yaml  # noqa: PLC0415 - the other benchmarks run without it

        root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for path in sorted(folder.glob(files)):
            crd = yaml.safe_load(path.read_text())
            name = crd["metadata"]["name"]
            self.apply(f"{root}/{name}", crd)
            wait_until(functools.partial(self._is_established, f"{root}/{name}"), f"served: {name}")

    def _is_established(self, path: str) -> bool:
        conditions = self.request("GET", path).get("status", {}).get("conditions") or []
        return any(
            each["type"] == "Established" and each["status"] == "True" for each in conditions
        )

    # Audit

    @property
    def _audit_log(self) -> Path:
        return self.directory / "audit.log"

    def requests(self, user: str, *, since: int = 0) -> Iterator[dict[str, Any]]:
        """What a user asked for: the audit events after a ``mark``."""
        with self._audit_log.open("rb") as log:
            log.seek(since)
            for line in log:
                if not line.endswith(b"\n"):
                    return  # being written; what follows here would be the rest of it
                event = json.loads(line)
                if event.get("user", {}).get("username") == user:
                    yield event

    def mark(self) -> int:
        """A place in the audit log: now, between two lines."""
        return self._audit_log.read_bytes().rfind(b"\n") + 1

    def _ask(
        self, verb: str, path: str, data: bytes | None = None, content_type: str = ""
    ) -> tuple[int, bytes]:
        """Status and body, over a connection that is kept."""
        headers = {"Content-Type": content_type} if content_type else {}
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._disconnect()
        if self._connection is None:
            self._connection = self._connect()
        try:
            self._connection.request(verb, path, data, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except BaseException:
            self._disconnect()
            raise
        finally:
            self._used = time.monotonic()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPSConnection:
        certificate, key = self._identities.make_client(ADMIN, ("system:masters",))
        context = ssl.create_default_context(cafile=str(self._identities.authority))
        context.load_cert_chain(certificate, key)
        host = self.url.removeprefix("https://")
        return http.client.HTTPSConnection(host, timeout=30, context=context)


def _decoded(verb: str, path: str, status: int, text: bytes) -> Any:
    if status >= _ERRORS:
        raise BenchmarkError(f"{verb} {path}: {status} {text[:1000].decode(errors='replace')}")
    return json.loads(text or b"{}")
