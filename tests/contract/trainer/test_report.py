"""A real run, in this process, tells about itself: report/, the model card, findings, progress that fits together."""

import hashlib
import json
import signal
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.trainer_runs import LORA, Outcome

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/contract/receipt.schema.json").read_text())
DATA = {"dpo": "preference", "orpo": "preference", "cpo": "preference", "reward": "preference", "kto": "unpaired"}


def receipt_of(output):
    receipt = json.loads((output / "report/receipt.json").read_text())
    jsonschema.validate(receipt, SCHEMA)
    return receipt


def metrics_of(output):
    return [json.loads(line) for line in (output / "report/metrics.jsonl").read_text().splitlines()]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def finished(bench) -> Outcome:
    """LoRA with evaluations and a merge."""
    return bench.run(bench.recipe(**LORA, max_steps=6, eval_strategy="steps", eval_steps=3, seed=7), merge=True)


def test_metrics_are_the_trainers_own_log(finished):
    logged = finished.trainer.state.log_history
    assert metrics_of(finished.output) == [{"step": record["step"], **record} for record in logged]
    assert {"eval_loss", "rewards/margins", "learning_rate"} <= {name for record in logged for name in record}


def test_the_receipt_names_model_data_seeds_versions_and_weights(finished, bench):
    receipt = receipt_of(finished.output)
    assert receipt["model"]["files"]["model.safetensors"] == sha256(bench.model / "model.safetensors")
    assert receipt["dataset"]["files"]["train.jsonl"] == sha256(bench.data() / "train.jsonl")
    assert (receipt["dataset"]["rows"], receipt["dataset"]["droppedRows"]) == (32, 0)
    assert receipt["seeds"]["seed"] == 7
    assert receipt["steps"] == {"done": 6, "total": 6}
    assert receipt["weights"] == {
        name: sha256(finished.output / name) for name in ("adapter_model.safetensors", "merged/model.safetensors")
    }
    assert receipt["metrics"]["loss"] == finished.losses[-1]
    assert receipt["software"]["packages"]["trl"] == "1.16.0"
    assert receipt["configuration"]["recipe"]["learning_rate"] == 1e-3
    assert receipt["configuration"]["training"]["weight_decay"] == 0.0, "defaults are filled in"
    assert receipt["configuration"]["run"]["merge"] is True


