"""LoRA layers without casts that autocast undoes.

PEFT casts the input of a LoRA layer to the dtype of the adapter (fp32), and autocast casts it back for the product with
the adapter's matrix: two copies of every activation for the same digits. Dropout between the two would round
differently, and DoRA computes in the adapter's dtype: such layers keep their casts.
"""

from __future__ import annotations

from typing import Any


def skip_casts(model: Any) -> int:
    """Switch the input casts off in `model`'s plain LoRA layers; returns in how many."""
    from peft.tuners.lora.layer import Linear

    layers = [module for module in model.modules() if type(module) is Linear and _is_plain(module)]
    for layer in layers:
        layer.cast_input_dtype_enabled = False
    return len(layers)


def _is_plain(layer: Any) -> bool:
    return not layer.lora_variant and all(getattr(drop, "p", 0.0) == 0.0 for drop in layer.lora_dropout.values())
