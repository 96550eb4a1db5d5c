"""How the attempt of a pod ended, from how its workers ended: only the culprit keeps its exit code."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import exits

if TYPE_CHECKING:
    from .processes import Worker

_INNOCENT = (exits.EX_OK, exits.EX_TEMPFAIL, exits.SIGTERM)
_SIGNAL_CURES = {
    exits.SIGSEGV: "See the stack in the log; if it comes again on another node, the image's libraries are at fault.",
    exits.SIGABRT: "See the log for the library that gave up (often NCCL or the GPU's driver).",
    128 + signal.SIGBUS: "Often /dev/shm or the disk is full: raise spec.resources.limits.memory, or lower "
    "spec.training.dataloaderNumWorkers.",
    exits.SIGKILL: "Something outside killed the process; if memory was short, raise spec.resources.limits.memory.",
}


def judge(workers: Sequence[Worker], *, stopped: bool, out_of_memory: bool) -> dict[str, Any]:
    """Outcome, class, exitCode, message and cure of the pod.

    stopped: the pod got SIGTERM. out_of_memory: the kernel killed a process of this container for want of memory.
    """
    finished = workers[0].facts.get("finished")
    culprits = [w for w in workers if w.exit_code not in _INNOCENT and not w.put_down and not _victim(w)]
    if culprits:
        return _failure(min(culprits, key=lambda worker: worker.ended_at), out_of_memory)
    if finished and workers[0].exit_code == 0:
        return {"outcome": finished["outcome"], "exitCode": 0, "message": finished["message"]}
    if all(worker.exit_code == 0 for worker in workers):
        return {"outcome": "Complete", "exitCode": 0, "message": "This pod's processes are done."}
    preempted = [w for w in workers if w.exit_code in (exits.EX_TEMPFAIL, exits.SIGTERM)] or list(workers)
    said = [w.facts["failure"] for w in preempted if w.facts.get("failure")]
    said.sort(key=lambda failure: failure.get("peer", False))  # own reasons first
    default = "Stopped by SIGTERM." if stopped else "Another process of this run failed."
    return {
        "outcome": "Preempted",
        "class": "Preempted",
        "exitCode": exits.EX_TEMPFAIL,
        "message": said[0]["message"] if said else default,
    }


def _victim(worker: Worker) -> bool:
    """NCCL's watchdog aborts the process when a peer is gone."""
    return worker.peer_lost and worker.exit_code in (exits.SIGABRT, exits.SIGSEGV)


def _failure(worker: Worker, out_of_memory: bool) -> dict[str, Any]:
    code = int(worker.exit_code or exits.EX_SOFTWARE)
    said = worker.facts.get("failure") or {}
    if said.get("exitCode") not in (None, code):
        said = {}  # it meant to end otherwise and was killed on the way
    if code == exits.SIGKILL and out_of_memory and not said:
        return {
            "outcome": "Failed",
            "class": "HostOutOfMemory",
            "exitCode": code,
            "message": "The kernel killed the process: the container's memory limit was reached.",
            "cure": "Raise spec.resources.limits.memory, or lower spec.training.perDeviceTrainBatchSize.",
        }
    message = said.get("message") or _unexplained(worker.local_rank, code)
    cure = said.get("cure") or _SIGNAL_CURES.get(code) or "See the log of this attempt in the output folder."
    class_name = said.get("class") or exits.class_of(code)
    return {
        "outcome": "Failed",
        "class": class_name,
        "exitCode": said.get("finalCode", code),
        "message": message,
        "cure": cure,
    }


def _unexplained(local_rank: int, code: int) -> str:
    if code > 128:
        try:
            return f"Process {local_rank} of the pod was ended by {signal.Signals(code - 128).name}."
        except ValueError:
            pass
    return f"Process {local_rank} of the pod ended with exit code {code} and gave no reason."


def stopped_before_start() -> dict[str, Any]:
    message = "Stopped by SIGTERM before the processes were started."
    return {"outcome": "Preempted", "class": "Preempted", "exitCode": exits.EX_TEMPFAIL, "message": message}


def a_rung_lower(message: str) -> dict[str, Any]:
    """Out of memory with a rung of the ladder left: nobody's failure yet, the next attempt goes on."""
    return {"outcome": "Preempted", "class": "Preempted", "exitCode": exits.EX_TEMPFAIL, "message": message}


def out_of_grace(grace: int) -> dict[str, Any]:
    """What to say of a worker that did not save in time after SIGTERM."""
    return {
        "class": "Killed",
        "exitCode": exits.SIGKILL,
        "message": f"No checkpoint was finished within the {grace} s between SIGTERM and the end of the grace period.",
        "cure": "Raise spec.terminationGracePeriodSeconds above the time of one step plus one checkpoint.",
    }


def announce_hang(worker: Worker, seconds: int | None) -> None:
    """Let the kill that follows count as the hang that it ends."""
    phase, step = worker.facts.get("phase", "Training"), worker.facts.get("step")
    worker.facts["failure"] = {
        "class": "Hung",
        "exitCode": exits.SIGKILL,
        "finalCode": exits.EX_HUNG,
        "message": f"No step for {seconds} s after step {step} ({phase}); the stacks of all threads are in the log.",
        "cure": "See the stacks in the log; if the step is only slow, raise spec.hangTimeoutSeconds.",
    }