def test_the_curves_are_a_picture(finished):
    data = (finished.output / "report/curves.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000


@pytest.mark.parametrize(("folder", "loader"), [(".", "AutoPeftModelForCausalLM"), ("merged", "AutoModelForCausalLM")])
def test_the_card_beside_each_model_says_what_it_is(finished, bench, folder, loader):
    _, front, text = (finished.output / folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["tags"][:2] == ["trl", "dpo"]
    assert f"import {loader}" in text
    assert "max_steps: 6" in text
    assert str(bench.root) not in front + text, "a folder of this machine means nothing elsewhere"
    assert "| rewards/margins |" in text


@pytest.mark.parametrize("method", ["sft", "orpo", "cpo", "kto", "reward"])
def test_every_method_makes_its_report(bench, method):
    kind = DATA.get(method, "language_modeling")
    outcome = bench.run(bench.recipe(dataset_name=str(bench.data(kind)), max_steps=2), method)
    receipt = receipt_of(outcome.output)
    assert receipt["method"] == method
    assert receipt["weights"].keys() == {"model.safetensors"}
    assert (outcome.output / "report/curves.png").exists()
    assert ("referenceModel" in receipt) == (method == "kto")


def test_tensorboard_writes_below_the_runs_folder(bench, monkeypatch, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for variable in ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR", "WANDB_MODE", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    outcome = bench.run(bench.recipe(max_steps=2, report_to=["tensorboard"]))
    events = EventAccumulator(str(outcome.output / "tracking/tensorboard")).Reload()
    losses = [event.value for event in events.Scalars("train/loss")]
    assert losses == pytest.approx(outcome.losses)
    assert not list(tmp_path.iterdir()), "nothing in the working directory: the root is read-only"


class Updates:
    """Stands where progress is posted, and keeps every state that could have been."""

    def __init__(self):
        self.states = []

    def update(self, facts, urgent=False):
        self.states.append(dict(facts))

    def close(self, seconds=None):
        pass


@pytest.fixture
def attempt(bench, monkeypatch):
    """Makes attempts of one run, each run to its end; `run`: fields of run.yaml."""
    from alignment_trainer import checkpoint, train
    from alignment_trainer.attempt import RunningAttempt
    from alignment_trainer.exits import Preempted
    from alignment_trainer.journal import Journal
    from alignment_trainer.reports import Reports
    from alignment_trainer.run_config import load_run_config
    from alignment_trainer.stopping import Stop

    def make(number, recipe, stop_at=None, only_finish=False, **run):
        monkeypatch.setenv("ALIGNMENT_ATTEMPT", str(number))
        monkeypatch.setenv("ALIGNMENT_ONLY_FINISH", "1" if only_finish else "")
        files = bench.files(recipe, **run)
        found = checkpoint.latest(recipe["output_dir"])
        Journal(recipe["output_dir"]).start(number, found.step if found else 0)
        attempt = RunningAttempt(load_run_config(files[1]), Reports(), Stop(Reports()))
        attempt.progress = Updates()
        if stop_at:
            _stop_at(attempt, stop_at)
        try:
            train.run(*files, attempt)
        except Preempted as error:  # as the launcher does
            step = attempt.facts["step"]
            Journal(recipe["output_dir"]).end(number, outcome="Preempted", **{"class": error.class_name}, step=step)
            raise
        return attempt

    yield make
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop_at(attempt, step):
    """As if SIGTERM came while `step` is computed."""
    from transformers import TrainerCallback

    class Terminate(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            attempt.stop.requested = state.global_step + 1 >= step

    callbacks = attempt.callbacks
    attempt.callbacks = lambda trainer: [Terminate(), *callbacks(trainer)]


def test_a_resumed_run_has_every_record_once_and_progress_that_fits_together(bench, attempt):
    from alignment_trainer.exits import Preempted

    recipe = bench.recipe(max_steps=8, save_strategy="steps", save_steps=4)
    straight = bench.run(bench.recipe(max_steps=8))
    with pytest.raises(Preempted):
        attempt(1, recipe, stop_at=3)
    second = attempt(2, recipe)
    output = Path(recipe["output_dir"])
    losses = [record["loss"] for record in metrics_of(output) if "loss" in record]
    assert losses == straight.losses
    summary, expected = metrics_of(output)[-1], metrics_of(straight.output)[-1]
    assert summary["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-4)
    assert receipt_of(output)["attempts"] == [
        {"attempt": 1, "fromStep": 0, "toStep": 3, "outcome": "Preempted", "class": "Preempted"},
        {"attempt": 2, "fromStep": 3},
    ]
    states = second.progress.states
    assert second.facts["resumedFromStep"] == 3
    assert second.facts["lastCheckpointTime"].endswith("Z")
    assert second.facts["peakMemoryBytes"] > 1 << 27
    assert [state["step"] for state in states if "metrics" in state], "something was told"
    for state in states:
        if state.get("step", 0) > 3:
            assert state.get("metrics", {}).get("epoch") == state["epoch"], "a step is told with its own metrics"
    last = next(state for state in reversed(states) if state.get("phase") == "Training")
    assert last["tokensPerSecond"] > 0
    assert last["stepSeconds"] > 0
    assert last["remainingSeconds"] == 0


def test_an_attempt_that_only_finishes_makes_the_report_that_is_missing(bench, attempt):
    recipe = bench.recipe(max_steps=3)
    attempt(1, recipe)
    report = Path(recipe["output_dir"]) / "report"
    before = receipt_of(report.parent)
    (report / "curves.png").unlink()
    begun = {name: value for name, value in before.items() if name not in ("weights", "metrics", "attempts")}
    (report / "receipt.json").write_text(json.dumps(begun))
    attempt(2, recipe, only_finish=True)
    after = receipt_of(report.parent)
    assert after["weights"] == before["weights"]
    assert after["metrics"] == before["metrics"]
    assert after["hardware"] == before["hardware"]
    assert (report / "curves.png").exists()
    for file in report.iterdir():
        file.unlink()
    attempt(3, recipe, only_finish=True)
    assert receipt_of(report.parent)["weights"] == before["weights"], "also when nothing was left of it"


@pytest.mark.parametrize("stops", [False, True])
def test_an_unhealthy_run_says_so_and_stops_if_it_shall(bench, attempt, stops):
    recipe = bench.recipe(max_steps=16, learning_rate=0.0)
    ended = attempt(1, recipe, health={"stopOnUnhealthy": stops, "windowSteps": 10})
    output = Path(recipe["output_dir"])
    assert ended.facts["findings"][0].startswith("ZeroMargins")
    assert receipt_of(output)["findings"] == ended.facts["findings"]
    assert (output / "model.safetensors").exists()
    last = receipt_of(output)["steps"]["done"]
    assert last == (10 if stops else 16)
    assert ended.facts["finished"]["outcome"] == ("StoppedEarly" if stops else "Complete")
    assert (output / "checkpoint-10" / "complete.json").exists() == stops
    if stops:
        assert "ZeroMargins" in ended.facts["finished"]["message"]
