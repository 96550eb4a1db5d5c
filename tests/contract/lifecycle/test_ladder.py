"""A run that does not fit into the GPU's memory goes on with less at a time, and learns the same."""

import json

import pytest

from tests.contract.lifecycle.conftest import two_pods

LAST = 12
SMALL = {"max_steps": LAST, "save_steps": 4, "per_device_train_batch_size": 8, "per_device_eval_batch_size": 8}
FOUR_PAIRS = {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4}
# Stands for a GPU: from a step on, a micro-batch of more pairs than the file says does not fit. With 0 pairs a single
# one fits if activations are recomputed, with -1 nothing does.
MEMORY = """
import os, sys, threading, time

def limit():
    while not hasattr(sys.modules.get("transformers.trainer"), "Trainer"):
        time.sleep(0.01)
    import torch
    from transformers import Trainer

    def step(self, model, inputs, *args, **kwargs):
        pairs, room = len(inputs["input_ids"]) // 2, int(open(os.environ["PAIRS_FILE"]).read())
        fits = pairs <= room or (room == 0 and pairs == 1 and self.args.gradient_checkpointing)
        if not fits and self.state.global_step >= int(os.environ["FROM_STEP"]):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return training_step(self, model, inputs, *args, **kwargs)

    training_step, Trainer.training_step = Trainer.training_step, step

if os.environ.get("ALIGNMENT_REPORT_FD"):  # in workers only
    threading.Thread(target=limit, daemon=True).start()
"""


@pytest.fixture
def memory(tmp_path):
    """memory(pairs, from_step): environment of a machine that holds so many pairs; tmp_path/pairs may change."""

    def make(pairs, from_step=0):
        (tmp_path / "sitecustomize.py").write_text(MEMORY)
        (tmp_path / "pairs").write_text(str(pairs))
        return {"PYTHONPATH": str(tmp_path), "PAIRS_FILE": str(tmp_path / "pairs"), "FROM_STEP": str(from_step)}

    return make


def losses(run):
    return [float(loss) for loss in run.losses(LAST).values()]


def rung(run):
    return json.loads((run.output / "memory-rung.json").read_text())


def test_half_the_micro_batch_and_twice_the_accumulation_give_the_same_losses(new_run, memory):
    straight = new_run(**SMALL)
    straight.complete()
    run = new_run(run={"outOfMemoryLadder": True}, environment=memory(pairs=4, from_step=5), **SMALL)
    pod = run.complete()
    ends = [event for event in run.journal() if event["event"] == "end"]
    assert [end["exitCode"] for end in ends] == [75, 0]
    assert "CUDA out of memory" in ends[0]["message"]
    assert "goes on with perDeviceTrainBatchSize 4, gradientAccumulationSteps 2" in ends[0]["message"]
    assert (pod.message["attempt"], pod.message["resumedFromStep"], pod.message["totalSteps"]) == (2, 4, LAST)
    assert (rung(run)["per_device_train_batch_size"], rung(run)["gradient_accumulation_steps"]) == (4, 2)
    assert losses(run) == pytest.approx(losses(straight), abs=2e-5)


def test_pods_of_several_processes_meet_again_on_the_rung_that_one_of_them_fell_to(new_run, memory):
    straight = new_run(**{**SMALL, "per_device_train_batch_size": 16})
    straight.complete()
    run = two_pods(new_run, {"processesPerNode": 2, "outOfMemoryLadder": True}, **{**SMALL, **FOUR_PAIRS})
    small = memory(pairs=2, from_step=5)
    pods = [run.start(JOB_COMPLETION_INDEX="0"), run.start(JOB_COMPLETION_INDEX="1", **small)]
    assert [pod.wait() for pod in pods] == [75, 75], pods[1].output[-3000:]
    assert "goes on with perDeviceTrainBatchSize 2, gradientAccumulationSteps 2" in pods[1].message["message"]
    assert "Another process of this run" in pods[0].message["message"]
    pods = [run.start(JOB_COMPLETION_INDEX="0"), run.start(JOB_COMPLETION_INDEX="1", **small)]
    assert [pod.wait() for pod in pods] == [0, 0], pods[1].output[-3000:]
    assert [(pod.message["attempt"], pod.message["resumedFromStep"]) for pod in pods] == [(2, 4)] * 2
    assert (rung(run)["per_device_train_batch_size"], rung(run)["gradient_accumulation_steps"]) == (2, 2)
    assert losses(run) == pytest.approx(losses(straight), abs=2e-5)


def test_every_attempt_stays_on_the_rung_and_where_none_is_left_the_run_ends_with_80(new_run, memory, tmp_path):
    endless = {"max_steps": 100_000, "per_device_train_batch_size": 2, "save_strategy": "no"}
    run = new_run(run={"outOfMemoryLadder": True}, environment=memory(pairs=0), **endless)
    first = run.start()
    run.wait_for_step(1, first)
    first.terminate()
    assert first.wait() == 75
    assert first.message["attempt"] == 3, "2 pairs, 1 pair, 1 pair recomputed"
    assert rung(run)["gradient_checkpointing"] is True
    (tmp_path / "pairs").write_text("-1")
    second = run.start()
    assert second.wait() == 80, second.output[-3000:]
    assert second.message["attempt"] == 4
    assert "no rung left" in second.message["message"]
