"""A tracker that cannot work is refused with its field's name; one that can writes into the run's folder."""

import importlib.util
import sys

import pytest

from alignment_trainer import trackers
from alignment_trainer.exits import UserError


@pytest.mark.parametrize("name", ["tensorboard", "kubeflow"])
def test_what_the_image_has_passes(name):
    trackers.check(name)


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio", "azure_ml", "comet_ml"])
def test_what_the_image_lacks_names_field_and_package(name):
    module = {"azure_ml": "azureml"}.get(name, name)
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed here")
    with pytest.raises(
        UserError, match=rf"spec\.training\.reportTo: the package {module} is not in this image"
    ) as caught:
        trackers.check(name)
    assert "spec.image" in caught.value.cure


def test_an_unknown_tracker_names_the_known_ones():
    with pytest.raises(UserError, match="no tracker 'tensorbord'") as caught:
        trackers.check("tensorbord")
    assert "tensorboard" in caught.value.cure


@pytest.mark.parametrize(("key", "mode"), [({}, "offline"), ({"WANDB_API_KEY": "x"}, None)])
def test_every_tracker_is_told_a_place_below_the_folder(key, mode):
    places = trackers.places("/output/run/tracking", key)
    assert places.pop("WANDB_MODE", None) == mode
    assert places.pop("MLFLOW_ALLOW_FILE_STORE") == "true"
    assert int(places.pop("WANDB_FINISH_TIMEOUT")) > 0, "or W&B waits for its server for ever"
    assert all(value.removeprefix("file:").startswith("/output/run/tracking") for value in places.values())


class Mlflow:
    """Stands where the module would be; the real ones are in tests/contract/lifecycle/test_trackers.py."""

    def __init__(self, error=None):
        self.error, self.ends = error, []

    def end_run(self, status):
        if self.error:
            raise self.error
        self.ends.append(status)


@pytest.mark.parametrize(("exit_code", "status"), [(0, "FINISHED"), (75, "KILLED"), (81, "FAILED")])
def test_a_run_ends_in_the_trackers_words(monkeypatch, exit_code, status):
    mlflow = Mlflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    trackers.finish(exit_code)
    assert mlflow.ends == [status]


def test_a_tracker_that_cannot_end_its_run_does_not_hide_what_was_before(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", Mlflow(ConnectionError("no server")))
    trackers.finish(81)
    assert "mlflow could not end its run: no server" in capsys.readouterr().err
