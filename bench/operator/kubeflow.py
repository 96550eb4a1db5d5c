"""The other side: Kubeflow Trainer v2.0.0 and JobSet 0.8.2 with the flags and manifests that they are shipped with.

Both run as processes of this machine with their own ServiceAccounts and RBAC. Their webhooks are reached through
Services without selector, whose EndpointSlices name an address of this machine. Both look for their certificate in
one folder, so each has a mount namespace in which that folder is its own; what their certificate rotators write into
Secrets is copied there, as the kubelet would.
"""

from __future__ import annotations

import base64
import json
import socket
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dev.cluster.binaries import provide
from dev.cluster.layout import here
from dev.cluster.modules import download
from dev.cluster.tools import BY_NAME
from dev.simulated.cluster import SimulatedCluster
from dev.simulated.components import free_port
from dev.simulated.processes import Process

Json = dict[str, Any]
CERTIFICATES = "/tmp/k8s-webhook-server/serving-certs"  # hard-coded in both
RUNTIME = "torch"
START_SECONDS = 180.0
CLUSTER_WIDE = ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Namespace")


@dataclass(frozen=True)
class Controller:
    """One of the two: where it is in its Go module, and what of its manifests has to be known."""

    tool: str
    package: str
    manifests: tuple[str, ...]
    namespace: str
    account: str
    service: str
    port_name: str
    secret: str
    webhook: int = field(default_factory=free_port)
    health: int = field(default_factory=free_port)

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.account}"


def trainer() -> Controller:
    return Controller(
        "trainer-controller-manager",
        "github.com/kubeflow/trainer/v2",
        tuple(f"manifests/base/{part}" for part in ("crds", "manager", "rbac", "webhook")),
        "kubeflow-system",
        "kubeflow-trainer-controller-manager",
        "kubeflow-trainer-controller-manager",
        "webhook-server",
        "kubeflow-trainer-webhook-cert",
    )


def jobset() -> Controller:
    return Controller(
        "jobset",
        "sigs.k8s.io/jobset",
        ("config/default",),
        "jobset-system",
        "jobset-controller-manager",
        "jobset-webhook-service",
        "",
        "jobset-webhook-server-cert",
    )


class Kubeflow:
    """Kubeflow Trainer with JobSet."""

    name = "Kubeflow Trainer + JobSet"
    restarts = 0  # neither ends to be started again
    resource = "trainjobs"
    collection = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trainer, self._jobset = trainer(), jobset()
        self._processes: dict[str, Process] = {}
        self._cluster: SimulatedCluster | None = None
        self._gone: set[str] = set()  # who held JobSet's Lease before

    @property
    def users(self) -> tuple[str, ...]:
        return self._trainer.user, self._jobset.user

    @property
    def processes(self) -> dict[str, Process]:
        return self._processes

    def check(self) -> None:
        for process in self._processes.values():
            process.pid  # noqa: B018  raises when it has ended

    def prepare(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        provide(here(), tuple(BY_NAME[one.tool] for one in (self._jobset, self._trainer)))
        for one in (self._jobset, self._trainer):
            _install(cluster, one)
        self._processes = {"trainer": self._process(self._trainer), "jobset": self._process(self._jobset)}
        self.start()
        cluster.wait("ClusterTrainingRuntime", lambda: self._apply_runtime(cluster))
        self.stop()

    def start(self) -> None:
        """JobSet does not give its Lease back: its next process leads when that has run out, after 15 s."""
        self._gone = self._holders()
        for process in self._processes.values():
            process.start()
        deadline = time.monotonic() + START_SECONDS
        waiting = [self._jobset, self._trainer]
        while waiting:
            if time.monotonic() > deadline or not all(process.running for process in self._processes.values()):
                tails = [process.tail() for process in self._processes.values()]
                raise RuntimeError(f"{', '.join(one.tool for one in waiting)}: not ready: {tails}")
            waiting = [one for one in waiting if not (self._ready(one) and self._leads(one))]
            time.sleep(0.2)

    def stop(self) -> None:
        for process in self._processes.values():
            process.stop()

    def manifest(self, namespace: str, name: str, **annotations: str) -> Json:
        trainer: Json = {
            "image": "alignment-operator/trainer:0.1.0",
            "command": ["torchrun", "train.py", "--model=meta-llama/Llama-3.2-1B-Instruct", "--beta=0.1"],
            "numNodes": 1,
            "env": [{"name": "HF_HOME", "value": "/cache/huggingface"}],
            "resourcesPerNode": {
                "requests": {"cpu": "4", "memory": "16Gi"},
                "limits": {"nvidia.com/gpu": "1"},
            },
        }
        return {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainJob",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"runtimeRef": {"name": RUNTIME}, "trainer": trainer},
        }

    def job_of(self, name: str) -> str:
        return f"{name}-node-0"

    def is_complete(self, obj: Json) -> bool:
        conditions = obj.get("status", {}).get("conditions") or ()
        return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)

    def _process(self, one: Controller) -> Process:
        assert self._cluster is not None
        certificates = self._folder / f"{one.tool}-certificates"
        certificates.mkdir()
        kubeconfig = self._cluster.service_account(one.namespace, one.account, role=None)
        program = [str(here().bin / one.tool), f"--kubeconfig={kubeconfig}", *self._flags(one)]
        script = f'mkdir -p {CERTIFICATES} && mount --bind {certificates} {CERTIFICATES} && exec "$@"'
        argv = ["unshare", "--mount", "sh", "-c", script, one.tool, *program]
        return Process(one.tool, argv, self._folder / f"{one.tool}.log")

    def _flags(self, one: Controller) -> list[str]:
        """What its Deployment says, less what is bound to a container: ports, and the folder of its configuration."""
        health = f"--health-probe-bind-address=127.0.0.1:{one.health}"
        if one.tool != self._jobset.tool:
            return [f"--webhook-server-port={one.webhook}", health]
        config = {
            "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
            "kind": "Configuration",
            "leaderElection": {"leaderElect": True, "resourceNamespace": one.namespace},
            "webhook": {"port": one.webhook},
        }
        path = self._folder / "jobset.yaml"
        path.write_text(json.dumps(config))
        return [f"--config={path}", health, "--metrics-bind-address=0"]

    def _ready(self, one: Controller) -> bool:
        self._copy_certificates(one)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{one.health}/readyz", timeout=2):
                return True
        except OSError:
            return False

    def _leads(self, one: Controller) -> bool:
        """The trainer elects no leader."""
        return one is self._trainer or bool(self._holders() - self._gone)

    def _holders(self) -> set[str]:
        """Who holds JobSet's Lease, if there is one by now."""
        assert self._cluster is not None
        found = self._cluster.kubectl("get", "leases", f"-n={self._jobset.namespace}", "-o=json").stdout
        return {lease["spec"].get("holderIdentity", "") for lease in json.loads(found)["items"]} - {""}

    def _copy_certificates(self, one: Controller) -> None:
        """What the kubelet does with a Secret that is mounted."""
        assert self._cluster is not None
        get = ("get", "secret", one.secret, f"-n={one.namespace}", "-o=json")
        found = self._cluster.kubectl(*get, check=False)
        data = json.loads(found.stdout).get("data") or {} if found.returncode == 0 else {}
        for name, content in data.items():
            (self._folder / f"{one.tool}-certificates" / name).write_bytes(base64.b64decode(content))

    def _apply_runtime(self, cluster: SimulatedCluster) -> bool:
        text = json.dumps(_runtime())
        return cluster.kubectl("apply", "-f", "-", input=text, check=False).returncode == 0


