"""What a user meets when the model hub says no: the exit code and a message that names the field and the cure.

The trainer is the real one, in a process of its own; the hub is `tests/hub.py` behind `HF_ENDPOINT`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.lifecycle.pods import Run
from tests.contract.lifecycle.zygote import Zygote
from tests.hub import Hub, Repository, commit_of
from tests.self_signed import certificate, server_context
from tests.tiny import tiny_model, tiny_preferences

TOKEN = "hf_the_right_one"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("hub")
    tiny_model(root / "model")
    (root / "data").mkdir()
    tiny_preferences(root / "data" / "train.jsonl", 8)
    return root / "model", root / "data"


def train(
    tmp_path: Path,
    zygote: Zygote,
    hub: Hub,
    recipe: dict[str, Any],
    env: dict[str, str] | None = None,
    run: dict[str, Any] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Run the trainer against the hub; returns its exit code and termination message. `run`: fields of run.yaml."""
    base = {
        "model_name_or_path": "org/model",
        "dataset_name": "org/data",
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
    }
    environment = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": ""}
    environment |= env or {}
    pod = Run(tmp_path, base | recipe, run or {}, environment, zygote.start).start()
    return pod.wait(180), pod.message


@pytest.mark.parametrize(
    ("recipe", "env", "down", "code", "failure_class", "words"),
    [
        pytest.param(
            {"model_name_or_path": "org/none"},
            {},
            False,
            66,
            "ModelUnavailable",
            "spec.model.modelNameOrPath",
            id="missing-model",
        ),
        pytest.param(
            {"model_revision": "v9"},
            {},
            False,
            66,
            "ModelUnavailable",
            "spec.model.modelRevision",
            id="missing-revision",
        ),
        pytest.param(
            {"model_name_or_path": "org/gated"},
            {},
            False,
            77,
            "AccessDenied",
            "spec.hub",
            id="gated-model-without-token",
        ),
        pytest.param(
            {"model_name_or_path": "org/gated"},
            {"HF_TOKEN": "hf_wrong"},
            False,
            77,
            "AccessDenied",
            "spec.hub",
            id="gated-model-with-wrong-token",
        ),
        pytest.param(
            {"dataset_name": "org/nodata"},
            {},
            False,
            66,
            "ModelUnavailable",
            "spec.dataset.datasetName",
            id="missing-dataset",
        ),
        pytest.param({}, {}, True, 69, "Infrastructure", "hub", id="hub-down"),
    ],
)
def test_what_the_hub_refuses_ends_in_its_class(
    tmp_path: Path,
    zygote: Zygote,
    folders: tuple[Path, Path],
    recipe: dict[str, Any],
    env: dict[str, str],
    down: bool,
    code: int,
    failure_class: str,
    words: str,
) -> None:
    model, data = folders
    repositories = {
        "org/model": Repository(model),
        "org/gated": Repository(model, token=TOKEN),
        "org/data": Repository(data, kind="dataset"),
    }
    if down:  # so that the model is the first that is asked for
        recipe = {"dataset_name": str(data)}
    with Hub(repositories, down=down) as hub:
        exit_code, message = train(tmp_path, zygote, hub, recipe, env)
    assert (exit_code, message["class"]) == (code, failure_class), message
    assert words in message["message"] + message["cure"]
    if down:  # each file costs half a minute of retries
        asked = {path.rpartition("/")[2] for _, path in hub.requests if "/org/model/" in path}
        assert asked == {"config.json"}, "it is given up at the first"


def test_a_pinned_gated_model_trains_with_the_right_token(
    tmp_path: Path, zygote: Zygote, folders: tuple[Path, Path]
) -> None:
    model, data = folders
    commit = commit_of(model)
    with Hub({"org/model": Repository(model, token=TOKEN), "org/data": Repository(data, kind="dataset")}) as hub:
        exit_code, message = train(tmp_path, zygote, hub, {"model_revision": commit}, {"HF_TOKEN": TOKEN})
        asked = [path for _, path in hub.requests if "model.safetensors" in path]
    assert (exit_code, message["outcome"]) == (0, "Complete"), message
    assert asked
    assert all(commit in path for path in asked)


@pytest.mark.parametrize("asked_for", ["model_name_or_path", "dataset_name", "push"])
def test_a_hub_whose_certificate_is_unknown_is_the_users_to_cure(
    tmp_path: Path, zygote: Zygote, folders: tuple[Path, Path], asked_for: str
) -> None:
    paths = {"model_name_or_path": folders[0], "dataset_name": folders[1]}
    local = {field: str(path) for field, path in paths.items() if field != asked_for}
    push = {"push": {"repository": "me/result"}} if asked_for == "push" else {}
    began = time.monotonic()
    with Hub({}, tls=server_context(certificate(tmp_path))) as hub:
        exit_code, message = train(tmp_path, zygote, hub, local, run=push)
    assert (exit_code, message["class"]) == (78, "UserError"), message
    assert "certificate" in message["message"]
    assert "SSL_CERT_FILE" in message["cure"]
    assert time.monotonic() - began < 25, "known at once, not after the libraries' retries"


def test_a_hub_whose_authority_is_named_serves(tmp_path: Path, zygote: Zygote, folders: tuple[Path, Path]) -> None:
    model, data = folders
    files = certificate(tmp_path)
    repositories = {"org/model": Repository(model), "org/data": Repository(data, kind="dataset")}
    with Hub(repositories, tls=server_context(files)) as hub:
        exit_code, message = train(tmp_path, zygote, hub, {}, {"SSL_CERT_FILE": str(files[0])})
    assert (exit_code, message["outcome"]) == (0, "Complete"), message
