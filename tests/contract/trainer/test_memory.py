"""The memory estimate against the tensors of real runs, and what a run does that cannot fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from alignment_trainer import exits
from alignment_trainer.config import load_config
from alignment_trainer.data import load_datasets
from alignment_trainer.memory import check, device
from alignment_trainer.memory.command import main as estimate_command
from alignment_trainer.memory.estimate import Estimate
from alignment_trainer.memory.settings import workload_of
from tests.contract.trainer.memory_cells import (
    CELLS,
    FAST,
    FAST_CELLS,
    LORA,
    OTHER_CELLS,
    OTHER_SHAPE,
    REWARD_CELLS,
    STOCK,
    Calibration,
    Cell,
    Counted,
    size_of,
    states,
)
from tests.hub import Hub, Repository
from tests.trainer_runs import Bench

TOLERANCE = 0.10


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    return Calibration(tmp_path_factory.mktemp("calibration"))


@pytest.fixture(scope="module")
def other_calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    return Calibration(tmp_path_factory.mktemp("other"), **OTHER_SHAPE)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_the_estimate_is_what_the_tensors_take(calibration: Calibration, cell: Cell) -> None:
    assert_estimated(*calibration.measure(cell))


@pytest.mark.parametrize("cell", OTHER_CELLS, ids=lambda cell: cell.name)
def test_so_it_is_for_another_shape_and_other_methods(other_calibration: Calibration, cell: Cell) -> None:
    assert_estimated(*other_calibration.measure(cell))


def assert_estimated(predicted: Estimate, counted: Counted) -> None:
    """States to the byte, the peak within the tolerance that docs/memory.md names."""
    parts = predicted.parts
    assert parts["weights"] + parts["adapter"] == counted.weights
    assert parts["reference"] == counted.reference
    assert parts["gradients"] == counted.gradients
    assert parts["optimizer"] == counted.optimizer
    assert predicted.peak == pytest.approx(counted.peak, rel=TOLERANCE)


@pytest.mark.parametrize("cell", FAST_CELLS, ids=lambda cell: cell.name)
def test_with_the_trainers_own_speed_ups_it_is_close_where_nothing_is_shared(
    calibration: Calibration, cell: Cell
) -> None:
    """Rows without padding and with short prompts: what packing saves, only the data tell, so it is not counted on."""
    predicted, counted = calibration.measure(cell, FAST, calibration.full)
    assert predicted.peak == pytest.approx(counted.peak, rel=TOLERANCE)


@pytest.mark.parametrize("optimizations", [STOCK, FAST], ids=["stock", "fast"])
@pytest.mark.parametrize("cell", REWARD_CELLS, ids=lambda cell: cell.name)
def test_so_it_is_for_reward_models_with_and_without_speed_ups(
    calibration: Calibration, cell: Cell, optimizations: dict[str, bool]
) -> None:
    assert_estimated(*calibration.measure(cell, optimizations))


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adafactor", "sgd", "adagrad", "adamw_bnb_8bit", "lion_32bit"])
def test_optimizer_states_are_exact(calibration: Calibration, optimizer: str) -> None:
    predicted, trainer = calibration.build(Cell(optimizer, {"optim": optimizer}, {}))
    made = trainer.create_optimizer()
    for parameter in trainer.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    made.step()
    assert predicted.parts["optimizer"] == size_of(states(made))


@pytest.mark.parametrize(
    "fields",
    [
        {"lora_target_modules": ["q_proj", "down_proj"], "lora_r": 3},
        {"lora_target_modules": r".*\.(gate|up)_proj"},
        {"lora_target_modules": None},
        {"lora_modules_to_save": ["lm_head"]},
        {"use_dora": True, "lora_target_modules": ["o_proj"]},
    ],
    ids=["names", "expression", "peft's default", "saved head", "dora"],
)
def test_adapters_are_those_that_peft_makes(bench: Bench, fields: dict[str, Any]) -> None:
    from peft import get_peft_model
    from trl import get_peft_config

    from alignment_trainer.models import get_model

    config = load_config(*bench.files(bench.recipe(**{**LORA, **fields})))
    model = get_peft_model(get_model(config.model_args, config.training_args), get_peft_config(config.model_args))
    adapter = workload_of(config).adapter
    assert adapter is not None
    assert adapter.parameters == model.get_nb_trainable_parameters()[0]
    assert sum(4 * t.size for t in (*adapter.tensors, *adapter.magnitudes, *adapter.saved)) == size_of(
        parameter for parameter in model.parameters() if parameter.requires_grad
    )


def test_an_adapter_that_goes_on_is_read_from_its_file(bench: Bench) -> None:
    """TRL keeps a frozen copy of it: its bytes are counted twice, its gradients once."""
    made = bench.run(bench.recipe(**LORA, max_steps=1))
    config = load_config(*bench.files(bench.recipe(), adapterNameOrPath=str(made.output)))
    adapter = workload_of(config).adapter
    assert adapter is not None
    trained = sum(p.numel() for p in made.trainer.model.parameters() if p.requires_grad)
    assert (adapter.parameters, adapter.rank, adapter.frozen_copies) == (trained, 16, 1)


def test_a_run_that_cannot_fit_the_gpu_ends_before_it_loads(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is this test's: the answer of torch.cuda.mem_get_info."""
    config = load_config(*bench.files(bench.recipe(gradient_checkpointing=False)))
    config.run = config.run.model_copy(update={"device": "gpu"})
    monkeypatch.setattr(device, "gpu_free_bytes", lambda: 4 << 20)
    with pytest.raises(exits.GpuOutOfMemory) as refused:
        check.check_memory(config, load_datasets(config)[0])
    assert refused.value.exit_code == 80
    assert "spec." in refused.value.cure
    config.run = config.run.model_copy(update={"memoryCheck": False})
    check.check_memory(config, load_datasets(config)[0])


