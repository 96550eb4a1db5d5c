"""Pods without Kubernetes: real launcher processes with the environment that the contract promises."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import jsonschema
import yaml

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/contract/termination.schema.json").read_text())


class Process(Protocol):
    """What is used of subprocess.Popen."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int) -> None: ...
    def kill(self) -> None: ...


class Start(Protocol):
    """How a module is run as a process of its own, stdout and stderr into `output`."""

    def __call__(self, module: str, environment: Mapping[str, str], output: IO[bytes]) -> Process: ...


def cold_start(module: str, environment: Mapping[str, str], output: IO[bytes]) -> Process:
    """As the kubelet does it: a Python that has imported nothing."""
    command = [sys.executable, "-m", module]
    return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


@dataclass
class Pod:
    """One launcher. `message` is its termination message, valid by the contract's schema."""

    process: Process
    termination_log: Path
    log: Path

    def wait(self, seconds: float = 500) -> int:
        code = self.process.wait(seconds)
        return code if code >= 0 else 128 - code

    @property
    def message(self) -> dict[str, Any]:
        data = self.termination_log.read_bytes()
        assert len(data) <= 4096
        message = json.loads(data)
        jsonschema.validate(message, SCHEMA)
        assert message["exitCode"] == self.process.returncode
        return message

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")


class Run:
    """One run: its two files, its output folder, and its attempts (pods), which start as `launch` does it."""

    def __init__(
        self,
        root: Path,
        recipe: dict[str, Any],
        run: dict[str, Any],
        environment: dict[str, str],
        launch: Start = cold_start,
    ) -> None:
        self.root, self.output = root, root / "out"
        self.environment, self.launch = environment, launch
        self.config = root / "config"
        self.config.mkdir(parents=True)
        recipe = {**recipe, "output_dir": str(self.output)}
        job = {"namespace": "team-a", "name": "tiny", "run": 1}
        files = {
            "recipe.yaml": recipe,
            "run.yaml": {
                "contractVersion": 1,
                "method": "dpo",
                "job": job,
                "outputPath": str(self.output),
                "device": "cpu",
                "nodes": 1,
                "processesPerNode": 1,
                **run,
            },
        }
        for name, content in files.items():
            (self.config / name).write_text(yaml.safe_dump(content))
        self.pods: list[Pod] = []

    def start(self, launch: Start | None = None, **environment: str) -> Pod:
        """The next attempt; `launch` instead of the run's own."""
        number = len(self.pods) + 1
        termination_log, log = self.root / f"termination-{number}", self.root / f"pod-{number}.log"
        whole_environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",  # more than a tiny model has use for
            "ALIGNMENT_CONFIG_DIR": str(self.config),
            "ALIGNMENT_TERMINATION_LOG": str(termination_log),
            **self.environment,
            **environment,
        }
        with log.open("wb") as file:
            process = (launch or self.launch)("alignment_trainer", whole_environment, file)
        pod = Pod(process, termination_log, log)
        self.pods.append(pod)
        return pod

    def complete(self, launch: Start | None = None, **environment: str) -> Pod:
        """One attempt, to its end, which must be good."""
        pod = self.start(launch, **environment)
        assert pod.wait() == 0, pod.output[-3000:]
        return pod

    def stop_and_resume(self) -> None:
        """SIGTERM after three steps; the next attempt goes on from there and completes."""
        first = self.start()
        self.wait_for_step(3, first)
        first.terminate()
        assert first.wait() == 75, first.output[-3000:]
        second = self.complete()
        assert second.message["resumedFromStep"] == first.message["step"] > 0

    def wait_for_step(self, step: int, pod: Pod, seconds: float = 400) -> None:
        """Until the heartbeat of the attempt that runs says so."""
        deadline = time.monotonic() + seconds
        while self.heartbeat().get("step", 0) < step or self.heartbeat().get("attempt") != self.attempts_begun():
            assert pod.process.poll() is None, pod.output[-3000:]
            assert time.monotonic() < deadline, pod.output[-3000:]
            time.sleep(0.005)

    def heartbeat(self) -> dict[str, Any]:
        try:
            return json.loads((self.output / "heartbeat").read_text())
        except (OSError, ValueError):
            return {}

    def attempts_begun(self) -> int:
        return sum(event["event"] == "start" for event in self.journal())

    def journal(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in (self.output / "attempts.jsonl").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def losses(self, step: int) -> dict[int, str]:
        """Loss of every step up to `step` as its checkpoint has it, to 5 decimals."""
        state = json.loads((self.output / f"checkpoint-{step}" / "trainer_state.json").read_text())
        return {entry["step"]: f"{entry['loss']:.5f}" for entry in state["log_history"] if "loss" in entry}

    def tokens(self, step: int) -> list[int]:
        state = json.loads((self.output / f"checkpoint-{step}" / "trainer_state.json").read_text())
        return [entry["num_tokens"] for entry in state["log_history"] if "num_tokens" in entry]

    def checkpoints(self) -> list[int]:
        return sorted(int(path.name.removeprefix("checkpoint-")) for path in self.output.glob("checkpoint-*"))

    def end(self) -> None:
        for pod in self.pods:
            if pod.process.poll() is None:
                pod.process.kill()  # its workers die with it
                pod.process.wait()