def _install(cluster: SimulatedCluster, one: Controller) -> None:
    """CRDs, RBAC, webhooks and Services as its kustomization has them, without what would be a pod."""
    folder = _module(one)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one.namespace}})
    for part in one.manifests:
        text = cluster.kubectl("kustomize", str(folder / part)).stdout
        objects = [_placed(obj, one) for obj in yaml.safe_load_all(text) if obj["kind"] != "Deployment"]
        cluster.apply(*(obj for obj in objects if obj["kind"] != "Secret"))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": one.namespace, "name": one.secret}}
    cluster.apply(secret, _endpoints(one))


def _placed(obj: Json, one: Controller) -> Json:
    """In its namespace; a Service without selector; webhooks and bindings that name the right namespace."""
    if obj["kind"] not in CLUSTER_WIDE and not obj["kind"].endswith("WebhookConfiguration"):
        obj["metadata"]["namespace"] = one.namespace
    for subject in obj.get("subjects") or ():
        subject["namespace"] = one.namespace
    for webhook in obj.get("webhooks") or ():
        webhook["clientConfig"]["service"]["namespace"] = one.namespace
    if obj["kind"] == "Service":
        obj["spec"].pop("selector", None)
    return obj


def _endpoints(one: Controller) -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": one.namespace,
            "name": one.service,
            "labels": {"kubernetes.io/service-name": one.service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [_own_address()], "conditions": {"ready": True}}],
        "ports": [{"name": one.port_name, "port": one.webhook, "protocol": "TCP"}],
    }


def _own_address() -> str:
    """An address of this machine that is not loopback, which an EndpointSlice may not name. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def _module(one: Controller) -> Path:
    """The folder of its Go module, with its manifests; downloaded where only the built program is cached."""
    return download(here(), BY_NAME[one.tool].module, one.package)[0]


def _runtime() -> Json:
    """One node, Kubeflow's torch plugin; resources and command come from the TrainJob."""
    pod = {"containers": [{"name": "node", "image": "alignment-operator/trainer:0.1.0"}]}
    job = {
        "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
        "spec": {"template": {"spec": pod}},
    }
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": RUNTIME},
        "spec": {
            "mlPolicy": {"numNodes": 1, "torch": {"numProcPerNode": "auto"}},
            "template": {"spec": {"replicatedJobs": [{"name": "node", "template": job}]}},
        },
    }
