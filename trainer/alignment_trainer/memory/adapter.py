"""The tensors that PEFT's LoRA (Hu et al. 2021) and DoRA (Liu et al. 2024) add to a model, from its shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from .model import Model, Tensor

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Adapter:
    """An adapter by its shapes. `saved` are the full copies that `modules_to_save` trains, in the base's dtype.

    `targets` are the weights it sits on. `frozen_copies`: 1 where TRL keeps the given adapter as the reference.
    """

    rank: int
    targets: tuple[Tensor, ...]
    tensors: tuple[Tensor, ...]
    magnitudes: tuple[Tensor, ...] = ()
    saved: tuple[Tensor, ...] = ()
    dropout: float = 0.0
    frozen_copies: int = 0

    @cached_property
    def target_set(self) -> frozenset[Tensor]:
        return frozenset(self.targets)

    @cached_property
    def parameters(self) -> int:
        """Trainable parameters, as PEFT's print_trainable_parameters counts them."""
        return sum(tensor.size for tensor in (*self.tensors, *self.magnitudes, *self.saved))


def lora(
    model: Model,
    rank: int,
    target_modules: str | Sequence[str],
    *,
    dora: bool = False,
    dropout: float = 0.0,
    modules_to_save: Sequence[str] = (),
) -> Adapter:
    """The adapter that peft.LoraConfig would make. `target_modules`: all-linear, a regular expression, or names.

    DoRA has a magnitude for every output of a layer. A classifier's head is always trained whole (PEFT, SEQ_CLS).
    """
    if model.labels is not None:
        modules_to_save = (*modules_to_save, "score")
    saved = tuple(t for t in model.tensors if any(_ends_with(t.module, name) for name in modules_to_save))
    is_target = _matcher(target_modules)
    candidates = model.linears if target_modules == ALL_LINEAR else _weights(model)
    targets = tuple(tensor for tensor in candidates if is_target(tensor.module) and tensor not in saved)
    magnitudes = tuple(Tensor(f"{t.module}.lora_magnitude_vector.weight", (t.shape[0],)) for t in targets if dora)
    tensors = tuple(pair for target in targets for pair in _pair(target, rank))
    return Adapter(rank, targets, tensors, magnitudes, saved, dropout)


def from_file(
    model: Model, shapes: dict[str, tuple[int, ...]], rank: int, *, dropout: float, frozen_copies: int
) -> Adapter:
    """The adapter of an adapter_model.safetensors: name -> shape, exactly."""
    lora_names = {name for name in shapes if ".lora_" in name}
    modules = {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in lora_names}
    tensors = tuple(Tensor(name, shape) for name, shape in shapes.items() if name in lora_names)
    return Adapter(
        rank=rank,
        targets=tuple(tensor for tensor in model.tensors if tensor.module in modules),
        tensors=tuple(tensor for tensor in tensors if "lora_magnitude_vector" not in tensor.name),
        magnitudes=tuple(tensor for tensor in tensors if "lora_magnitude_vector" in tensor.name),
        saved=tuple(Tensor(name, shape) for name, shape in shapes.items() if name not in lora_names),
        dropout=dropout,
        frozen_copies=frozen_copies,
    )


def default_targets(model_type: str) -> str | Sequence[str]:
    """PEFT's own choice for an architecture; every linear layer where it has none (PEFT would refuse that)."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULTS

    return DEFAULTS.get(model_type, ALL_LINEAR)


def _pair(target: Tensor, rank: int) -> Iterator[Tensor]:
    """A (rank, in) and B (out, rank)."""
    outputs, inputs = target.shape
    yield Tensor(f"{target.module}.lora_A.weight", (rank, inputs))
    yield Tensor(f"{target.module}.lora_B.weight", (outputs, rank))


def _weights(model: Model) -> tuple[Tensor, ...]:
    return tuple(t for t in model.tensors if len(t.shape) == 2 and t.name.endswith(".weight"))


def _matcher(target_modules: str | Sequence[str]) -> Callable[[str], bool]:
    """PEFT: a string is a regular expression for the whole name, a list holds the names' ends."""
    if target_modules == ALL_LINEAR:
        return lambda module: True
    if isinstance(target_modules, str):
        pattern = re.compile(target_modules)
        return lambda module: pattern.fullmatch(module) is not None
    return lambda module: any(_ends_with(module, name) for name in target_modules)


def _ends_with(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")
