"""Parameters are counted from headers alone: exactly, for whole models, adapters and quantized weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignment_trainer.memory.adapter import lora
from alignment_trainer.memory.model import describe, read_model
from alignment_trainer.memory.optimizer import state_bytes
from alignment_trainer.memory.weights import Format, model_bytes
from tests.unit.trainer.memory_models import (
    LLAMA_7B,
    LLAMA_8B,
    QWEN_05B,
    SMOLLM2_135M,
    headers,
    known,
    write_folder,
)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(SMOLLM2_135M, 134_515_008), (QWEN_05B, 494_032_768), (LLAMA_7B, 6_738_415_616), (LLAMA_8B, 8_030_261_248)],
    ids=["smollm2-135m", "qwen2.5-0.5b", "llama-2-7b", "llama-3.1-8b"],
)
@pytest.mark.parametrize("shards", [1, 3])
def test_parameters_of_a_folder_are_the_published_ones(
    tmp_path: Path, config: dict[str, Any], parameters: int, shards: int
) -> None:
    model = read_model(str(write_folder(tmp_path, config, headers(config), shards)))
    assert model.parameters == parameters
    assert model.layers == config["num_hidden_layers"]
    assert model.stored_dtype == "bfloat16"


def test_a_tied_head_that_the_file_repeats_is_counted_once() -> None:
    model = describe(headers(SMOLLM2_135M, repeat_tied_head=True), SMOLLM2_135M, None)
    assert model.parameters == 134_515_008
    assert model.head is not None
    assert model.head.name == "model.embed_tokens.weight"


def test_a_classifier_has_one_output_instead_of_a_vocabulary() -> None:
    causal, classifier = known(LLAMA_8B), known(LLAMA_8B, labels=1)
    assert causal.parameters - classifier.parameters == (128256 - 1) * 4096
    assert classifier.head is None


def test_sizes_of_a_model_with_nested_text_config_are_found() -> None:
    nested = {"model_type": "gemma3", "text_config": {**QWEN_05B, "head_dim": 256}}
    model = describe(headers(QWEN_05B), nested, None)
    assert (model.hidden, model.head_dim, model.kv_heads) == (896, 256, 2)


@pytest.mark.parametrize(
    ("config", "options", "trainable"),
    [
        (LLAMA_7B, {"rank": 8, "target_modules": ["q_proj", "v_proj"]}, 4_194_304),
        (LLAMA_8B, {"rank": 16, "target_modules": "all-linear"}, 41_943_040),
        (LLAMA_7B, {"rank": 8, "target_modules": r".*\.(q|v)_proj"}, 4_194_304),
        (LLAMA_7B, {"rank": 8, "target_modules": ["q_proj", "v_proj"], "dora": True}, 4_194_304 + 2 * 32 * 4096),
        (SMOLLM2_135M, {"rank": 16, "target_modules": "all-linear"}, 4_884_480),
        (
            LLAMA_7B,
            {"rank": 8, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
            2_097_152 + 32000 * 4096,
        ),
    ],
    ids=["q-and-v", "all-linear", "expression", "dora", "smollm2", "saved-head"],
)
def test_adapters_have_the_parameters_that_peft_prints(config: dict[str, Any], options: Any, trainable: int) -> None:
    assert lora(known(config), **options).parameters == trainable


def test_a_classifiers_head_is_trained_whole_beside_its_adapter() -> None:
    adapter = lora(known(LLAMA_7B, labels=1), 8, ["q_proj"])
    assert [tensor.name for tensor in adapter.saved] == ["score.weight"]


@pytest.mark.parametrize(
    ("weights", "size"),
    [
        (Format(4), 4 * 6_738_415_616),
        (Format(2), 2 * 6_738_415_616),
        # 6,476,005,376 weights in 224 linear layers; embedding, head and norms stay 16 bits
        (Format(2, bits=8), 6_476_005_376 + 4 * 1_359_872 + 2 * 262_410_240),
        (Format(2, bits=4), 6_476_005_376 // 2 + 4 * 6_476_005_376 // 64 + 224 * 64 + 2 * 262_410_240),
        (
            Format(2, bits=4, nested=True),
            6_476_005_376 // 2 + 6_476_005_376 // 64 + 4 * 6_476_005_376 // 64 // 256 + 224 * 1092 + 2 * 262_410_240,
        ),
    ],
    ids=["fp32", "bf16", "8bit", "4bit", "4bit-nested"],
)
def test_weights_take_the_bytes_of_their_format(weights: Format, size: int) -> None:
    assert model_bytes(known(LLAMA_7B), weights) == size


@pytest.mark.parametrize(
    ("optimizer", "bytes_a_parameter"),
    [
        ("adamw_torch_fused", 8.0),
        ("adamw_torch", 8.0),
        ("sgd", 0.0),
        ("adagrad", 4.0),
        ("adamw_bnb_8bit", 3.3),
        ("lion_8bit", 1.6),
        ("paged_adamw_32bit", 0.0),
        ("adafactor", 0.01),
    ],
)
def test_optimizers_keep_their_bytes_a_parameter(optimizer: str, bytes_a_parameter: float) -> None:
    """8 bits are not 2 bytes here: SmolLM2's embedding is a fifth of it, and stays in fp32."""
    model = known(SMOLLM2_135M)
    states = state_bytes(optimizer, [(tensor, 4) for tensor in model.tensors], "gpu")
    assert states / model.parameters == pytest.approx(bytes_a_parameter, rel=0.05, abs=0.005)


def test_reading_a_model_imports_no_torch(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, LLAMA_8B, headers(LLAMA_8B), shards=4)
    code = (
        "import sys, alignment_trainer.memory.estimate; from alignment_trainer.memory.model import read_model;"
        "print(read_model(sys.argv[1]).parameters, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["8030261248", "False", "False"]
