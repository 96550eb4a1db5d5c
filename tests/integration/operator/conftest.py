"""The operator as its own process against a real API server. No node and no controllers: the tests play both."""

import asyncio
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from alignment_operator.cluster import Cluster, connect
from alignment_operator.resources import ALIGNMENT_JOBS, JOBS, PODS, Resource
from tests.integration.apiserver import ApiServer, free_port

SECONDS = 60.0  # the machine may be busy; the operator itself needs a fraction of one


@dataclass
class Operator:
    """One replica. `args` are more arguments of `run`."""

    kubeconfig: Path
    namespace: str
    log: Path
    args: tuple[str, ...] = ()
    health_port: int = field(default_factory=free_port)
    progress_port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def progress_url(self) -> str:
        return f"https://127.0.0.1:{self.progress_port}"

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        command = [sys.executable, "-m", "alignment_operator", "run", f"--kubeconfig={self.kubeconfig}"]
        command += [f"--namespace={self.namespace}", f"--watch-namespace={self.namespace}", "--bind=127.0.0.1"]
        command += [f"--health-port={self.health_port}", f"--progress-port={self.progress_port}"]
        command += [f"--progress-url={self.progress_url}", "--log-level=debug", *self.args]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def start(self) -> "Operator":
        """Start it and wait until it is ready (not: until it leads)."""
        self.launch()
        assert self.process is not None
        deadline = time.monotonic() + 60
        while self.get("/readyz") != 200:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.1)
        return self

    def get(self, path: str) -> int:
        """HTTP status of a probe; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return int(error.code)
        except OSError:
            return 0

    def metric(self, name: str) -> float:
        """The value of a metric, labels included in the name as the exposition writes them; 0 when it is not there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send the signal; returns exit code and the seconds that it took."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - started


