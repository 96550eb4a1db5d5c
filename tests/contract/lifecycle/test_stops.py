"""Every way in which an attempt ends by itself or is ended: its exit code, its message, and how long it takes."""

import os
import resource
import signal
import time

import pytest

from tests.contract.lifecycle.pods import cold_start

ENDLESS = {"max_steps": 100_000, "save_strategy": "no"}

HOLDS_THE_GIL = """
import ctypes, os, threading, time

def hold():
    while not os.path.exists(os.environ["HANG_FILE"]):
        time.sleep(0.05)
    ctypes.PyDLL(None).sleep(1000)  # as a library does that hangs inside a call without releasing the GIL

if os.environ.get("ALIGNMENT_REPORT_FD"):  # in workers only
    threading.Thread(target=hold, daemon=True).start()
"""


@pytest.fixture
def hang(tmp_path):
    """Environment with which a worker hangs, holding the GIL, as soon as `hang.file` exists."""
    (tmp_path / "sitecustomize.py").write_text(HOLDS_THE_GIL)
    environment = {"PYTHONPATH": str(tmp_path), "HANG_FILE": str(tmp_path / "now")}
    return environment, tmp_path / "now"


def test_sigterm_while_loading_ends_at_once(new_run):
    run = new_run()
    pod = run.start(cold_start)
    while not pod.workers():
        time.sleep(0.01)
    time.sleep(1.0)
    pod.terminate()
    began = time.monotonic()
    assert pod.wait(60) == 75
    assert time.monotonic() - began < 10
    assert pod.message["outcome"] == "Preempted"
    assert "lastCheckpointStep" not in pod.message


def test_sigterm_while_evaluating_saves_at_once_and_progress_tells_the_phases(new_run, operator):
    run = new_run(
        environment=operator.environment,
        run={"progressIntervalSeconds": 0.05},
        eval_strategy="steps",
        eval_steps=4,
        eval_on_start=False,
        dataset_test_split="train",
        per_device_eval_batch_size=1,
        max_steps=100_000,
        save_steps=3,
        save_total_limit=2,
    )
    pod = run.start()
    deadline = time.monotonic() + 400
    while "Evaluating" not in operator.phases():
        assert pod.process.poll() is None, pod.output[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    pod.terminate()
    assert pod.wait(60) == 75
    stopped_at = pod.message["step"]
    assert stopped_at % 4 == 0
    assert pod.message["lastCheckpointStep"] == stopped_at == run.checkpoints()[-1], "no step is lost"
    assert "while evaluating" in pod.message["message"]
    assert len(run.checkpoints()) <= 2
    assert operator.phases()[:2] == ["Loading", "Training"]
    assert "Saving" in operator.phases()
    last = operator.reports[-1]
    assert {metric["name"] for metric in last["trainerStatus"]["metrics"]} >= {"loss", "rewards/margins", "grad_norm"}
    assert last["alignment"]["attempt"] == 1
    assert last["alignment"]["totalSteps"] == 100_000
    assert last["trainerStatus"]["estimatedRemainingSeconds"] > 0


def test_a_loss_that_is_no_number_ends_the_run(new_run):
    run = new_run(learning_rate=1e30, save_steps=1)
    pod = run.start()
    assert pod.wait() == 81, pod.output[-3000:]
    assert pod.message["class"] == "Diverged"
    assert "learningRate" in pod.message["cure"]
    assert max(run.checkpoints(), default=0) < pod.message["step"] + 1, "no checkpoint with broken weights"


def test_no_step_for_the_hang_timeout_dumps_the_stacks_and_ends_with_83(new_run, hang):
    environment, now = hang
    run = new_run(environment=environment, run={"hangTimeoutSeconds": 4}, **ENDLESS)
    pod = run.start()
    run.wait_for_step(3, pod)
    now.touch()
    assert pod.wait(90) == 83, pod.output[-3000:]
    assert pod.message["class"] == "Hung"
    assert "hangTimeoutSeconds" in pod.message["cure"]
    assert "_run_epoch" in (run.output / "attempt-1.log").read_text(), "the main thread's stack is in the log"


def test_a_step_longer_than_the_grace_period_is_reported_as_such(new_run, hang):
    environment, now = hang
    run = new_run(environment=environment, run={"terminationGracePeriodSeconds": 5}, **ENDLESS)
    pod = run.start()
    run.wait_for_step(3, pod)
    now.touch()
    time.sleep(1)
    pod.terminate()
    assert pod.wait(60) == 137
    assert pod.message["class"] == "Killed"
    assert "terminationGracePeriodSeconds" in pod.message["cure"]


def test_a_checkpoint_that_the_disk_does_not_take_is_a_storage_error(new_run):
    run = new_run(max_steps=100_000, save_steps=2)
    pod = run.start()
    run.wait_for_step(1, pod)
    resource.prlimit(pod.workers()[0], resource.RLIMIT_FSIZE, (10_000, 10_000))  # stands for a full disk
    assert pod.wait() == 74, pod.output[-3000:]
    assert pod.message["class"] == "StorageError"
    assert "spec.output.volume" in pod.message["cure"]


def test_sigkill_of_the_worker_alone_is_reported(new_run):
    run = new_run(**ENDLESS)
    pod = run.start()
    run.wait_for_step(2, pod)
    os.kill(pod.workers()[0], signal.SIGKILL)
    assert pod.wait(60) == 137
    assert pod.message["class"] == "Killed"


def test_stopped_with_model_only_checkpoints_still_resumes(new_run):
    """save_only_model leaves nothing to resume from; the checkpoint of a stop is whole all the same."""
    run = new_run(save_only_model=True, save_steps=5)
    pod = run.start()
    run.wait_for_step(7, pod)
    pod.terminate()
    assert pod.wait() == 75
    stopped_at = pod.message["step"]
    second = run.complete()
    assert second.message["resumedFromStep"] == stopped_at
