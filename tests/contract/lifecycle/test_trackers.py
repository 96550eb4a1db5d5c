"""`report_to`: what a tracker wrote is whole, however the attempt ended. `make trackers` brings their packages."""

from __future__ import annotations

import importlib.util

import pytest

from tests.tracked import read

LAST = 30
STATUS = {  # how each attempt ended, in the tracker's words; None: it has none
    "tensorboard": (None, None),
    "wandb": (75, 0, 81),
    "mlflow": ("FINISHED", "FINISHED", "FAILED"),  # transformers ends MLflow's run itself when the loop ends in order
    "trackio": (None, None),
}


@pytest.mark.parametrize("tracker", STATUS)
def test_stopped_resumed_and_diverged_runs_are_tracked(new_run, tracker, tmp_path, monkeypatch):
    if importlib.util.find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not here: make trackers")
    common = {"report_to": [tracker], "max_steps": LAST, "beta": 0.25}
    environment = {"HF_HOME": str(tmp_path)}
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # to read; the trainer sets it itself to write
    run = new_run(environment=environment, **common)
    run.stop_and_resume()
    broken = new_run(environment=environment, **{**common, "learning_rate": 1e30, "max_grad_norm": 0})
    pod = broken.start()
    assert pod.wait() == 81, pod.output[-3000:]

    runs = read(tracker, run.output / "tracking")
    steps = [step for attempt in runs for step in attempt.steps]
    assert steps == list(range(1, LAST + 1))
    failed = read(tracker, broken.output / "tracking")
    assert [attempt.steps for attempt in failed] == [list(range(1, pod.message["step"] + 1))]
    runs += failed
    assert {(attempt.name, attempt.beta) for attempt in runs} == {("team-a/tiny-r1", 0.25)}
    assert tuple(attempt.end for attempt in runs) == STATUS[tracker]


AWAY = {
    "wandb": {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_INIT_TIMEOUT": "5"},
    "mlflow": {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"},
}


@pytest.mark.parametrize("tracker", AWAY)
def test_a_server_that_does_not_answer_is_no_defect_of_the_trainer(new_run, tracker):
    if importlib.util.find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not here: make trackers")
    pod = new_run(report_to=[tracker], max_steps=1, environment=AWAY[tracker]).start()
    assert pod.wait() == 69, pod.output[-3000:]
    assert pod.message["class"] == "Infrastructure"
    assert "reportTo" in pod.message["cure"]


@pytest.mark.parametrize("tracker", ["wandb", "mlflow", "trackio", "comet_ml"])
def test_a_tracker_that_the_image_lacks_ends_the_run_before_anything_is_loaded(new_run, tracker):
    if importlib.util.find_spec(tracker):
        pytest.skip(f"{tracker} is here")
    run = new_run(report_to=[tracker], model_name_or_path="/no/such/model")
    pod = run.start()
    assert pod.wait() == 78, pod.output[-3000:]
    assert pod.message["class"] == "UserError"
    assert f"spec.training.reportTo: the package {tracker} is not in this image" in pod.message["message"]
    assert "spec.image" in pod.message["cure"]
