"""Calibration: the memory that a run is predicted to need, and the memory of its tensors, counted by torch.

    python -m tests.contract.trainer.memory_cells     # prints the table of docs/memory.md

Each cell is a run of the real trainer on a random model, two steps of DPO. `MemTracker` (torch.distributed._tools)
counts every tensor's storage from the second step's begin, when the optimizer has its states, to its end.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from alignment_trainer.config import load_config
from alignment_trainer.lifecycle import NoLifecycle
from alignment_trainer.memory.estimate import Estimate, estimate
from alignment_trainer.memory.settings import workload_of
from tests.trainer_runs import Bench, offline

STOCK = {"completionHead": False, "packedPairs": False, "skipAdapterCasts": False, "referenceCache": False}
LORA = {"use_peft": True, "lora_r": 16, "lora_target_modules": "all-linear"}
NF4 = {**LORA, "load_in_4bit": True, "dtype": "bfloat16", "bf16": True}
INT8 = {**LORA, "load_in_8bit": True, "dtype": "bfloat16", "bf16": True}
BF16 = {"dtype": "bfloat16", "bf16": True}
CHECKPOINTED, KEPT = {"gradient_checkpointing": True}, {"gradient_checkpointing": False}
RESIDENT = {"referenceModel": {"strategy": "Resident"}}
PRECOMPUTED = {"referenceModel": {"strategy": "Precomputed"}}
OWN_4BIT = {"referenceModel": {"strategy": "Resident", "model": {"load_in_4bit": True}}}


@dataclass(frozen=True)
class Cell:
    """One row of the table: fields of recipe.yaml and of run.yaml."""

    name: str
    recipe: dict[str, Any]
    run: dict[str, Any]


CELLS = (
    Cell("full fp32, resident, checkpointed", CHECKPOINTED, RESIDENT),
    Cell("full fp32, resident", KEPT, RESIDENT),
    Cell("full fp32, precomputed", KEPT, PRECOMPUTED),
    Cell("full fp32 under autocast, resident, checkpointed", {**CHECKPOINTED, "bf16": True}, RESIDENT),
    Cell("full fp32 under autocast, resident", {**KEPT, "bf16": True}, RESIDENT),
    Cell("full bf16, resident, checkpointed", {**CHECKPOINTED, **BF16}, RESIDENT),
    Cell("full bf16, precomputed", {**KEPT, **BF16}, PRECOMPUTED),
    Cell("full fp32, 4-bit reference", KEPT, OWN_4BIT),
    Cell("LoRA fp32, shared", {**KEPT, **LORA}, {}),
    Cell("LoRA bf16, shared, checkpointed", {**CHECKPOINTED, **LORA, **BF16}, {}),
    Cell("LoRA bf16, shared", {**KEPT, **LORA, **BF16}, {}),
    Cell("LoRA bf16, resident", {**KEPT, **LORA, **BF16}, RESIDENT),
    Cell("LoRA bf16, precomputed", {**KEPT, **LORA, **BF16}, PRECOMPUTED),
    Cell("DoRA bf16, shared", {**KEPT, **LORA, **BF16, "use_dora": True}, {}),
    Cell("4-bit LoRA, shared, checkpointed", {**CHECKPOINTED, **NF4}, {}),
    Cell("4-bit LoRA, shared", {**KEPT, **NF4}, {}),
    Cell("4-bit LoRA nested, precomputed", {**KEPT, **NF4, "use_bnb_nested_quant": True}, PRECOMPUTED),
    Cell("8-bit LoRA, shared", {**KEPT, **INT8}, {}),
)


@dataclass
class Counted:
    """Bytes of one run. `kept`: activations at the peak, `temporary`: what passes."""

    weights: int = 0
    reference: int = 0
    gradients: int = 0
    optimizer: int = 0
    peak: int = 0
    kinds: dict[str, int] | None = None


class Count(TrainerCallback):
    """Counts in the second step."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.counted, self.tracker = trainer, Counted(), None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        from torch.distributed._tools.mem_tracker import MemTracker

        if state.global_step == 1:
            self.tracker = MemTracker()
            models = [self.trainer.model, *filter(None, [getattr(self.trainer, "ref_model", None)])]
            constants = [tensor for model in models for tensor in quantization_constants(model)]
            self.tracker.track_external(*models, inner(self.trainer.optimizer), *constants)
            self.tracker.__enter__()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.counted.gradients = size_of(p.grad for p in self.trainer.model.parameters() if p.grad is not None)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.tracker is None:
            return
        self.tracker.__exit__(None, None, None)
        snapshot = next(iter(self.tracker.get_tracker_snapshot("peak").values()))
        self.counted.kinds = {str(getattr(kind, "value", kind)): size for kind, size in snapshot.items()}
        self.counted.peak = self.counted.kinds["Total"]
        states = inner(self.trainer.optimizer).state.values()
        self.counted.optimizer = size_of(value for state in states for value in state.values() if hasattr(value, "untyped_storage"))
        self.counted.weights = model_size(self.trainer.model)
        self.counted.reference = model_size(getattr(self.trainer, "ref_model", None))
        self.tracker = None


