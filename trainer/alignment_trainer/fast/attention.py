"""Attention over a packed row: the common start and each of the two rests are causal; the rests do not see each other.

With `sdpa` the segments are computed one by one, so no [tokens, tokens] mask exists and kernels for causal attention
serve; on the CPU row_attention.py does it. With `flex_attention` (GPUs) one kernel goes over the row with a block mask
that says the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from . import row_attention

PACKED = "packed_rows"  # the name under which transformers knows the function below
PACKABLE = ("sdpa", "flex_attention")


def use_packed_attention(model: Any) -> None:
    """Let `model`, loaded with sdpa, also take packed rows. Every other batch goes through sdpa as before."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(PACKED, sdpa_mask)
    model.set_attn_implementation(PACKED)


def packed_mask(attention: str, lengths: torch.Tensor, device: torch.device) -> Any:
    """What stands for the attention mask of a packed row; transformers passes anything 4-D on to every layer as it is.

    For sdpa the lengths themselves, [1, 1, segments, 3], kept on the CPU so that no layer waits for the GPU.
    """
    return block_mask(lengths, device) if attention == "flex_attention" else lengths[None, None]


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: query [1, heads, tokens, head size] -> [1, tokens, heads, head size]."""
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    if attention_mask is None or attention_mask.dtype != torch.long:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    lengths = attention_mask[0, 0].tolist()
    if query.device.type == "cpu" and not dropout:
        return row_attention.attend(query, key, value, lengths, scaling), None
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    attend = partial(scaled_dot_product_attention, dropout_p=dropout, scale=scaling)
    parts, start = [], 0
    for common, first, second in lengths:
        rows = slice(start, start + common + first + second)
        parts += _segment(attend, query[:, :, rows], key[:, :, rows], value[:, :, rows], common, first)
        start = rows.stop
    return torch.cat(parts, 2).transpose(1, 2).contiguous(), None


def _segment(attend: Any, query: Any, key: Any, value: Any, common: int, first: int) -> list[torch.Tensor]:
    """[common | first] causal; then the second rest, which sees the common start and itself."""
    end = common + first
    parts = [attend(query[:, :, :end], key[:, :, :end], value[:, :, :end], is_causal=True)]
    if (second := query.shape[2] - end) > 0:
        keys, values = (torch.cat([part[:, :, :common], part[:, :, end:]], 2) for part in (key, value))
        mask = torch.ones(second, common + second, dtype=torch.bool, device=query.device).tril(common)
        parts.append(attend(query[:, :, end:], keys, values, attn_mask=mask))
    return parts


def block_mask(lengths: torch.Tensor, device: torch.device) -> Any:
    """FlexAttention's BlockMask of the same rule, [1, 1, tokens, tokens] in blocks."""
    from torch.nn.attention.flex_attention import create_block_mask

    tokens = int(lengths.sum())
    segment = torch.repeat_interleave(torch.arange(len(lengths)), lengths.sum(1)).to(device)
    part = torch.repeat_interleave(torch.arange(3).repeat(len(lengths)), lengths.flatten()).to(device)

    def sees(batch: Any, head: Any, query: Any, key: Any) -> Any:
        across = (part[query] == 2) & (part[key] == 1)
        return (segment[query] == segment[key]) & (query >= key) & ~across

    return create_block_mask(sees, B=None, H=None, Q_LEN=tokens, KV_LEN=tokens, device=device)