@pytest.fixture
def new_operator(apiserver: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Make replicas of one operator that serves the test's namespace; all are killed at the end."""
    made: list[Operator] = []

    def make(*args: str) -> Operator:
        made.append(Operator(apiserver.kubeconfig, namespace, tmp_path / f"operator-{len(made)}.log", args))
        return made[-1]

    yield make
    for one in made:
        if one.process and one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def operator(new_operator: Callable[..., Operator]) -> Operator:
    return new_operator().start()


@pytest.fixture(scope="module")
def shared_operator(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One replica for all tests of a module, which share its namespace and use names of their own."""
    namespace = f"shared-{uuid.uuid4().hex[:8]}"
    apiserver.kubectl("create", "namespace", namespace)
    one = Operator(apiserver.kubeconfig, namespace, tmp_path_factory.mktemp("operator") / "operator.log").start()
    yield one
    one.end(signal.SIGKILL)
    apiserver.kubectl("delete", "alignmentjobs,jobs,pods,configmaps,services", "--all", "-n", namespace, "--wait=false")


@pytest.fixture
async def cluster(apiserver: ApiServer) -> AsyncIterator[Cluster]:
    connection = await connect(str(apiserver.kubeconfig))
    yield connection
    await connection.close()


class World:
    """The user, the Job controller and the kubelet of one namespace."""

    def __init__(self, cluster: Cluster, namespace: str, name: str = "demo") -> None:
        self.cluster, self.namespace, self.name = cluster, namespace, name

    def child(self, run: int, name: str | None = None) -> str:
        """Name of the Job, ConfigMap and Service of a run."""
        return f"{name or self.name}-r{run}"

    async def apply(self, name: str | None = None, **spec: Any) -> dict[str, Any]:
        """Create an AlignmentJob; `spec` is merged over a small valid one."""
        whole = {
            "model": {"modelNameOrPath": "/models/tiny"},
            "dataset": {"datasetName": "/data/pairs"},
            "dpo": {"beta": 0.1},
            "gpusPerNode": 0,
            "output": {"volume": {"persistentVolumeClaim": {"claimName": "out"}}},
        }
        manifest = {
            "apiVersion": ALIGNMENT_JOBS.api,
            "kind": ALIGNMENT_JOBS.kind,
            "metadata": {"namespace": self.namespace, "name": name or self.name},
            "spec": whole | spec,
        }
        return await self.cluster.create(ALIGNMENT_JOBS, manifest)

    async def change(self, **spec: Any) -> dict[str, Any]:
        return await self.cluster.patch(ALIGNMENT_JOBS, self.namespace, self.name, {"spec": spec})

    async def get(self, resource: Resource, name: str) -> dict[str, Any] | None:
        return await self.cluster.get(resource, self.namespace, name)

    async def get_job(self) -> dict[str, Any]:
        """The AlignmentJob as it is now."""
        job = await self.get(ALIGNMENT_JOBS, self.name)
        assert job is not None
        return job

    async def until(
        self, what: Callable[[dict], Any], resource: Resource = ALIGNMENT_JOBS, name: str | None = None
    ) -> Any:
        """Wait until `what(object)` is true; returns the object."""
        deadline = time.monotonic() + SECONDS
        obj: dict[str, Any] | None = None
        while time.monotonic() < deadline:
            obj = await self.get(resource, name or self.name)
            with suppress(KeyError, TypeError, IndexError):
                if obj is not None and what(obj):
                    return obj
            await asyncio.sleep(0.05)
        pytest.fail(f"{resource.kind} {name or self.name}: not in {SECONDS} s; now {obj and obj.get('status')}")

    async def gone(self, resource: Resource, name: str) -> None:
        deadline = time.monotonic() + SECONDS
        while await self.get(resource, name) is not None:
            assert time.monotonic() < deadline, f"{resource.kind} {name} is still there"
            await asyncio.sleep(0.05)

    async def job(self, name: str | None = None) -> dict[str, Any]:
        """The child Job, as soon as it is there."""
        return await self.until(bool, JOBS, name or self.child(1))

    async def quiet(self, seconds: float = 1.0) -> str:
        """Wait until nothing has been written for a while; returns the resourceVersion."""
        version, since = "", time.monotonic()
        while time.monotonic() - since < seconds:
            now = (await self.get(ALIGNMENT_JOBS, self.name) or {})["metadata"]["resourceVersion"]
            if now != version:
                version, since = now, time.monotonic()
            await asyncio.sleep(0.1)
        return version

    async def pod(self, job: dict[str, Any], index: int = 0, suffix: str = "a") -> dict[str, Any]:
        """What the Job controller makes: a pod of this Job. It does not run before `pod_status` says so."""
        meta, template = job["metadata"], job["spec"]["template"]
        labels = {
            **template["metadata"]["labels"],
            "batch.kubernetes.io/job-name": meta["name"],
            "batch.kubernetes.io/controller-uid": meta["uid"],
            "batch.kubernetes.io/job-completion-index": str(index),
        }
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
        spec = {**template["spec"], "nodeName": "nowhere", "serviceAccountName": "default"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": self.namespace,
                "name": f"{meta['name']}-{index}-{suffix}",
                "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": spec,
        }
        return await self.cluster.create(PODS, pod)

    async def pod_status(self, pod: dict[str, Any], phase: str, state: dict[str, Any], **more: Any) -> None:
        status = {"phase": phase, **more}
        container = {"name": "trainer", "image": "i", "imageID": "i", "ready": "running" in state, "restartCount": 0}
        status["containerStatuses"] = [{**container, "state": state}]
        await self.cluster.patch(PODS, self.namespace, pod["metadata"]["name"], {"status": status}, "status")

    async def runs(self, pod: dict[str, Any]) -> None:
        await self.pod_status(pod, "Running", {"running": {"startedAt": _stamp()}})

    async def ends(self, pod: dict[str, Any], code: int, message: str = "") -> None:
        ended = {"exitCode": code, "message": message, "startedAt": _stamp(), "finishedAt": _stamp()}
        await self.pod_status(pod, "Succeeded" if code == 0 else "Failed", {"terminated": ended})

    async def job_status(self, name: str, **status: Any) -> None:
        await self.cluster.patch(JOBS, self.namespace, name, {"status": status}, "status")

    async def job_ends(self, name: str, kind: str, reason: str, message: str) -> None:
        """As the Job controller does it: the criterion first, then the end."""
        before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[kind]
        about = {"status": "True", "reason": reason, "message": message, "lastTransitionTime": _stamp()}
        conditions = [{"type": before, **about}]
        started = {"startTime": _stamp()}
        await self.job_status(name, conditions=conditions, **started)
        conditions.append({"type": kind, **about})
        end = {"completionTime": _stamp(), "succeeded": 1} if kind == "Complete" else {"failed": 1}
        await self.job_status(name, conditions=conditions, **end)


def _stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@pytest.fixture
def world(request: pytest.FixtureRequest, cluster: Cluster) -> World:
    """In the shared operator's namespace with a name of its own, or in the test's own namespace."""
    if "shared_operator" in request.fixturenames:
        shared: Operator = request.getfixturevalue("shared_operator")
        return World(cluster, shared.namespace, f"demo-{uuid.uuid4().hex[:8]}")
    return World(cluster, request.getfixturevalue("namespace"))


def condition(obj: dict[str, Any], kind: str) -> dict[str, Any]:
    """A condition by type; an empty one when it is not there."""
    return next((c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == kind), {})