def inner(optimizer: Any) -> Any:
    """The torch optimizer inside accelerate's."""
    return getattr(optimizer, "optimizer", optimizer)


def size_of(tensors: Any) -> int:
    """Bytes of the storages, each once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def quantization_constants(model: Any) -> list[Any]:
    """bitsandbytes keeps them beside its parameters: code books, constants, and 8-bit layers' scales."""
    found: list[Any] = []
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        for part in (state, getattr(state, "state2", None)):
            found += [getattr(part, name) for name in ("absmax", "code", "offset") if getattr(part, name, None) is not None]
    for module in model.modules():
        scales = getattr(getattr(module, "state", None), "SCB", None)
        scales = scales if scales is not None else getattr(getattr(module, "weight", None), "SCB", None)
        found += [scales] if scales is not None else []
    return found


def model_size(model: Any) -> int:
    return 0 if model is None else size_of([*model.parameters(), *quantization_constants(model)])


class Measured(NoLifecycle):
    """A run that counts."""

    def callbacks(self, trainer: Any) -> list[TrainerCallback]:
        self.count = Count(trainer)
        return [self.count]


def model_folder(root: Path) -> Path:
    """A random Llama of 8 layers, 256 wide, grouped heads: small, and its layers are not dwarfed by its head."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(root)
    tokenizer.save_pretrained(root)
    return root


def long_rows(n: int = 8) -> list[dict[str, Any]]:
    """Pairs whose chosen side is cut at every max_length and whose rejected side is padded."""
    return [{"prompt": "what is the sky", "chosen": "blue " * 600, "rejected": "water is cold " * (4 + row)} for row in range(n)]


class Calibration:
    """Cells on one model and one dataset."""

    def __init__(self, root: Path, length: int = 256, batch: int = 2) -> None:
        self.bench = Bench(root)
        self.bench.model = model_folder(root / "calibration-model")
        self.fields = {"max_length": length, "per_device_train_batch_size": batch, "max_steps": 2}
        self.data = self.bench.rows(long_rows())

    def measure(self, cell: Cell, method: str = "dpo", optimizations: dict[str, bool] = STOCK) -> tuple[Estimate, Counted]:
        """Predict from the two files, then train with them and count."""
        from alignment_trainer import train

        recipe = self.bench.recipe(dataset_name=str(self.data), **self.fields, **cell.recipe)
        files = self.bench.files(recipe, method, **cell.run, optimizations=optimizations)
        predicted = estimate(workload_of(load_config(*files)))
        lifecycle = Measured()
        train.run(*files, lifecycle)
        return predicted, lifecycle.count.counted


def row(cell: Cell, predicted: Estimate, counted: Counted) -> str:
    mib = [f"{size / 2**20:.1f}" for size in (predicted.peak, counted.peak)]
    return f"| {cell.name} | {mib[0]} | {mib[1]} | {predicted.peak / counted.peak - 1:+.1%} |"


def main() -> None:
    offline(os.environ)
    print("| run | predicted peak, MiB | counted peak, MiB | error |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as root:
        calibration = Calibration(Path(root))
        for cell in CELLS:
            print(row(cell, *calibration.measure(cell)), flush=True)


if __name__ == "__main__":
    main()
