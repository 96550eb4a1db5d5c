"""Our side: one replica of the operator, as its image runs it, with a ServiceAccount's token."""

from __future__ import annotations

import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from alignment_operator.api.crd import crd
from dev.simulated.cluster import SimulatedCluster
from dev.simulated.components import free_port
from dev.simulated.processes import Process

from .deployment import Deployment

Json = dict[str, Any]
NAMESPACE, ACCOUNT = "alignment-operator", "alignment-operator"
START_SECONDS = 120.0


class Ours:
    """The alignment-operator."""

    name = "alignment-operator"
    resource = "alignmentjobs"
    collection = "/apis/alignment-operator.io/v1alpha1/namespaces/{namespace}/alignmentjobs"

    def __init__(self, folder: Path, *, profile: Path | None = None) -> None:
        self._folder, self._profile = folder, profile
        self._health, self.progress_port = free_port(), free_port()
        self._deployment: Deployment | None = None

    @property
    def users(self) -> tuple[str, ...]:
        return (f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}",)

    @property
    def processes(self) -> dict[str, Process]:
        return {"operator": self.deployment.process}

    @property
    def deployment(self) -> Deployment:
        """There once it is prepared."""
        assert self._deployment is not None
        return self._deployment

    @property
    def restarts(self) -> int:
        return self.deployment.restarts

    def check(self) -> None:
        self.deployment.check()

    def prepare(self, cluster: SimulatedCluster) -> None:
        cluster.apply(crd())
        cluster.wait("AlignmentJobs", lambda: cluster.kubectl("get", "aj", "-A", check=False).returncode == 0)
        kubeconfig = cluster.service_account(NAMESPACE, ACCOUNT)
        profiler = ["-m", "cProfile", "-o", str(self._profile)] if self._profile else []
        argv = [sys.executable, *profiler, "-m", "alignment_operator", "run", f"--kubeconfig={kubeconfig}"]
        argv += [f"--namespace={NAMESPACE}", "--bind=127.0.0.1", f"--health-port={self._health}"]
        argv += [f"--progress-port={self.progress_port}", f"--progress-url=https://127.0.0.1:{self.progress_port}"]
        self._deployment = Deployment(Process("operator", argv, self._folder / "operator.log"))

    def start(self) -> None:
        self.deployment.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._leads():
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the operator does not lead: {self.deployment.process.tail()}")
            time.sleep(0.1)

    def stop(self) -> None:
        self.deployment.stop()

    def _leads(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health}/metrics", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return False
        return any(line.startswith("leader_election_master_status{") and line.endswith(" 1.0") for line in lines)

    def manifest(self, namespace: str, name: str, **annotations: str) -> Json:
        spec: Json = {
            "model": {
                "modelNameOrPath": "meta-llama/Llama-3.2-1B-Instruct",
                "modelRevision": "9213176726f574b556790deb65791e0c5aa438b6",
                "dtype": "bfloat16",
                "attnImplementation": "sdpa",
                "usePeft": True,
                "loraR": 16,
                "loraTargetModules": ["q_proj", "v_proj"],
            },
            "dataset": {"datasetName": "/data/pairs", "datasetTrainSplit": "train"},
            "training": {
                "learningRate": 0.00001,
                "maxSteps": 1000,
                "perDeviceTrainBatchSize": 2,
                "gradientAccumulationSteps": 8,
                "saveSteps": 100,
                "saveTotalLimit": 2,
            },
            "dpo": {"beta": 0.1, "maxLength": 1024},
            "gpusPerNode": 1,
            "resources": {"requests": {"cpu": "4", "memory": "16Gi"}},
            "output": {"volume": {"nfs": {"server": "storage.example", "path": "/output"}}},
            "cache": {"volume": {"nfs": {"server": "storage.example", "path": "/cache"}}},
        }
        if annotations:
            spec["podTemplate"] = {"metadata": {"annotations": annotations}}
        return {
            "apiVersion": "alignment-operator.io/v1alpha1",
            "kind": "AlignmentJob",
            "metadata": {"namespace": namespace, "name": name},
            "spec": spec,
        }

    def job_of(self, name: str) -> str:
        return f"{name}-r1"

    def is_complete(self, obj: Json) -> bool:
        return bool(obj.get("status", {}).get("phase") == "Complete")
