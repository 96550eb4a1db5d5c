"""Where an optimization stays off, or turns itself off, and says why."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_trainer.fast.circumstances import Circumstances
from alignment_trainer.fast.decisions import decide
from alignment_trainer.run_config import Optimizations
from tests.fast_runs import OFF, ON, architecture, assert_same, build, one_batch, pairs
from tests.trainer_runs import LORA, Bench

GOOD = Circumstances(architecture="llama")
BOTH = {"completionHead", "packedPairs"}
SELECTIVE = "selectiveCheckpointing"
WIDE = "wideProducts"
MODEL = {*BOTH, SELECTIVE}
ADAPTERS = {"skipAdapterCasts", "fusedAdapterSum"}


def off(circumstances: Circumstances) -> dict[str, str]:
    return {name: why for name, why in decide(Optimizations(), circumstances).why_off.items() if why}


def test_nothing_speaks_against_a_plain_llama() -> None:
    assert off(GOOD) == {}


@pytest.mark.parametrize(
    ("change", "pieces", "reason"),
    [
        ({"architecture": "mamba"}, MODEL, "architecture mamba"),
        ({"is_vision": True}, MODEL, "vision"),
        ({"is_moe": True}, MODEL, "mixture-of-experts"),
        ({"scales_logits": True}, MODEL, "scales its logits"),
        ({"device": "mps"}, {*MODEL, WIDE}, "mps"),
        ({"replaces_layers": True}, MODEL, "use_liger_kernel"),
        ({"offloads_activations": True}, MODEL, "activation_offloading"),
        ({"learns_prompt": True}, MODEL, "prompt-learning"),
        ({"adapts_head": True}, MODEL, "on the LM head"),
        ({"is_compiled": True}, {*MODEL, *ADAPTERS}, "torch_compile"),
        ({"is_sharded": True}, {*MODEL, *ADAPTERS}, "sharded"),
        ({"attention": "eager"}, {"packedPairs"}, "attention eager"),
        ({"attention": "flash_attention_2"}, {"packedPairs"}, "flash_attention_2"),
        ({"caps_attention": True}, {"packedPairs"}, "attn_logit_softcapping"),
        ({"adds_noise": True}, {"packedPairs"}, "NEFTune"),
        ({"window": 512, "max_length": 1024}, {"packedPairs"}, "window of 512 tokens"),
        ({"window": 512, "max_length": None}, {"packedPairs"}, "window of 512 tokens"),
        ({"has_lora": False}, ADAPTERS, "no LoRA"),
        ({"checkpoints": False}, {SELECTIVE}, "gradient checkpointing is off"),
        ({"checkpoints_as_told": True}, {SELECTIVE}, "gradient_checkpointing_kwargs"),
        ({"device": "cuda"}, {SELECTIVE, WIDE}, "on GPUs"),
        ({"multiplies_bf16": False}, {WIDE}, "nothing is multiplied in bf16"),
        ({"has_bf16_instructions": True}, {WIDE}, "the CPU has instructions"),
        ({"autocasts": False}, {"skipAdapterCasts"}, "autocast"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_what_speaks_against_a_piece(change: dict[str, Any], pieces: set[str], reason: str) -> None:
    refused = off(dataclasses.replace(GOOD, **change))
    assert refused.keys() == pieces
    assert all(reason in why for why in refused.values())


def test_a_window_that_no_sequence_reaches_is_no_window() -> None:
    assert off(dataclasses.replace(GOOD, window=1024, max_length=1024)) == {}


def test_dropout_is_no_objection_but_is_told() -> None:
    report = decide(Optimizations(), dataclasses.replace(GOOD, drops_out=True)).report()
    assert report["packedPairs"] == "on; dropout draws other numbers than stock TRL"


def test_a_piece_that_is_off_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alignment_trainer"):
        decide(Optimizations(), dataclasses.replace(GOOD, attention="eager"))
    assert caplog.messages == ["packedPairs is off for the policy: attention eager takes no packed rows; sdpa does."]


@pytest.fixture(scope="module")
def data(bench: Bench) -> str:
    return str(bench.rows(pairs()))


REAL = [
    ("gpt_neox", {}, {}, BOTH, "architecture gpt_neox"),
    ("mistral", {"sliding_window": 16}, {}, {"packedPairs"}, "window of 16 tokens"),
    ("gemma2", {}, {"attn_implementation": "eager"}, {"packedPairs"}, "attn_logit_softcapping"),
    (
        "qwen3_moe",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
        {},
        BOTH,
        "mixture-of-experts",
    ),
    ("llama", {}, {"attn_implementation": "eager"}, {"packedPairs"}, "attention eager"),
    ("llama", {}, {"neftune_noise_alpha": 5.0}, {"packedPairs"}, "NEFTune"),
]


@pytest.mark.parametrize(
    ("name", "config", "fields", "pieces", "reason"), REAL, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_real_model_is_refused_and_trains_as_stock(
    bench: Bench, data: str, tmp_path: Path, name: str, config: dict, fields: dict, pieces: set[str], reason: str
) -> None:
    model = str(architecture(tmp_path / name, name, **config))
    recipe = {"dataset_name": data, "max_length": 64, "model_name_or_path": model, **fields}
    stock, ours = (build(bench, bench.recipe(**recipe), switches) for switches in (OFF, ON))
    refused = {piece: said for piece, said in ours.optimizations.items() if piece in BOTH and said != "on"}
    assert refused.keys() == pieces
    assert all(reason in said for said in refused.values())
    assert_same(one_batch(ours), one_batch(stock))


def test_a_biased_head_is_scored_by_trl_on_completions_only(bench: Bench, data: str, tmp_path: Path) -> None:
    import torch

    model = str(architecture(tmp_path / "phi3", "phi3"))
    stock, ours = (
        build(bench, bench.recipe(dataset_name=data, max_length=64, model_name_or_path=model), switches)
        for switches in (OFF, ON)
    )
    for trainer in (stock, ours):
        head = trainer.model.get_output_embeddings()
        head.bias = torch.nn.Parameter(torch.linspace(-1, 1, head.out_features))
    assert_same(one_batch(ours), one_batch(stock))


def test_wrong_attention_is_found_in_the_first_micro_batch(
    bench: Bench, data: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rejected completion sees the chosen one: the mistake that packing invites."""
    from alignment_trainer.fast import row_attention

    def causal(lengths: list[list[int]]) -> Iterator[row_attention._Part]:
        start = 0
        for segment in lengths:
            rows = slice(start, start := start + sum(segment))
            yield row_attention._Part(rows, (rows,))

    monkeypatch.setattr(row_attention, "_parts", causal)
    recipe = {"dataset_name": data, "max_length": 64, **LORA}
    stock, ours = (build(bench, bench.recipe(**recipe), switches) for switches in (OFF, ON))
    with caplog.at_level(logging.INFO, "alignment_trainer"):
        assert_same(one_batch(ours), one_batch(stock))
    assert "first micro-batch differ from TRL's" in ours.optimizations["packedPairs"]
    assert ours.optimizations["completionHead"] == "on"
    assert [message for message in caplog.messages if message.startswith("packedPairs is off")]


def test_a_wrong_head_is_found_in_the_first_micro_batch(
    bench: Bench, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alignment_trainer.fast import forward

    right = forward.score_tokens
    monkeypatch.setattr(forward, "score_tokens", lambda hidden, *rest: right(hidden * 1.01, *rest))
    stock, ours = (build(bench, bench.recipe(dataset_name=data, max_length=64), switches) for switches in (OFF, ON))
    assert_same(one_batch(ours), one_batch(stock))
    assert "differ from TRL's" in ours.optimizations["completionHead"]


def test_the_check_disturbs_neither_dropout_nor_mode(bench: Bench, data: str) -> None:
    import torch

    ours = build(bench, bench.recipe(dataset_name=data, max_length=64, **LORA), ON)
    ours.model.train()
    state = torch.get_rng_state()
    ours.compute_loss(ours.model, ours.data_collator([ours.train_dataset[row] for row in range(3)]))
    assert ours.model.training
    assert all(module.training for module in ours.model.modules())
    assert torch.equal(torch.get_rng_state(), state)