@pytest.mark.parametrize(("limit", "refused"), [(64 << 30, False), (564 << 20, True)], ids=["fits", "clearly over"])
def test_a_container_that_is_clearly_too_small_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, limit: int, refused: bool
) -> None:
    config = load_config(*bench.files(bench.recipe(per_device_train_batch_size=64)))
    monkeypatch.setattr(device, "host_bytes", lambda: limit)
    if not refused:
        return check.check_memory(config, load_datasets(config)[0])
    with pytest.raises(exits.UserError, match="tokens") as error:
        check.check_memory(config, load_datasets(config)[0])
    assert "spec.resources.limits.memory" in error.value.cure
    return None


def test_a_model_that_cannot_be_estimated_is_left_to_loading(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    config = load_config(*bench.files(bench.recipe(model_name_or_path=str(tmp_path))))
    check.check_memory(config, load_datasets(config)[0])
    assert "Memory is not checked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fields", "gpu", "code", "words"),
    [
        ({}, "1GiB", 0, "fits: yes"),
        ({"gradient_checkpointing": False, "per_device_train_batch_size": 64}, "1100MiB", 80, "spec.training"),
        ({"desirable_weight": 1.1}, "1GiB", 0, "the policy's own weights"),
    ],
    ids=["fits", "does not fit", "kto"],
)
def test_the_command_prints_the_table(
    bench: Bench, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], gpu: str, code: int, words: str
) -> None:
    recipe, _ = bench.files(bench.recipe(**LORA, **fields, bf16=True))
    assert estimate_command([str(recipe), "--gpu", gpu]) == code
    out = capsys.readouterr().out
    for part in ("weights", "reference", "gradients", "optimizer", "activations", "head", "peak", words):
        assert part in out


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("apiVersion: alignment-operator.io/v1alpha1", 78, "render --recipe -f"),
        ("model_name_or_path: a\ntorch_dtype: bfloat16", 78, "dpo lacks torch_dtype"),
        (None, 78, "There is no file"),
    ],
    ids=["a manifest", "an older recipe", "no file"],
)
def test_the_command_says_what_a_file_is_that_is_no_recipe(
    text: str | None, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    if text:
        recipe.write_text(text)
    assert estimate_command([str(recipe), "--gpu", "80GiB"]) == code
    assert words in capsys.readouterr().err


def test_a_models_header_on_the_hub_is_read_without_its_weights(bench: Bench, tmp_path: Path) -> None:
    """A process of its own: the hub's address is read when huggingface_hub is imported."""
    code = (
        "import json, sys; from alignment_trainer.memory.model import read_model; model = read_model('org/model');"
        "print(json.dumps([model.parameters, 'torch' in sys.modules]))"
    )
    size = (bench.model / "model.safetensors").stat().st_size
    with Hub({"org/model": Repository(bench.model)}) as hub:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=clean | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
    parameters, has_torch = json.loads(done.stdout)
    assert 4 * parameters < size < 4 * parameters + 20_000
    assert not has_torch
    assert not list(tmp_path.rglob("*.safetensors"))
