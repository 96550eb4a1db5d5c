"""What a user writes in an AlignmentJob is what TRL's dataclasses hold: the operator renders, the trainer parses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from alignment_operator.recipe import build
from alignment_operator.settings import Settings
from alignment_trainer.config import Config, load_config
from tests.unit.operator.builders import CLAIM, alignment_job


def trainers_view(folder: Path, **spec: Any) -> Config:
    """Both files, written by the operator and read by the trainer."""
    made = build(alignment_job(**spec), 1, Settings())
    (folder / "recipe.yaml").write_text(made.recipe_yaml)
    (folder / "run.yaml").write_text(made.run_yaml)
    return load_config(folder / "recipe.yaml", folder / "run.yaml")


@pytest.mark.parametrize(
    ("section", "spec", "expected"),
    [
        pytest.param("training_args", {"training": {"learningRate": 5e-7}}, {"learning_rate": 5e-7}, id="small-number"),
        pytest.param(
            "training_args", {"training": {"numTrainEpochs": 1.0}}, {"num_train_epochs": 1}, id="whole-number"
        ),
        pytest.param("training_args", {"training": {"saveSteps": 0.5}}, {"save_steps": 0.5}, id="share"),
        pytest.param("training_args", {"training": {"bf16": False}}, {"bf16": False}, id="false"),
        pytest.param("training_args", {}, {"use_cpu": True}, id="cpu"),
        pytest.param("training_args", {"dpo": {"maxLength": -1}}, {"max_length": None}, id="no-truncation"),
        pytest.param(
            "training_args",
            {"dpo": {"lossType": ["sigmoid", "sft"], "lossWeights": [1, 0.5]}},
            {"loss_type": ["sigmoid", "sft"], "loss_weights": [1, 0.5]},
            id="lists",
        ),
        pytest.param(
            "training_args",
            {"training": {"lrSchedulerType": "cosine_with_restarts", "lrSchedulerKwargs": {"num_cycles": 2}}},
            {"lr_scheduler_kwargs": {"num_cycles": 2}},
            id="map",
        ),
        pytest.param(
            "training_args",
            {"model": {"modelNameOrPath": "m", "trustRemoteCode": True}},
            {"trust_remote_code": True},
            id="remote-code-in-the-method-config",
        ),
        pytest.param(
            "training_args",
            {"referenceModel": {"strategy": "Precomputed"}},
            {"precompute_ref_log_probs": True},
            id="precomputed",
        ),
        pytest.param(
            "model_args",
            {
                "model": {
                    "modelNameOrPath": "m",
                    "modelRevision": "v1",
                    "dtype": "bfloat16",
                    "attnImplementation": "sdpa",
                }
            },
            {"model_name_or_path": "m", "model_revision": "v1", "dtype": "bfloat16", "attn_implementation": "sdpa"},
            id="model",
        ),
        pytest.param(
            "model_args",
            {
                "model": {
                    "modelNameOrPath": "m",
                    "loadIn4bit": True,
                    "bnb4bitQuantType": "fp4",
                    "useBnbNestedQuant": True,
                }
            },
            {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "use_bnb_nested_quant": True},
            id="quantization",
        ),
        pytest.param(
            "model_args",
            {"model": {"modelNameOrPath": "m", "usePeft": True, "loraTargetModules": ["all-linear"]}},
            {"lora_target_modules": "all-linear"},
            id="all-linear",
        ),
        pytest.param(
            "model_args",
            {"model": {"modelNameOrPath": "m", "usePeft": True, "loraTargetModules": ["q_proj", "v_proj"]}},
            {"lora_target_modules": ["q_proj", "v_proj"]},
            id="several-modules",
        ),
        pytest.param(
            "model_args",
            {"model": {"modelNameOrPath": "m", "usePeft": True}, "dpo": None, "reward": {}},
            {"lora_task_type": "SEQ_CLS"},
            id="reward",
        ),
        pytest.param(
            "script_args",
            {"dataset": {"datasetName": "d", "datasetConfig": "c", "datasetTrainSplit": "s"}},
            {"dataset_name": "d", "dataset_config": "c", "dataset_train_split": "s"},
            id="dataset",
        ),
    ],
)
def test_every_kind_of_value_arrives(
    tmp_path: Path, section: str, spec: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = getattr(trainers_view(tmp_path, **spec), section)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize("method", ["dpo", "sft", "orpo", "cpo", "kto", "reward"])
def test_every_methods_smallest_recipe_is_read(tmp_path: Path, method: str) -> None:
    config = trainers_view(tmp_path, **{"dpo": None, method: {}})
    assert config.run.method == method
    assert config.training_args.output_dir == config.run.outputPath


def test_a_mixture_arrives(tmp_path: Path) -> None:
    mixture = {
        "datasets": [{"path": "a", "split": "train"}, {"path": "b", "dataFiles": ["x.json"]}],
        "testSplitSize": 0.1,
    }
    found = trainers_view(tmp_path, dataset=mixture).mixture_args
    assert [(d.path, d.split) for d in found.datasets] == [("a", "train"), ("b", "train")]
    assert found.test_split_size == 0.1


def test_run_yaml_arrives_whole(tmp_path: Path) -> None:
    run = trainers_view(
        tmp_path,
        nodes=2,
        gpusPerNode=8,
        training={"bf16": False},  # there is no GPU here
        model={"modelNameOrPath": "m", "adapterNameOrPath": "a"},
        referenceModel={"strategy": "Resident", "model": {"modelNameOrPath": "r", "loadIn8bit": True}},
        output={"volume": CLAIM, "merge": True, "push": {"repository": "me/x"}},
        hangTimeoutSeconds=60,
        stopOnUnhealthy=True,
        health={"windowSteps": 20, "minMargin": 0, "chosenRewardDrop": 2, "chanceBand": 0.25},
        memoryCheck=False,
        outOfMemoryLadder=True,
        optimizations={"packedPairs": False},
    ).run
    assert (run.device, run.nodes, run.processesPerNode, run.masterAddress) == ("gpu", 2, 8, "demo-r1-0.demo-r1")
    assert (run.adapterNameOrPath, run.merge, run.hangTimeoutSeconds) == ("a", True, 60)
    assert run.referenceModel.model == {"model_name_or_path": "r", "load_in_8bit": True}
    assert (run.health.stopOnUnhealthy, run.memoryCheck, run.outOfMemoryLadder) == (True, False, True)
    limits = (run.health.windowSteps, run.health.minMargin, run.health.chosenRewardDrop, run.health.chanceBand)
    assert limits == (20, 0, 2, 0.25)
    assert (run.optimizations.packedPairs, run.optimizations.completionHead) == (False, True)
    assert run.push is not None
    assert (run.push.repository, run.push.private) == ("me/x", True)


class _Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.v_proj = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("written", "adapted"),
    [
        (["q_proj"], {"q_proj"}),
        (["attn.q_proj"], {"q_proj"}),
        (["q_proj", "v_proj"], {"q_proj", "v_proj"}),
        ([r".*\.v_.*"], {"v_proj"}),
    ],
    ids=["one-name", "one-dotted-name", "two-names", "a-pattern"],
)
def test_the_modules_that_the_user_named_are_adapted(tmp_path: Path, written: list[str], adapted: set[str]) -> None:
    """With PEFT itself: stock TRL makes `[q_proj]` a pattern that matches nothing."""
    found = trainers_view(tmp_path, model={"modelNameOrPath": "m", "usePeft": True, "loraTargetModules": written})
    model = torch.nn.ModuleDict({"attn": _Attention()})
    peft = get_peft_model(model, LoraConfig(target_modules=found.model_args.lora_target_modules))
    assert {name.split(".")[-2] for name, _ in peft.named_modules() if name.endswith(".lora_A")} == adapted
