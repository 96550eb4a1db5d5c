"""One attempt of one pod: read the journal, start the workers, wait, say how it ended.

This process stays small (no torch): it must be there when a worker is killed. It handles SIGTERM before anything else.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import checkpoint, durable, exits, journal, ladder, termination, verdict
from .journal import Journal
from .lifeline import Lifeline
from .logtail import LogTail
from .processes import Workers, cpu_count, echo, memory_kills
from .run_config import RunConfig, load_run_config
from .stopping import StopSignal
from .watch import Watch

TRAINED = "trained"
DEFAULT_CONFIG_DIR = "/etc/alignment"
WORKER = [sys.executable, "-m", "alignment_trainer.worker"]


def main(stop: StopSignal) -> int:
    """Run the attempt; returns the pod's exit code."""
    attempt = 1
    try:
        run = load_run_config(Path(os.environ.get("ALIGNMENT_CONFIG_DIR") or DEFAULT_CONFIG_DIR) / "run.yaml")
        if result := termination.read_result(run.outputPath):
            message = termination.already_complete(result)
        else:
            launcher = Launcher(run, stop, os.environ)
            attempt = launcher.attempt
            message = launcher.run_attempt()
    except exits.TrainerError as error:
        message = termination.failed(error, attempt)
    except Exception as error:
        sys.excepthook(*sys.exc_info())
        message = termination.failed(exits.Internal(f"The launcher failed: {error!r}."), attempt)
    termination.write(message)
    return int(message["exitCode"])


