"""LoRA layers without casts that autocast undoes.

PEFT casts the input of a LoRA layer to the dtype of the adapter (fp32), and autocast casts it back for the product with
the adapter's matrix: two copies of every activation for the same digits. Where nothing casts it back, as when a
callback lets the model generate, PEFT's cast stays. Dropout between the two would round differently, and DoRA computes
in the adapter's dtype: such layers keep their casts.
"""

from __future__ import annotations

import types
from typing import Any

import torch


def skip_casts(model: Any) -> int:
    """Leave the input casts of `model`'s plain LoRA layers to autocast, where it is on; returns in how many."""
    from peft.tuners.lora.layer import Linear

    layers: list[Any] = [module for module in model.modules() if type(module) is Linear and _is_plain(module)]
    for layer in layers:
        layer._cast_input_dtype = types.MethodType(_cast_unless_autocast_does, layer)
    return len(layers)


def _is_plain(layer: Any) -> bool:
    return not layer.lora_variant and all(getattr(drop, "p", 0.0) == 0.0 for drop in layer.lora_dropout.values())


def _cast_unless_autocast_does(layer: Any, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """In place of PEFT's `_cast_input_dtype`, which forwards (PEFT's and adapter_sum.py's) call with lora_A's dtype."""
    if torch.is_autocast_enabled(x.device.type):
        return x
    return type(layer)._cast_input_dtype(layer, x, dtype)
