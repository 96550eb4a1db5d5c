"""Only the culprit keeps its code."""

import subprocess
import sys

import pytest

from alignment_trainer import verdict
from alignment_trainer.processes import Worker

DATA = {"class": "DataError", "exitCode": 65, "message": "bad column", "cure": "rename it"}
PEER = {"class": "Preempted", "exitCode": 75, "message": "a peer is gone", "peer": True}
STOPPED = {"class": "Preempted", "exitCode": 75, "message": "stopped"}
FINISHED = {"outcome": "Complete", "message": "done"}


def worker(code, *, failure=None, finished=None, put_down=False, peer_lost=False, at=1.0):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    facts = {name: value for name, value in (("failure", failure), ("finished", finished)) if value}
    return Worker(0, process, facts=facts, exit_code=code, ended_at=at, put_down=put_down, peer_lost=peer_lost)


OF_DATA = (65, "Failed", "DataError")
PREEMPTED = (75, "Preempted", "Preempted")
COMPLETE = (0, "Complete", None)
CASES = {
    "alone and good": ([worker(0, finished=FINISHED)], COMPLETE),
    "alone and at fault": ([worker(65, failure=DATA)], OF_DATA),
    "the peer that died of it does not count": ([worker(75, failure=PEER), worker(65, failure=DATA)], OF_DATA),
    "the one we put down does not count": ([worker(137, put_down=True), worker(65, failure=DATA)], OF_DATA),
    "the first culprit counts": ([worker(139, at=2.0), worker(65, failure=DATA, at=1.0)], OF_DATA),
    "a peer in another pod failed": ([worker(75, failure=PEER), worker(137, put_down=True)], PREEMPTED),
    "stopped": ([worker(75, failure=STOPPED)] * 2, PREEMPTED),
    "terminated before it could listen": ([worker(143)], PREEMPTED),
    "segfault": ([worker(139)], (139, "Failed", "Infrastructure")),
    "abort": ([worker(134)], (134, "Failed", "Infrastructure")),
    "killed": ([worker(137)], (137, "Failed", "Killed")),
    "killed while it was about to say 65": ([worker(137, failure=DATA)], (137, "Failed", "Killed")),
    "aborted by NCCL, for another pod was gone": ([worker(134, peer_lost=True)], PREEMPTED),
    "out of GPU memory just as another pod went": ([worker(80, peer_lost=True)], (80, "Failed", "GpuOutOfMemory")),
    "a code of its own": ([worker(3)], (3, "Failed", "Internal")),
    "finished, and a peer had to be put down": ([worker(0, finished=FINISHED), worker(137, put_down=True)], COMPLETE),
    "the other pod's processes are done": ([worker(0), worker(0)], COMPLETE),
}  # fmt: skip


@pytest.mark.parametrize(("workers", "expected"), CASES.values(), ids=CASES)
def test_verdict(workers, expected):
    judged = verdict.judge(workers, stopped=False, out_of_memory=False)
    assert (judged["exitCode"], judged["outcome"], judged.get("class")) == expected
    assert judged["message"]


def test_a_kill_for_want_of_memory_is_told_from_any_other():
    judged = verdict.judge([worker(137)], stopped=False, out_of_memory=True)
    assert (judged["exitCode"], judged["class"]) == (137, "HostOutOfMemory")
    assert "spec.resources" in judged["cure"]


def test_the_reason_of_a_stop_goes_before_the_echo_of_it():
    judged = verdict.judge([worker(75, failure=PEER), worker(75, failure=STOPPED)], stopped=True, out_of_memory=False)
    assert judged["message"] == "stopped"
