"""LoRA layers that add the adapter's product and the base layer's within the product.

PEFT makes `lora_B(lora_A(x))`, a tensor as large as the layer's output, multiplies it by the scaling and adds it: each
is a pass over memory, and rounds once. `addmm` adds as it multiplies; what is scaled is the small `lora_A(x)`. In fp32
the sums are the same but for their order; in bf16 they are rounded twice instead of four times.

The base layer's product comes last where it can: recomputing a checkpointed layer stops at the last tensor that the
backward pass needs (`torch.utils.checkpoint.set_checkpoint_early_stop`), and of a frozen product that is its weight
alone. So the last product of every layer, a quarter of a Llama's, is not computed again.
"""

from __future__ import annotations

import types
from typing import Any

import torch

from .selective import kept_product


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
    small = (
        down(layer.lora_dropout[active[0]](layer._cast_input_dtype(x, down.weight.dtype))) * layer.scaling[active[0]]
    )
    if _adds_in_place(layer.base_layer, x, small):
        return kept_product(lambda: _add_base(up(small), x, layer.base_layer.weight))
    return _add_adapter(layer.base_layer(x), small, up.weight)


def _adds_in_place(base: Any, x: torch.Tensor, small: torch.Tensor) -> bool:
    """Autocast casts nothing for an operation in place: all must have one dtype already."""
    return type(base) is torch.nn.Linear and base.bias is None and x.dtype == base.weight.dtype == small.dtype


def _add_base(product: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`product` [..., outputs] + x [..., inputs] @ weight.T, in the memory of `product`."""
    product.flatten(0, -2).addmm_(x.flatten(0, -2), weight.t())
    return product


def _add_adapter(result: torch.Tensor, small: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`result` [..., outputs] + small [..., rank] @ weight.T, in the dtype of `result`."""
    if not torch.is_autocast_enabled(result.device.type) and result.dtype != weight.dtype:
        return (result + torch.nn.functional.linear(small, weight)).to(result.dtype)
    return torch.addmm(result.flatten(0, -2), small.flatten(0, -2), weight.t()).view(result.shape)
