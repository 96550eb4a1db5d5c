"""A run that is stopped or killed goes on where it was, and gives the same losses as one that was not."""

import json
import os
import signal

import pytest

from tests.contract.lifecycle.conftest import LORA
from tests.contract.lifecycle.pods import cold_start

LAST = 60


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_stopped_by_sigterm_then_resumed_gives_the_same_losses(new_run, straight, kind):
    run = new_run(**(LORA if kind == "lora" else {}))
    launch = cold_start if kind == "full" else None
    first = run.start(launch)
    run.wait_for_step(13, first)
    first.terminate()
    assert first.wait() == 75, first.output[-3000:]
    message = first.message
    stopped_at = message["step"]
    assert message["outcome"] == "Preempted"
    assert message["lastCheckpointStep"] == stopped_at
    assert str(stopped_at) in message["message"]
    assert 13 <= stopped_at < LAST
    second = run.complete(launch)
    message = second.message
    assert (message["attempt"], message["resumedFromStep"], message["lostSteps"]) == (2, stopped_at, 0)
    assert message["previousAttempt"]["outcome"] == "Preempted"
    assert run.losses(LAST) == straight(kind).losses(LAST)
    assert run.tokens(LAST) == straight(kind).tokens(LAST), "num_tokens goes on after a resume"


def test_killed_with_its_launcher_then_resumed_gives_the_same_losses(new_run, straight):
    run = new_run()
    first = run.start()
    run.wait_for_step(13, first)
    first.process.kill()
    first.wait()
    reached = run.heartbeat()["step"]
    assert run.journal()[-1]["event"] == "start", "nobody could write an end"
    second = run.complete()
    found = 10 * (reached // 10)
    message = second.message
    assert (message["resumedFromStep"], message["lostSteps"]) == (found, reached - found)
    assert message["previousAttempt"] | {"message": ""} == {
        "attempt": 1, "outcome": "Failed", "class": "Killed", "step": reached, "message": "",
    }  # fmt: skip
    assert run.losses(LAST) == straight("full").losses(LAST)


def test_a_half_written_checkpoint_is_skipped(new_run, straight):
    run = new_run()
    first = run.start()
    run.wait_for_step(21, first)
    first.terminate()
    assert first.wait() == 75
    stopped_at = first.message["step"]
    weights = run.output / f"checkpoint-{stopped_at}" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    second = run.complete()
    assert second.message["resumedFromStep"] == 10 * ((stopped_at - 1) // 10)
    assert f"checkpoint-{stopped_at} is skipped: model.safetensors has" in second.output
    assert run.losses(LAST) == straight("full").losses(LAST)


def test_a_killed_worker_leaves_a_message_and_its_code(new_run):
    run = new_run(max_steps=100000, save_strategy="no")
    pod = run.start()
    run.wait_for_step(5, pod)
    os.kill(pod.workers()[0], signal.SIGSEGV)
    assert pod.wait() == 139
    message = pod.message
    assert (message["outcome"], message["class"]) == ("Failed", "Infrastructure")
    assert message["step"] >= 5
    assert "SIGSEGV" in message["message"]
    assert "Fatal Python error: Segmentation fault" in (run.output / "attempt-1.log").read_text()


def test_a_complete_run_is_returned_at_once(new_run, straight, tmp_path):
    run = straight("full")
    before = len(run.journal())
    pod = run.start(cold_start, PYTHONVERBOSE="1")
    assert pod.wait(60) == 0
    assert pod.message["outcome"] == "AlreadyComplete"
    assert "was already complete" in pod.message["message"]
    assert "spec.rerun" not in pod.message["message"]  # what to do, the operator says: it would be there twice
    assert pod.message["metrics"] == json.loads((run.output / "result.json").read_text())["metrics"]
    assert "import 'torch" not in pod.output
    assert len(run.journal()) == before


def test_after_the_last_step_only_the_rest_is_done(new_run):
    """Killed between the marker `trained` and the result: the next attempt merges, and trains nothing."""
    run = new_run(run={"merge": True}, **LORA)
    run.complete()
    (run.output / "result.json").unlink()
    weights = (run.output / "adapter_model.safetensors").stat().st_mtime_ns
    (run.output / "merged" / "config.json").unlink()
    pod = run.complete()
    assert pod.message["outcome"] == "Complete"
    assert pod.message["step"] == LAST
    assert pod.message["artifacts"] == {"adapter": ".", "merged": "merged"}
    assert (run.output / "merged" / "config.json").exists()
    assert (run.output / "adapter_model.safetensors").stat().st_mtime_ns == weights


def test_killed_after_the_last_step_but_before_the_marker_trains_no_further(new_run, straight):
    run = new_run()
    run.complete()
    for name in ("result.json", "trained", "model.safetensors"):
        (run.output / name).unlink()
    pod = run.complete()
    assert pod.message["resumedFromStep"] == pod.message["step"] == LAST
    assert run.checkpoints()[-1] == LAST
    assert (run.output / "model.safetensors").read_bytes() == (
        straight("full").output / "model.safetensors"
    ).read_bytes()
