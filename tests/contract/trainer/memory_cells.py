"""Calibration: the memory that a run is predicted to need, and the memory of its tensors, counted by torch.

    python -m tests.contract.trainer.memory_cells     # prints the table of docs/memory.md

Each cell is a run of the real trainer on a random model, two steps of DPO. Every storage of a tensor is counted from
the second step's begin, when the optimizer has its states, to its end.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from transformers import TrainerCallback

from alignment_trainer.config import load_config
from alignment_trainer.lifecycle import NoLifecycle
from alignment_trainer.memory.estimate import Estimate, estimate
from alignment_trainer.memory.settings import workload_of
from tests.fast_runs import PIECES
from tests.trainer_runs import Bench, offline

STOCK = dict.fromkeys((*PIECES, "referenceCache"), False)
LORA = {"use_peft": True, "lora_r": 16, "lora_target_modules": "all-linear"}
NF4 = {**LORA, "load_in_4bit": True, "dtype": "bfloat16", "bf16": True}
INT8 = {**LORA, "load_in_8bit": True, "dtype": "bfloat16", "bf16": True}
BF16 = {"dtype": "bfloat16", "bf16": True}
CHECKPOINTED, KEPT = {"gradient_checkpointing": True}, {"gradient_checkpointing": False}
RESIDENT = {"referenceModel": {"strategy": "Resident"}}
PRECOMPUTED = {"referenceModel": {"strategy": "Precomputed"}}
ACCUMULATED = {"gradient_accumulation_steps": 2}
OWN_4BIT = {"referenceModel": {"strategy": "Resident", "model": {"load_in_4bit": True}}}


@dataclass(frozen=True)
class Cell:
    """One row of the table: fields of recipe.yaml and of run.yaml."""

    name: str
    recipe: dict[str, Any]
    run: dict[str, Any]
    method: str = "dpo"


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

# Another architecture and shape, other methods: nothing in the estimate was chosen by these
OTHER_SHAPE = {"architecture": "Qwen2", "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3}
OTHER_SHAPE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
DROPPED = {"disable_dropout": False, "lora_dropout": 0.1}
OTHER_CELLS = (
    Cell("full fp32, resident", KEPT, RESIDENT),
    Cell("full bf16, resident, checkpointed, accumulated", {**CHECKPOINTED, **BF16, **ACCUMULATED}, RESIDENT),
    Cell("LoRA bf16 with dropout, shared", {**KEPT, **LORA, **BF16, **DROPPED}, {}),
    Cell("4-bit LoRA, fp32 under autocast", {**KEPT, **LORA, "load_in_4bit": True, "bf16": True}, {}),
    Cell("full fp32, eager attention", {**KEPT, "attn_implementation": "eager"}, RESIDENT),
    Cell("SFT, LoRA bf16", {**KEPT, **LORA, **BF16}, {}, "sft"),
    Cell("KTO, full fp32", KEPT, {}, "kto"),
)
FAST = dict.fromkeys(STOCK, True) | {"referenceCache": False}
FAST_CELLS = (
    Cell("full bf16, resident", {**KEPT, **BF16}, RESIDENT),
    Cell("full fp32, resident, checkpointed", CHECKPOINTED, RESIDENT),
    Cell("LoRA fp32, shared", {**KEPT, **LORA}, {}),
    Cell("LoRA bf16, shared", {**KEPT, **LORA, **BF16}, {}),
    Cell("LoRA bf16, shared, checkpointed", {**CHECKPOINTED, **LORA, **BF16}, {}),
    Cell("4-bit LoRA, shared, checkpointed", {**CHECKPOINTED, **NF4}, {}),
)
SCORES = {"lora_task_type": "SEQ_CLS"}
REWARD_CELLS = (
    Cell("full fp32, checkpointed", CHECKPOINTED, {}, "reward"),
    Cell("LoRA bf16", {**KEPT, **LORA, **BF16, **SCORES}, {}, "reward"),
    Cell("LoRA bf16, checkpointed", {**CHECKPOINTED, **LORA, **BF16, **SCORES}, {}, "reward"),
)


@dataclass
class Counted:
    """Bytes of one run."""

    weights: int = 0
    reference: int = 0
    gradients: int = 0
    optimizer: int = 0
    peak: int = 0


class LiveStorages(TorchDispatchMode):
    """The bytes of all storages that are alive, those of `tensors` from the start, and the most there were.

    torch's own MemTracker (torch.distributed._tools) counts like this, but fails on parameters without gradients.
    """

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0
        for tensor in tensors:
            self._see(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._see, result)
        return result

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.alive:
            self.alive[key] = size
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self.alive.pop(key, 0)


class Count(TrainerCallback):
    """Counts in the second step."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.counted = trainer, Counted()
        self.storages: LiveStorages | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 1:
            self.counted.weights = size_of(self.tensors(self.trainer.model))
            self.counted.reference = size_of(self.tensors(self.reference))
            tensors = [*self.tensors(self.trainer.model), *self.tensors(self.reference), *self.states()]
            self.storages = LiveStorages(tensors)
            self.storages.__enter__()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.counted.gradients = size_of(p.grad for p in self.trainer.model.parameters() if p.grad is not None)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.storages is not None:
            self.storages.__exit__(None, None, None)
            self.counted.peak = self.storages.peak
            self.counted.optimizer = size_of(self.states())

    @property
    def reference(self) -> Any:
        return getattr(self.trainer, "ref_model", None)

    def states(self) -> list[torch.Tensor]:
        return states(getattr(self.trainer.optimizer, "optimizer", self.trainer.optimizer))  # inside accelerate's

    @staticmethod
    def tensors(model: Any) -> list[torch.Tensor]:
        return [] if model is None else [*model.parameters(), *quantization_constants(model)]


