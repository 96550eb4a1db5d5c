"""Is the attention that the recipe asks for to be had on this machine? Asked before anything is downloaded."""

from __future__ import annotations

import importlib.util

from .exits import UserError

_EVERYWHERE = (None, "eager", "sdpa")
_FLASH = {"flash_attention_2": "flash-attn", "flash_attention_3": "flash-attn-3", "flash_attention_4": "flash-attn-4"}


def check_attention(attn_implementation: str | None, device: str, field: str = "spec.model.attnImplementation") -> None:
    """Raises UserError with the reason when this machine cannot run `attn_implementation` on `device` (cpu | gpu)."""
    reason = None if attn_implementation in _EVERYWHERE else _reason_against(str(attn_implementation), device)
    if reason:
        raise UserError(f"{field}: {attn_implementation} cannot run here: {reason}.", cure=f"Set {field} to sdpa.")


def _reason_against(attn_implementation: str, device: str) -> str | None:
    if attn_implementation in _FLASH:
        if device == "cpu":
            return "it needs a GPU and this run is on the CPU"
        return _flash_reason(attn_implementation)
    if attn_implementation == "flex_attention":
        return "FlexAttention has no backward pass on the CPU" if device == "cpu" else None
    if "/" in attn_implementation or attn_implementation == "kernels":
        has_kernels = importlib.util.find_spec("kernels") is not None
        return None if has_kernels else "kernels from the hub need the package `kernels`, which this image lacks"
    return "transformers knows no attention of that name"


def _flash_reason(attn_implementation: str) -> str | None:
    from transformers.utils import import_utils

    version = attn_implementation[-1]
    if getattr(import_utils, f"is_flash_attn_{version}_available")():
        return None
    return f"the package {_FLASH[attn_implementation]} is not installed in this image, or does not fit its GPU"
