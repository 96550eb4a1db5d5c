"""LoRA layers that add the adapter's product to the base layer's within the product.

PEFT makes `lora_B(lora_A(x))`, a tensor as large as the layer's output, multiplies it by the scaling and adds it: each
is a pass over memory, and rounds once. `torch.addmm` does all of it as it multiplies; what is scaled is the small
`lora_A(x)`. In fp32 the sums are the same but for their order; in bf16 they are rounded once instead of three times.
"""

from __future__ import annotations

import types
from typing import Any

import torch


def fuse_sums(model: Any) -> int:
    """Let `model`'s plain LoRA layers add so; returns how many."""
    from peft.tuners.lora.layer import Linear

    layers: list[Any] = [module for module in model.modules() if type(module) is Linear and _is_plain(module)]
    for layer in layers:
        layer.forward = types.MethodType(_forward, layer)
    return len(layers)


def _is_plain(layer: Any) -> bool:
    return not layer.lora_variant and not any(layer.lora_bias.values())


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """[..., inputs] -> [..., outputs], as PEFT's `Linear.forward`, which answers all but the plain call."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if args or kwargs or layer.disable_adapters or layer.merged or len(active) != 1:
        return type(layer).forward(layer, x, *args, **kwargs)
    down, up = layer.lora_A[active[0]], layer.lora_B[active[0]]
    result = layer.base_layer(x)
    x = layer.lora_dropout[active[0]](layer._cast_input_dtype(x, down.weight.dtype))
    small = down(x) * layer.scaling[active[0]]
    if not torch.is_autocast_enabled(x.device.type) and result.dtype != up.weight.dtype:
        return (result + up(small)).to(result.dtype)
    return torch.addmm(result.flatten(0, -2), small.flatten(0, -2), up.weight.t()).view(result.shape)
