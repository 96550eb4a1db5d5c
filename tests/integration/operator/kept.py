"""A job that is kept in a file, as GitOps tools and people keep theirs: applied again and again, and compared."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

from alignment_operator.resources import ALIGNMENT_JOBS
from tests.integration.apiserver import ApiServer
from tests.integration.operator.conftest import World
from tests.integration.operator.controllers import pod_of
from tests.integration.operator.test_life import RESULT

Object = dict[str, Any]
CLIENT_SIDE: tuple[str, ...] = ()  # as people and Argo CD apply
SERVER_SIDE = ("--server-side", "--field-manager=gitops")  # as Flux does; nothing is forced
# No admission plugin of this API server gives pods an account, and the Job controller cannot make them without one.
ACCOUNT = {"spec": {"serviceAccountName": "default"}}


def manifest(name: str, **spec: Any) -> Object:
    """A small valid AlignmentJob without a namespace; `spec` replaces sections."""
    whole = {
        "model": {"modelNameOrPath": "/models/tiny"},
        "dataset": {"datasetName": "/data/pairs"},
        "dpo": {"beta": 0.1},
        "training": {"learningRate": 5e-7, "lrSchedulerKwargs": {}},
        "gpusPerNode": 0,
        "output": {"volume": {"persistentVolumeClaim": {"claimName": "out"}}},
        "podTemplate": ACCOUNT,
    }
    kind = {"apiVersion": ALIGNMENT_JOBS.api, "kind": ALIGNMENT_JOBS.kind}
    return {**kind, "metadata": {"name": name}, "spec": whole | spec}


class Kept(World):
    """A job whose manifest is a file. `how`: more arguments of `kubectl apply` and `kubectl diff`."""

    def __init__(self, world: World, server: ApiServer, folder: Path, name: str, how: tuple[str, ...] = ()) -> None:
        super().__init__(world.cluster, world.namespace, name)
        self.server, self.file, self.how = server, folder / f"{name}.json", how
        self.spec: Object = {}

    def write(self, **spec: Any) -> None:
        """Change the manifest; None takes a change back."""
        self.spec = {name: value for name, value in {**self.spec, **spec}.items() if value is not None}
        self.file.write_text(json.dumps(manifest(self.name, **self.spec)))

    async def sync(self, **spec: Any) -> str:
        """Change the manifest and apply it; returns what kubectl says."""
        self.write(**spec)
        return str((await self.kubectl("apply", "-f", str(self.file), *self.how)).stdout)

    async def kubectl(self, *args: str, check: bool = True) -> subprocess.CompletedProcess:
        """kubectl in the job's namespace; others go on meanwhile."""
        return await asyncio.to_thread(self.server.kubectl, f"-n={self.namespace}", *args, check=check)

    async def diff(self) -> str:
        """What `kubectl diff` prints; empty when a sync would change nothing.

        kubectl reads the object, then lets the server merge into it: of a write between the two it shows the status.
        """
        while True:
            version = await self._version()
            done = await self.kubectl("diff", "-f", str(self.file), *self.how, check=False)
            if version == await self._version():
                break
        assert done.returncode in (0, 1), done.stderr
        assert bool(done.returncode) == bool(done.stdout)
        return str(done.stdout)

    async def _version(self) -> str:
        job = await self.get(ALIGNMENT_JOBS, self.name)
        return str(job["metadata"]["resourceVersion"])

    async def reaches(self, phase: str, run: int = 1) -> Object:
        """Wait for this phase of this run; then nothing is left to sync."""
        job = await self.until(
            lambda o: (
                (o["status"]["phase"], o["status"].get("run", 0), o["status"]["observedGeneration"])
                == (phase, run, o["metadata"]["generation"])
            )
        )
        assert await self.diff() == ""
        return job

    async def starts(self, run: int = 1) -> Object:
        pod = await pod_of(self, run)
        await self.runs(pod)
        await self.reaches("Running", run)
        return pod

    async def completes(self, run: int = 1) -> None:
        await self.ends(await self.starts(run), 0, json.dumps({**RESULT, "outcome": "Complete"}))
        await self.reaches("Complete", run)
