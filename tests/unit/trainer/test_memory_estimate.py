"""The formula's properties, its order of magnitude, and the cheapest change that it finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alignment_trainer.exits import UserError
from alignment_trainer.memory.adapter import lora
from alignment_trainer.memory.changes import changes, cheapest
from alignment_trainer.memory.command import size_in_bytes
from alignment_trainer.memory.device import host_bytes
from alignment_trainer.memory.estimate import estimate
from alignment_trainer.memory.settings import sharding
from alignment_trainer.memory.weights import Format
from alignment_trainer.memory.workload import Reference, Sharding, Workload, Zero
from tests.unit.trainer.memory_models import LLAMA_8B, SMOLLM2_135M, known

GIB = 2**30
MODEL = known(LLAMA_8B)
LORA = lora(MODEL, 16, "all-linear")
FULL = Workload(MODEL, Format(2), reference=Reference(MODEL, Format(2)), batch=4)
ADAPTED = Workload(MODEL, Format(2), adapter=LORA, batch=4)
QLORA = replace(ADAPTED, weights=Format(2, bits=4))
WORKLOADS = {"full": FULL, "lora": ADAPTED, "qlora": QLORA}


@pytest.fixture(params=WORKLOADS, name="workload")
def _workload(request: pytest.FixtureRequest) -> Workload:
    return WORKLOADS[request.param]


@pytest.mark.parametrize(
    "more",
    [
        {"batch": 8},
        {"length": 2048},
        {"checkpointing": False},
        {"attention": "eager"},
        {"optimizer": "ademamix"},
        {"reference": Reference(MODEL, Format(4))},
        {"processes": 2},
    ],
    ids=lambda more: next(iter(more)),
)
def test_more_work_needs_more_memory(workload: Workload, more: dict[str, Any]) -> None:
    base = replace(workload, reference=None, accumulation=2)
    assert estimate(replace(base, **more)).peak > estimate(base).peak


@pytest.mark.parametrize("part", ["weights", "adapter", "gradients", "optimizer", "activations"])
def test_every_part_grows_with_rank_or_stays(part: str) -> None:
    small, large = (
        estimate(replace(ADAPTED, adapter=lora(MODEL, rank, "all-linear"), checkpointing=False)).parts[part]
        for rank in (8, 64)
    )
    assert large == small if part == "weights" else large > small


@pytest.mark.parametrize(
    ("shards", "divided"),
    [
        (Sharding(8, 8, 8, 8), {"weights", "reference", "gradients", "optimizer"}),
        (Sharding(1, 8, 8, 1), {"gradients", "optimizer"}),
        (Sharding(1, 1, 8, 1), {"optimizer"}),
    ],
    ids=["fsdp", "zero-2", "zero-1"],
)
def test_sharding_divides_what_it_shards(shards: Sharding, divided: set[str]) -> None:
    one = estimate(FULL).parts
    many = estimate(replace(FULL, sharding=shards, processes=8)).parts
    for part in ("weights", "reference", "gradients", "optimizer"):
        buckets = 2 if part == "gradients" and part not in divided else 1  # DDP's
        assert many[part] == pytest.approx(buckets * one[part] / (8 if part in divided else 1), rel=1e-6), part
    assert many["activations"] == one["activations"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("full_shard auto_wrap", None, None, 4), Sharding(4, 4, 4, 4)),
        (("shard_grad_op", None, None, 4), Sharding(1, 4, 4, 4)),
        ((True, {"reshard_after_forward": False}, None, 4), Sharding(1, 4, 4, 4)),
        (("full_shard", None, None, 1), Sharding()),
        ((None, None, '{"zero_optimization": {"stage": 3}}', 4), Sharding(4, 4, 4, 4, Zero(3))),
        ((None, None, {"zero_optimization": {"stage": 2}}, 4), Sharding(1, 4, 4, 1, Zero(2))),
        (
            (None, None, {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, 1),
            Sharding(zero=Zero(2, host_optimizer=True)),
        ),
        (
            (None, None, {"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}, 4),
            Sharding(4, 4, 4, 4, Zero(3, host_weights=True)),
        ),
        (
            (None, None, {"zero_optimization": {"stage": 3, "offload_param": {"device": "none"}}}, 4),
            Sharding(4, 4, 4, 4, Zero(3)),
        ),
        (
            (
                None,
                None,
                {"zero_optimization": {"stage": 2, "overlap_comm": True, "reduce_bucket_size": "auto"}},
                4,
                64,
            ),
            Sharding(1, 4, 4, 1, Zero(2, bucket=2 * 64 * 64, persists=100_000)),
        ),
        (
            (None, None, {"zero_optimization": {"stage": 3, "reduce_bucket_size": "auto"}}, 4, 64),
            Sharding(4, 4, 4, 4, Zero(3, bucket=64 * 64)),
        ),
        (
            (None, None, {"zero_optimization": {"stage": 1, "contiguous_gradients": False}}, 4),
            Sharding(1, 1, 4, 1, Zero(1, bucket=0)),
        ),
        ((None, None, None, 4), Sharding()),
    ],
)
def test_sharding_is_read_as_trl_reads_it(arguments: tuple[Any, ...], expected: Sharding) -> None:
    assert sharding(*arguments) == expected


def test_what_zero_offloads_takes_no_memory_of_the_gpu() -> None:
    """8 billion parameters in bf16, trained on one GPU: 2 bytes each stay, or none, where 16 do not fit."""

    def offloaded(**places: bool) -> Workload:
        return replace(FULL, reference=None, sharding=Sharding(zero=Zero(3, **places)))

    whole = estimate(offloaded())
    without_optimizer = estimate(offloaded(host_optimizer=True))
    without_weights = estimate(offloaded(host_optimizer=True, host_weights=True))
    assert whole.peak > 115 * GIB
    assert 15 * GIB < without_optimizer.peak < 30 * GIB
    assert without_optimizer.parts["optimizer"] == 0
    assert without_weights.parts["weights"] < 1 << 20, "the norms, which ZeRO-3 keeps"
    assert without_weights.peak < without_optimizer.peak - 10 * GIB
    on_cpu = [estimate(replace(offloaded(host_optimizer=there), device="cpu")).peak for there in (False, True)]
    assert on_cpu[0] == on_cpu[1], "a CPU's memory is the host's"


@pytest.mark.parametrize(
    ("change", "bytes_a_parameter"),
    [
        ({"weights": Format(4), "reference": Reference(MODEL, Format(4))}, 20),  # 4 + 4 + 8 + 4
        ({"weights": Format(4), "reference": None}, 16),
        ({}, 10),  # 2 + 2 + 4 + 2
        ({"reference": None, "reference_pass": False}, 8),
    ],
    ids=["fp32", "fp32-precomputed", "bf16", "bf16-precomputed"],
)
def test_states_of_full_fine_tuning_are_bytes_a_parameter(change: dict[str, Any], bytes_a_parameter: int) -> None:
    parts = estimate(replace(FULL, **change)).parts
    states = sum(parts[name] for name in ("weights", "reference", "gradients", "optimizer"))
    assert states / MODEL.parameters == pytest.approx(bytes_a_parameter, rel=1e-4)


def test_a_shared_reference_costs_no_memory_of_its_own() -> None:
    assert estimate(ADAPTED).parts["reference"] == 0


def test_packed_pairs_pass_their_prompt_once() -> None:
    packed = replace(ADAPTED, packed=True, shared_tokens=512)
    assert packed.tokens == 4 * (2 * 1024 - 512)
    assert estimate(packed).peak < estimate(ADAPTED).peak


@pytest.mark.parametrize(("method", "sequences"), [("dpo", 8), ("orpo", 8), ("reward", 8), ("sft", 4), ("kto", 4)])
def test_pairs_are_two_sequences(method: str, sequences: int) -> None:
    assert replace(ADAPTED, method=method).sequences == sequences


def test_full_logits_dwarf_the_fused_head() -> None:
    assert estimate(replace(ADAPTED, method="orpo")).parts["head"] > 5 * estimate(ADAPTED).parts["head"]


def fields(workload: Workload, budget_gib: float) -> list[str]:
    found = cheapest(workload, round(budget_gib * GIB))
    return [change.fields.partition(",")[0] for change in found[0]] if found else []


@pytest.mark.parametrize(
    ("workload", "budget_gib", "expected"),
    [
        (replace(ADAPTED, checkpointing=False), 40, ["spec.training.gradientCheckpointing: true"]),
        (FULL, 85, ["spec.referenceModel.strategy: Precomputed"]),
        (replace(ADAPTED, weights=Format(4)), 30, ["spec.model.dtype: bfloat16"]),
        (replace(ADAPTED, batch=32), 26, ["spec.training.perDeviceTrainBatchSize: 8"]),
        (replace(ADAPTED, checkpointing=False, shared_tokens=900), 50, ["spec.training.gradientCheckpointing: true"]),
        (
            replace(ADAPTED, batch=1, length=512, shared_tokens=500),
            15.9,
            ["spec.optimizations.packedPairs: true"],
        ),
        (replace(FULL, processes=8), 50, ["spec.training.fsdp: full_shard"]),
        (FULL, 45, ["spec.model.usePeft: true"]),
        (ADAPTED, 13, ["spec.model.loadIn4bit: true"]),
        (FULL, 2, []),
    ],
    ids=[
        "checkpointing",
        "precomputed",
        "bfloat16",
        "batch",
        "checkpointing first",
        "packing",
        "fsdp",
        "lora",
        "4bit",
        "nothing",
    ],
)
def test_the_cheapest_change_that_fits_is_named(workload: Workload, budget_gib: float, expected: list[str]) -> None:
    assert fields(workload, budget_gib) == expected


def test_a_combination_holds_only_what_it_needs() -> None:
    """Every change left out makes the run too large again."""
    workload, budget = replace(FULL, checkpointing=False, batch=16), 60 * GIB
    found = cheapest(workload, budget)
    assert found is not None
    chosen, needed = found
    assert len(chosen) > 1
    assert needed <= budget
    for left_out in chosen:
        changed = workload
        for change in chosen:
            changed = changed if change is left_out else change.apply(changed) or changed
        assert estimate(changed).with_reserve > budget, left_out.fields


def test_every_change_saves_memory_where_it_applies() -> None:
    small = known(SMOLLM2_135M)
    start = Workload(small, Format(4), reference=Reference(small, Format(4)), checkpointing=False, processes=4)
    for change in changes(start):
        changed = change.apply(start)
        if changed is not None:
            assert estimate(changed).peak < estimate(start).peak, change.fields


@pytest.mark.parametrize(
    ("files", "proc", "limit"),
    [
        ({"memory.max": "1073741824\n"}, "0::/\n", 1 << 30),
        ({"memory.max": "max\n"}, "0::/\n", None),
        ({"a/b/memory.max": "max\n", "a/memory.max": "1048576\n"}, "0::/a/b\n", 1 << 20),
        ({"memory/memory.limit_in_bytes": "2147483648\n"}, "5:cpu:/x\n4:memory:/kubepods/pod1\n", 1 << 31),
        ({"memory/pod1/memory.limit_in_bytes": "9223372036854771712\n"}, "4:memory:/pod1\n", None),
        ({}, "", None),
    ],
    ids=["v2", "v2-unlimited", "v2-parent", "v1-own-root", "v1-unlimited", "no-cgroup"],
)
def test_host_memory_is_the_smallest_limit(tmp_path: Path, files: dict[str, str], proc: str, limit: int | None) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "proc").write_text(proc)
    physical = host_bytes(tmp_path / "nowhere", tmp_path / "missing")
    assert physical > 1 << 28
    assert host_bytes(tmp_path, tmp_path / "proc") == min(limit or physical, physical)


@pytest.mark.parametrize(
    ("text", "size"), [("80GiB", 80 << 30), ("80Gi", 80 << 30), ("80 GB", 80 * 10**9), ("1.5gib", 3 << 29), ("42", 42)]
)
def test_amounts_of_memory_are_read_as_people_write_them(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "80 parsecs", "GiB", "-1GiB"])
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--gpu"):
        size_in_bytes(text)