class Launcher:
    """The attempt of this pod. Raises UserError for an impossible place among the pods."""

    def __init__(self, run: RunConfig, stop: StopSignal, environment: Mapping[str, str]) -> None:
        self.run, self.stop = run, stop
        self.environment = dict(environment)
        self.index = pod_index(run, environment)
        self.folder = Path(run.outputPath)
        self.journal = Journal(self.folder)
        self.attempt = journal.next_number(self.journal.attempts(), begun_elsewhere=self.index > 0)
        self.only_finish = (self.folder / TRAINED).exists()
        self.rung = ladder.read(self.folder) if run.outOfMemoryLadder else {}
        self.began = time.monotonic()

    def run_attempt(self) -> dict[str, Any]:
        """Returns the termination message, after journal and result have been written."""
        message = self._one_attempt()
        while self._goes_on_here(message):
            self.attempt, self.rung = self.attempt + 1, ladder.read(self.folder)
            message = self._one_attempt()
        return message

    def _goes_on_here(self, message: dict[str, Any]) -> bool:
        """Whether the next attempt, a rung lower, can be made by this pod; several pods have to meet anew."""
        preempted = message["exitCode"] == exits.EX_TEMPFAIL and self.stop.at is None
        return preempted and self.run.nodes == 1 and self._fell_a_rung()

    def _one_attempt(self) -> dict[str, Any]:
        if self.only_finish and self.index > 0:
            return self._message(
                outcome="Complete", exitCode=0, message="Every step is done; the pod with index 0 finishes."
            )
        if self.index > 0:
            return self._train()
        found = checkpoint.latest(self.folder)
        step = found.step if found else 0
        self.journal.start(self.attempt, step, pod=os.environ.get("POD_NAME"), node=os.environ.get("NODE_NAME"))
        try:
            self._refuse_if_stuck(step)
            message = self._train()
        except exits.TrainerError as error:
            message = termination.failed(error, self.attempt)
        self._record(message)
        return message

    def _refuse_if_stuck(self, checkpoint_step: int) -> None:
        earlier = self.journal.attempts()[:-1]
        count = journal.without_progress(earlier, checkpoint_step)
        if count < self.run.maxAttemptsWithoutProgress:
            return
        last = earlier[-1].end
        raise exits.NoProgress(
            f"{count} attempts in a row ended without a new checkpoint; the last one: {last.get('message', 'unknown')}",
            cure=last.get("cure")
            or "Cure the last attempt's failure or lower spec.training.saveSteps, then change spec.rerun.",
        )

    def _train(self) -> dict[str, Any]:
        if self.stop.at is not None:
            return self._message(**verdict.stopped_before_start())
        kills_before = memory_kills()
        log = LogTail(self.folder / self._log_name())
        workers = Workers([echo, log.write])
        workers.start(WORKER, self._environments())
        Watch(self, workers, self._lifeline()).until_all_ended()
        workers.close()
        judged = verdict.judge(
            workers.members, stopped=self.stop.at is not None, out_of_memory=memory_kills() > kills_before
        )
        if judged.get("class") == exits.GpuOutOfMemory.class_name and self._fell_a_rung():
            judged = verdict.a_rung_lower(judged["message"])
        return self._message(facts=workers.members[0].facts, **judged)

    def _fell_a_rung(self) -> bool:
        """Whether this attempt ran out of memory and left a lower rung to go on from."""
        return self.run.outOfMemoryLadder and ladder.read(self.folder) != self.rung

    def _lifeline(self) -> Lifeline | None:
        if self.run.nodes == 1 or self.only_finish:
            return None
        return Lifeline(self.index, self.run.masterAddress or "", self.run.masterPort + 1)

    def beat(self, facts: dict[str, Any]) -> None:
        """Journal how far rank 0 is."""
        if self.index == 0 and facts.get("step") is not None:
            with contextlib.suppress(OSError):  # the checkpoint will tell
                self.journal.beat(self.attempt, facts["step"], facts.get("totalSteps"))

    def _log_name(self) -> str:
        return f"attempt-{self.attempt}.log" if self.index == 0 else f"attempt-{self.attempt}.pod-{self.index}.log"

    def _environments(self) -> list[dict[str, str]]:
        """torchrun's variables for every worker of this pod; none where one process trains alone."""
        nodes, local = (1, 1) if self.only_finish else (self.run.nodes, self.run.processesPerNode)
        common = {
            **self.environment,
            "ALIGNMENT_ATTEMPT": str(self.attempt),
            "ALIGNMENT_ONLY_FINISH": "1" if self.only_finish else "",
            ladder.VARIABLE: json.dumps(self.rung),
            "ALIGNMENT_WORLD_SIZE": str(nodes * local),
            "DISABLE_KUBEFLOW_INTEGRATION": "TRUE",  # progress.py reports, with more and off the training loop
            "PYTHONUNBUFFERED": "1",
            "TQDM_DISABLE": "1",  # a log is no terminal
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        common.setdefault("OMP_NUM_THREADS", str(max(1, cpu_count() // local)))
        if nodes * local == 1:
            return [common]
        address, port = (self.run.masterAddress, self.run.masterPort) if nodes > 1 else ("127.0.0.1", free_port())
        common |= {"MASTER_ADDR": str(address), "MASTER_PORT": str(port), "WORLD_SIZE": str(nodes * local)}
        common |= {"LOCAL_WORLD_SIZE": str(local), "GROUP_RANK": str(self.index)}
        ranks = [(self.index * local + rank, rank) for rank in range(local)]
        return [{**common, "RANK": str(rank), "LOCAL_RANK": str(local_rank)} for rank, local_rank in ranks]

    def _message(self, facts: dict[str, Any] | None = None, **outcome: Any) -> dict[str, Any]:
        """The termination message from the verdict and what rank 0 reported."""
        facts = facts or {}
        steps = ("step", "totalSteps", "resumedFromStep", "lostSteps", "lastCheckpointStep")
        names = (*steps, "artifacts", "dataset", "findings", "peakMemoryBytes")
        message = {
            "contractVersion": termination.CONTRACT_VERSION,
            "attempt": facts.get("attempt", self.attempt),
            **outcome,
        }
        message |= {name: facts[name] for name in names if facts.get(name) is not None}
        if facts.get("metrics"):
            message["metrics"] = termination.finite_numbers(facts["metrics"])
        if previous := self._previous():
            message["previousAttempt"] = previous
        return message | {"durationSeconds": round(time.monotonic() - self.began, 1)}

    def _previous(self) -> dict[str, Any] | None:
        before = [attempt for attempt in self.journal.attempts() if attempt.number < self.attempt]
        if not before:
            return None
        end = before[-1].end
        kept = {name: end[name] for name in ("outcome", "class", "step") if end.get(name) is not None}
        if end.get("message"):
            kept["message"] = termination.cut(end["message"], 300)
        return {"attempt": before[-1].number, **kept}

    def _record(self, message: dict[str, Any]) -> None:
        """Journal and result. A completed run that cannot write its result is not complete: the next attempt is."""
        try:
            if message["outcome"] in ("Complete", "StoppedEarly"):
                durable.write_file(self.folder / termination.RESULT, termination.encode(message))
            left_out = ("attempt", "contractVersion", "previousAttempt")
            self.journal.end(self.attempt, **{key: value for key, value in message.items() if key not in left_out})
        except (OSError, exits.StorageError) as error:
            print(f"[alignment] The journal cannot be written: {error}", file=sys.stderr, flush=True)
            if message["exitCode"] == 0:
                failure = exits.StorageError(f"The result cannot be written: {error}", "Check spec.output.volume.")
                message.update(termination.failed(failure, self.attempt))


def pod_index(run: RunConfig, environment: Mapping[str, str]) -> int:
    """This pod's rank among the pods. Raises UserError where it is missing or beyond `nodes`."""
    given = environment.get("JOB_COMPLETION_INDEX")
    if run.nodes == 1:
        return 0
    if given is None or not given.isdigit() or int(given) >= run.nodes:
        raise exits.UserError(
            f"JOB_COMPLETION_INDEX is {given!r}, but run.yaml says nodes: {run.nodes}.",
            cure="Run one pod per index from 0: an Indexed Job with spec.nodes completions.",
        )
    if not run.masterAddress:
        raise exits.UserError(
            "run.yaml lacks masterAddress.", cure="With spec.nodes above 1 it names the pod with index 0."
        )
    return int(given)


def free_port() -> int:
    """A port for the processes of this pod to meet at: several pods may share the host's network."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
