"""What is measured: the recipes that both programs run, and the variants of our trainer. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .table import STOCK


@dataclass(frozen=True)
class Workload:
    """A method, and what its recipe has beside what all have."""

    recipe: dict[str, Any]
    method: str = "dpo"


LORA = {"use_peft": True, "lora_r": 16, "lora_target_modules": "all-linear", "lora_dropout": 0.0, "learning_rate": 1e-5}
WORKLOADS = {
    "lora": Workload(LORA),
    "full": Workload({"learning_rate": 1e-6}),
    "sft": Workload(LORA, "sft"),
    "kto": Workload(LORA, "kto"),
    "reward": Workload({**LORA, "lora_task_type": "SEQ_CLS"}, "reward"),
}
MAIN = ("lora", "full")
OPTIMIZATIONS = (
    "completionHead",
    "packedPairs",
    "skipAdapterCasts",
    "fusedAdapterSum",
    "selectiveCheckpointing",
    "wideProducts",
    "referenceCache",
)
OURS = "ours"
OURS_PLAIN = "ours, every optimization off"
CHOICE = "ours, checkpointing off and precomputed reference"


@dataclass(frozen=True)
class Variant:
    """One way to run a recipe; `recipe` and `run` come on top of the workload's two files."""

    name: str
    recipe: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def is_stock(self) -> bool:
        return self.name == STOCK

    def suits(self, method: str) -> bool:
        """Whether the method has a reference model, if the variant says something about one."""
        return "referenceModel" not in self.run or method in ("dpo", "kto")


def only(*names: str) -> dict[str, bool]:
    """run.yaml's switches with these on and the others off."""
    return {name: name in names for name in OPTIMIZATIONS}


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(STOCK),
        Variant(OURS),
        Variant(OURS_PLAIN, run={"optimizations": only()}),
        Variant("ours, completionHead alone", run={"optimizations": only("completionHead")}),
        Variant("ours, packedPairs alone", run={"optimizations": only("packedPairs")}),
        Variant("ours, skipAdapterCasts alone", run={"optimizations": only("skipAdapterCasts")}),
        Variant("ours, fusedAdapterSum alone", run={"optimizations": only("fusedAdapterSum")}),
        Variant("ours, selectiveCheckpointing alone", run={"optimizations": only("selectiveCheckpointing")}),
        Variant("ours, wideProducts alone", run={"optimizations": only("wideProducts")}),
        Variant("ours, selectiveCheckpointing off", run={"optimizations": {"selectiveCheckpointing": False}}),
        Variant(CHOICE, {"gradient_checkpointing": False}, {"referenceModel": {"strategy": "Precomputed"}}),
    )
}


def recipe(
    workload: str, model: Path, data: Path, output: Path, batch: int, steps: int, *, cuda: bool = False
) -> dict[str, Any]:
    """recipe.yaml: bf16, 512 tokens, checkpointing on (TRL's default), nothing saved on the way."""
    device = {} if cuda else {"use_cpu": True}
    return {
        "model_name_or_path": str(model),
        "dataset_name": str(data),
        "output_dir": str(output),
        "dtype": "bfloat16",
        "attn_implementation": "sdpa",
        "max_length": 512,
        "per_device_train_batch_size": batch,
        "max_steps": steps,
        "logging_steps": 1,
        "save_strategy": "no",
        **device,
        **WORKLOADS[workload].recipe,
    }


def run_config(method: str, output: Path, *, cuda: bool = False) -> dict[str, Any]:
    """run.yaml for one process."""
    return {
        "contractVersion": 1,
        "method": method,
        "job": {"namespace": "bench", "name": "train", "run": 1},
        "outputPath": str(output),
        "device": "gpu" if cuda else "cpu",
        "nodes": 1,
        "processesPerNode": 1,
    }
