"""Several processes and several pods train as one, and only the culprit of a failure keeps its exit code."""

import os
import signal

import pytest

from tests.contract.lifecycle.conftest import LORA, two_pods

LAST = 40
SMALL = {"max_steps": LAST, "save_steps": LAST}


@pytest.fixture(scope="module")
def alone(new_run):
    run = new_run(**SMALL)
    run.complete()
    return run


def assert_same_losses(run, alone):
    ours, theirs = run.losses(LAST), alone.losses(LAST)
    assert ours.keys() == theirs.keys()
    assert [float(loss) for loss in ours.values()] == pytest.approx([float(loss) for loss in theirs.values()], abs=2e-5)


def test_two_processes_with_the_same_global_batch_give_the_same_losses_and_resume(new_run, alone):
    run = new_run(run={"processesPerNode": 2}, per_device_train_batch_size=2, **SMALL)
    first = run.start()
    run.wait_for_step(3, first)
    first.terminate()
    assert first.wait() == 75, first.output[-3000:]
    stopped_at = first.message["step"]
    assert run.checkpoints() == [stopped_at]
    second = run.complete()
    assert second.message["resumedFromStep"] == stopped_at
    assert_same_losses(run, alone)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_is_killed_takes_the_pod_down_with_its_code(new_run, rank):
    run = new_run(run={"processesPerNode": 2}, per_device_train_batch_size=2, max_steps=100000, save_strategy="no")
    pod = run.start()
    run.wait_for_step(3, pod)
    os.kill(pod.workers()[rank], signal.SIGSEGV)
    assert pod.wait(60) == 139, pod.output[-3000:]
    assert "SIGSEGV" in pod.message["message"]
    assert pod.message["step"] >= 3


def test_two_pods_of_two_processes_give_the_same_losses(new_run, alone):
    run = two_pods(new_run, {"processesPerNode": 2}, per_device_train_batch_size=1, **SMALL)
    pods = [run.start(JOB_COMPLETION_INDEX=str(index)) for index in (0, 1)]
    for pod in pods:
        assert pod.wait() == 0, pod.output[-3000:]
        assert pod.message["outcome"] == "Complete"
    assert pods[0].message["artifacts"] == {"model": "."}
    assert [event["event"] for event in run.journal()] == ["start", "end"], "one pod keeps the journal"
    assert_same_losses(run, alone)


def test_when_one_pod_is_stopped_all_save_and_leave_and_both_resume(new_run, alone):
    run = two_pods(new_run, per_device_train_batch_size=2, **SMALL)
    pods = [run.start(JOB_COMPLETION_INDEX=str(index)) for index in (0, 1)]
    run.wait_for_step(2, pods[0])
    pods[1].terminate()
    assert [pod.wait() for pod in pods] == [75, 75], pods[0].output[-2000:]
    stopped_at = pods[0].message["step"]
    assert stopped_at in run.checkpoints()
    pods = [run.start(JOB_COMPLETION_INDEX=str(index)) for index in (0, 1)]
    assert [pod.wait() for pod in pods] == [0, 0], pods[0].output[-2000:]
    assert [pod.message["attempt"] for pod in pods] == [2, 2]
    assert [pod.message["resumedFromStep"] for pod in pods] == [stopped_at, stopped_at]
    assert_same_losses(run, alone)


def test_when_one_pod_fails_the_other_ends_with_75(new_run):
    run = two_pods(new_run, per_device_train_batch_size=2, max_steps=100000, save_strategy="no", **LORA)
    pods = [run.start(JOB_COMPLETION_INDEX=str(index)) for index in (0, 1)]
    run.wait_for_step(3, pods[0])
    os.kill(pods[1].workers()[0], signal.SIGABRT)
    assert pods[1].wait(60) == 134
    assert pods[0].wait(60) == 75, pods[0].output[-3000:]
    assert "Another process of this run is gone" in pods[0].message["message"]
    assert run.journal()[-1]["class"] == "Preempted"


@pytest.mark.parametrize("index", [None, "2", "x"])
def test_a_pod_without_a_place_among_the_pods_is_refused(new_run, index):
    run = two_pods(new_run)
    pod = run.start(**({"JOB_COMPLETION_INDEX": index} if index else {}))
    assert pod.wait(60) == 78
    assert "JOB_COMPLETION_INDEX" in pod.message["message"]
