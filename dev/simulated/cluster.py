"""Bringing the simulated cluster up and taking it down, and what can be asked of it meanwhile."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import audit, components, pods
from .components import Layout, Ports
from .credentials import ADMINISTRATOR, Credentials
from .processes import ClusterError, Process

BIN = Path(os.environ.get("ALIGNMENT_CLUSTER_BIN", Path(__file__).resolve().parents[2] / ".cluster/bin"))
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
START_SECONDS = 120.0

Json = dict[str, Any]


@dataclass
class SimulatedCluster:
    """`processes` are in the order of their start; every one can be stopped, killed and started again."""

    layout: Layout
    processes: dict[str, Process]

    @property
    def url(self) -> str:
        return self.layout.credentials.url

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.layout.credentials.kubeconfig_of(ADMINISTRATOR)

    @property
    def audit_log(self) -> Path:
        return self.layout.audit_log

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator. Raises ClusterError with its output, unless `check` is off."""
        command = [str(self.layout.bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *args]
        done = subprocess.run(command, input=input, capture_output=True, text=True)
        if check and done.returncode:
            raise ClusterError(f"kubectl {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def apply(self, *objects: Json) -> None:
        """Server-side apply."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)

    def audit(self, start: int = 0) -> Iterator[Json]:
        """Audit events from byte `start` of the log on (`audit_log.stat().st_size` is where it now ends)."""
        return audit.events(self.audit_log, start)

    def silence(self, node: str) -> None:
        """No heartbeat of this node any more, and nothing happens on it: its Lease is another's than KWOK's."""
        self._change_lease(node, {"holderIdentity": "nobody", "leaseDurationSeconds": 24 * 3600})

    def wake(self, node: str) -> None:
        """The silent node is back: its Lease has run out, so KWOK takes it again."""
        self._change_lease(node, {"leaseDurationSeconds": 1})

    def _change_lease(self, node: str, spec: Json) -> None:
        self.kubectl("patch", "lease", node, "-n=kube-node-lease", "--type=merge", "-p", json.dumps({"spec": spec}))

    def service_account(self, namespace: str, name: str, role: str | None = "cluster-admin", hours: int = 24) -> Path:
        """The kubeconfig of a ServiceAccount with that ClusterRole; both and the namespace are made if missing."""
        account = {"kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, {"apiVersion": "v1"} | account
        )
        if role:
            self.apply(_binding(namespace, name, role))
        token = self.kubectl("create", "token", name, f"-n={namespace}", f"--duration={hours}h").stdout.strip()
        path = self.layout.folder / f"{namespace}-{name}.kubeconfig"
        return self.layout.credentials.write_kubeconfig(path, token)

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Raises ClusterError when the condition does not come true, or a process has ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise ClusterError(f"{what}: not in {seconds:.0f} s")
            time.sleep(0.2)


def ready(credentials: Credentials) -> bool:
    """Whether the API server says so."""
    try:
        context = ssl.create_default_context(cafile=str(credentials.authority))
        headers = {"Authorization": f"Bearer {credentials.token_of(ADMINISTRATOR)}"}
        request = urllib.request.Request(f"{credentials.url}/readyz", headers=headers)
        with urllib.request.urlopen(request, context=context, timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def simulated_cluster(
    folder: Path,
    *,
    nodes: int = 5,
    audit: bool = False,
    bodies: Sequence[str] = (),
    pod_seconds: float = 5.0,
    message: str = "",
    node_grace: int | None = None,
) -> Iterator[SimulatedCluster]:
    """A running cluster whose every process ends with the block.

    Args:
        folder: state, logs and kubeconfigs; its path must be absolute.
        nodes: simulated nodes, each with room for everything.
        audit: whether there is an audit log.
        bodies: API groups ("batch", "alignment-operator.io") whose writes are in the audit log with their objects.
        pod_seconds: how long a pod runs before it succeeds.
        message: termination message of pods that succeed.
        node_grace: seconds without a heartbeat after which a node is lost. None: nodes send none and nobody looks, so
            that an idle cluster is silent.

    Raises:
        ClusterError: a program is not built, or a part did not start.
    """
    cluster = _cluster(folder, tuple(bodies) if audit else None, pod_seconds, message, node_grace)
    try:
        _start(cluster, nodes)
        yield cluster
    finally:
        for process in reversed(cluster.processes.values()):
            process.stop()


def _cluster(
    folder: Path, bodies: tuple[str, ...] | None, pod_seconds: float, message: str, node_grace: int | None
) -> SimulatedCluster:
    missing = [name for name in (*PROGRAMS, "kubectl") if not (BIN / name).exists()]
    if missing:
        raise ClusterError(f"not built: run `python3 -m dev.cluster build {' '.join(missing)}`")
    folder.mkdir(parents=True, exist_ok=True)
    ports = Ports()
    credentials = Credentials(folder, f"https://{components.LOOPBACK}:{ports.api}")
    credentials.make()
    layout = Layout(BIN, folder, ports, credentials)
    lines = (
        components.etcd(layout),
        components.api_server(layout, components.audited(layout, bodies) if bodies is not None else {}),
        components.controller_manager(layout, node_grace),
        components.scheduler(layout),
        components.kwok(layout, pod_seconds, message, node_grace),
    )
    made = {name: Process(name, line, folder / f"{name}.log") for name, line in zip(PROGRAMS, lines, strict=True)}
    return SimulatedCluster(layout, made)


def _start(cluster: SimulatedCluster, nodes: int) -> None:
    api = cluster.processes["kube-apiserver"]
    cluster.processes["etcd"].start()
    api.start()
    cluster.wait("API server", lambda: bool(api.pid) and ready(cluster.layout.credentials))
    for process in cluster.processes.values():
        process.start()
    cluster.apply(*(pods.node(f"node-{number}") for number in range(1, nodes + 1)))
    cluster.wait("nodes", lambda: _ready_nodes(cluster) == nodes)


def _binding(namespace: str, name: str, role: str) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{namespace}:{name}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
    }


def _ready_nodes(cluster: SimulatedCluster) -> int:
    for process in cluster.processes.values():
        process.pid  # noqa: B018  raises when it has died
    found = json.loads(cluster.kubectl("get", "nodes", "-o=json").stdout)["items"]
    conditions = (node.get("status", {}).get("conditions") or () for node in found)
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in ready) for ready in conditions)