def states(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]


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
            found += [
                getattr(part, name) for name in ("absmax", "code", "offset") if getattr(part, name, None) is not None
            ]
    for module in model.modules():
        scales = getattr(getattr(module, "state", None), "SCB", None)
        scales = scales if scales is not None else getattr(getattr(module, "weight", None), "SCB", None)
        found += [scales] if scales is not None else []
    return found


def model_folder(root: Path, architecture: str = "Llama", **sizes: Any) -> Path:
    """A random Llama, 256 wide, with grouped heads: small, and its layers are not dwarfed by its head."""
    import transformers

    from tests.tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    usual = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "tie_word_embeddings": False}
    usual |= {"num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": len(tokenizer)}
    usual |= {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id", "bos_token_id")}
    config = getattr(transformers, f"{architecture}Config")(**{**usual, **sizes})
    getattr(transformers, f"{architecture}ForCausalLM")(config).save_pretrained(root)
    tokenizer.save_pretrained(root)
    return root


def rows(rejected: str, words: int = 400) -> list[dict[str, Any]]:
    """Pairs whose chosen side is cut at every max_length of a cell, unless it has fewer words."""
    return [{"prompt": "what is the sky", "chosen": "blue " * words, "rejected": rejected} for _ in range(16)]


def single_rows() -> list[dict[str, Any]]:
    """Of KTO, and of SFT, which ignores the labels: every second one is cut."""
    completions = ("blue " * 400, "water is cold")
    return [{"prompt": "what is the sky", "completion": completions[n % 2], "label": n % 2 == 0} for n in range(16)]


class Calibration:
    """Cells on one model, with a batch that is padded (as sdpa's mask wants it) and one that is full."""

    def __init__(self, root: Path, length: int = 160, batch: int = 2, **sizes: Any) -> None:
        self.bench = Bench(root)
        self.bench.model = model_folder(root / "calibration-model", **sizes)
        self.fields = {"max_length": length, "per_device_train_batch_size": batch, "max_steps": 2}
        self.padded, self.full = self.bench.rows(rows("water is cold")), self.bench.rows(rows("hot " * 400))
        self.uncut = self.bench.rows(rows("water is cold", length - 8))  # TRL drops what a reward model would see cut
        self.single = self.bench.rows(single_rows())

    def build(
        self, cell: Cell, optimizations: dict[str, bool] = STOCK, dataset: Path | None = None
    ) -> tuple[Estimate, Any]:
        """What is predicted from the two files, and the trainer that they make."""
        from alignment_trainer.data import load_datasets
        from alignment_trainer.train import build_trainer

        usual = {"sft": self.single, "kto": self.single, "reward": self.uncut}.get(cell.method, self.padded)
        fields = {"dataset_name": str(dataset or usual), **self.fields, **cell.recipe}
        config = load_config(
            *self.bench.files(self.bench.recipe(**fields), cell.method, **cell.run, optimizations=optimizations)
        )
        predicted = estimate(workload_of(config))
        return predicted, build_trainer(config, NoLifecycle(), *load_datasets(config))

    def measure(self, *args: Any, **kwargs: Any) -> tuple[Estimate, Counted]:
        """Predict, then train and count; arguments as of `build`."""
        predicted, trainer = self.build(*args, **kwargs)
        count = Count(trainer)
        trainer.add_callback(count)
        trainer.train()
        return predicted, count.counted


def row(cell: Cell, predicted: Estimate, counted: Counted) -> str:
    mib = [f"{size / 2**20:.1f}" for size in (predicted.peak, counted.peak)]
    return f"| {cell.name} | {mib[0]} | {mib[1]} | {predicted.peak / counted.peak - 1:+.1%} |"


def main() -> None:
    offline(os.environ)
    sets: tuple[tuple[str, dict[str, Any], tuple[Cell, ...], dict[str, bool]], ...] = (
        ("Llama", {}, CELLS, STOCK),
        ("Qwen2", OTHER_SHAPE, OTHER_CELLS, STOCK),
        ("Llama, with the trainer's speed-ups", {}, FAST_CELLS, FAST),
        ("Llama as a reward model", {}, REWARD_CELLS, STOCK),
        ("the same with the trainer's speed-ups", {}, REWARD_CELLS, FAST),
    )
    for name, sizes, cells, optimizations in sets:
        print(f"\n| {name} | predicted peak, MiB | counted peak, MiB | error |\n|---|---|---|---|")
        with tempfile.TemporaryDirectory() as root:
            calibration = Calibration(Path(root), **sizes)
            for cell in cells:
                dataset = calibration.full if cells is FAST_CELLS else None
                print(row(cell, *calibration.measure(cell, optimizations, dataset)), flush=True)


if __name__ == "__main__":
    main()
