"""DeepSpeed's configuration: read in all its forms, completed from the recipe, refused where it saves nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alignment_trainer import exits, zero

STAGE_3 = {"zero_optimization": {"stage": 3}}
GATHER = "stage3_gather_16bit_weights_on_model_save"


def test_a_configuration_is_a_mapping_its_text_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "zero.json"
    file.write_text(json.dumps(STAGE_3))
    assert zero.read(STAGE_3) == zero.read(f" \n{json.dumps(STAGE_3)}") == zero.read(str(file)) == STAGE_3


@pytest.mark.parametrize("given", ["{", "/nowhere.json", "[1]", 3], ids=["broken", "missing", "list", "number"])
def test_what_is_no_configuration_is_refused_by_the_fields_name(given: Any, tmp_path: Path) -> None:
    with pytest.raises(exits.UserError, match=r"spec\.training\.deepspeed cannot be read"):
        zero.read(given)


def test_what_a_configuration_leaves_out_is_the_recipes() -> None:
    """DeepSpeed alone would take one micro-batch for a step, clip no gradient and compute in fp32."""
    complete = zero.complete({"zero_optimization": {"stage": 2}}, trains_adapter=False)
    batches = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    assert [complete[name] for name in (*batches, "gradient_clipping")] == ["auto"] * 4
    assert complete["bf16"] == complete["fp16"] == {"enabled": "auto"}
    assert complete["zero_optimization"] == {"stage": 2}


def test_what_a_configuration_says_stays() -> None:
    given = {"gradient_clipping": 0.5, "bf16": {"enabled": True}, "zero_optimization": {"stage": 3, GATHER: True}}
    assert given.items() <= zero.complete(given, trains_adapter=False).items()


@pytest.mark.parametrize("given", [{}, {GATHER: "auto"}, {GATHER: True}], ids=["unset", "auto", "true"])
def test_zero_3_gathers_the_weights_that_are_saved(given: dict[str, Any]) -> None:
    complete = zero.complete({"zero_optimization": {"stage": 3, **given}}, trains_adapter=False)
    assert complete["zero_optimization"][GATHER] is True


def test_zero_3_that_would_save_no_model_is_refused() -> None:
    given = {"zero_optimization": {"stage": 3, GATHER: False}}
    with pytest.raises(exits.UserError, match=f"{GATHER}: false no process has whole weights to save"):
        zero.complete(given, trains_adapter=False)
    assert zero.complete(given, trains_adapter=True)["zero_optimization"][GATHER] is False


def test_one_process_has_a_group_of_its_own_and_one_of_several_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    for name in names:
        monkeypatch.setenv(name, "7")
    zero.stand_alone()
    assert {os.environ[name] for name in names} == {"7"}
    for name in names:
        monkeypatch.delenv(name)
    zero.stand_alone()
    assert [os.environ[name] for name in names] == ["0", "0", "1", "127.0.0.1", "0"]


def test_a_partitioned_weight_has_the_shape_of_the_whole() -> None:
    assert zero.true_shape(SimpleNamespace(shape=(0,), ds_shape=(32, 8))) == (32, 8)
    assert zero.true_shape(SimpleNamespace(shape=(4, 2))) == (4, 2)
