"""What one process of eight holds under ZeRO: bytes a parameter, as counted in DeepSpeed (docs/memory.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alignment_trainer.memory.adapter import lora
from alignment_trainer.memory.estimate import estimate
from alignment_trainer.memory.weights import Format
from alignment_trainer.memory.workload import Reference, Sharding, Workload, Zero
from tests.unit.trainer.memory_models import LLAMA_8B, known

PROCESSES = 8
MODEL = known(LLAMA_8B)
BF16 = Workload(MODEL, Format(2), reference=Reference(MODEL, Format(2)), processes=PROCESSES)
ACCUMULATED = replace(BF16, accumulation=2)
FP32 = replace(BF16, weights=Format(4), reference=None, autocast=False)


def under(stage: int, workload: Workload, **settings: Any) -> Workload:
    weights, gradients, optimizer = (PROCESSES if stage >= least else 1 for least in (3, 2, 1))
    zero = Zero(stage, **settings)
    return replace(workload, sharding=Sharding(weights, gradients, optimizer, weights, zero))


@pytest.mark.parametrize(
    ("stage", "workload", "weights", "gradients", "optimizer"),
    [
        (1, BF16, 2, 2 / PROCESSES, 12 / PROCESSES),
        (1, ACCUMULATED, 2, 2, 12 / PROCESSES),
        (2, BF16, 2, 2 / PROCESSES, 12 / PROCESSES),
        (3, BF16, 2 / PROCESSES, 2 / PROCESSES, 12 / PROCESSES),
        (2, ACCUMULATED, 2, 2 / PROCESSES, 12 / PROCESSES),
        (1, FP32, 4, 4 / PROCESSES, 12 / PROCESSES),  # a copy of what is fp32 already
        (3, FP32, 4 / PROCESSES, 4 / PROCESSES, 12 / PROCESSES),
    ],
    ids=["1-bf16", "1-accumulated", "2-bf16", "3-bf16", "2-accumulated", "1-fp32", "3-fp32"],
)
def test_states_are_bytes_a_parameter(
    stage: int, workload: Workload, weights: float, gradients: float, optimizer: float
) -> None:
    parts = estimate(under(stage, workload)).parts
    held = {name: parts[name] / MODEL.parameters for name in ("weights", "gradients", "optimizer")}
    assert held == pytest.approx({"weights": weights, "gradients": gradients, "optimizer": optimizer}, rel=1e-3)


def test_stage_3_keeps_small_parameters_whole() -> None:
    """LoRA's factors of a layer are small, however many layers there are."""
    adapter = lora(MODEL, 16, ["q_proj", "down_proj"])
    small = sum(tensor.size for tensor in adapter.tensors if tensor.size <= 100_000)
    assert 0 < small < adapter.parameters
    adapted = replace(BF16, reference=None, adapter=adapter)
    parts = estimate(under(3, adapted)).parts
    assert parts["adapter"] == 2 * adapter.parameters // PROCESSES + 2 * small
    assert estimate(under(3, adapted, persists=0)).parts["adapter"] == 2 * adapter.parameters // PROCESSES


def test_the_reference_is_split_by_stage_3_alone() -> None:
    references = [estimate(under(stage, BF16)).parts["reference"] / MODEL.parameters for stage in (1, 2, 3)]
    assert references == pytest.approx([2, 2, 2 / PROCESSES], rel=1e-3)


def test_stage_3_leaves_a_billion_parameters_of_the_reference_gathered() -> None:
    second, shared = (estimate(under(3, replace(BF16, reference=each))) for each in (BF16.reference, None))
    more = second.moments["optimizer's step"] - shared.moments["optimizer's step"]
    assert more == second.parts["reference"] + 2 * 10**9


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_bucket_is_as_large_as_it_is_configured(stage: int) -> None:
    """A gigabyte by default, also for an adapter of a few megabytes; on a CPU what is not written is not there."""
    adapter = lora(MODEL, 8, ["q_proj"])
    adapted = replace(BF16, reference=None, adapter=adapter)
    assert estimate(under(stage, adapted)).parts["buckets"] == 10**9
    assert estimate(under(stage, replace(adapted, device="cpu"))).parts["buckets"] == 2 * adapter.parameters
    assert estimate(under(stage, adapted, bucket=1000)).parts["buckets"] == 2000


def test_gradients_that_stage_3_keeps_are_there_at_every_moment() -> None:
    small, large = (estimate(under(3, BF16, bucket=bucket)).moments for bucket in (0, 10**9))
    assert {name: large[name] - small[name] for name in small} == dict.fromkeys(small, 2 * 10**9)
