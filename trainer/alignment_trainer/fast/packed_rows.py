"""A padded batch as one row: no padding, and what a pair of sequences has in common at the start is there once.

A DPO batch holds each prompt twice, before the chosen and before the rejected completion. In a causal model the hidden
states of the common start are the same in both, so one pass over [prompt | chosen | rejected] is enough when rejected
tokens do not see chosen ones and their positions go on from the prompt's end (prefix sharing).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class PackedRows:
    """The packed row and the way back.

    input_ids, position_ids: [1, tokens]. lengths: [segments, 3] on the CPU, tokens of (common start, first's rest,
    second's rest). index: [rows, length] of the padded batch, where in the packed row each token is (what it holds
    for padding means nothing).
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    lengths: torch.Tensor
    index: torch.Tensor


def pack_pairs(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> PackedRows:
    """TRL's layout for pairs: [2 * pairs, length], first all chosen, then all rejected, padded on the right."""
    present = attention_mask.bool()
    (chosen, rejected), (here, there) = input_ids.chunk(2), present.chunk(2)
    common = ((chosen == rejected) & here & there).long().cumprod(1).bool()
    kept = torch.stack([here, there & ~common], 1)  # [pairs, 2, length]
    place = _place(kept)
    index = torch.cat([place[:, 0], torch.where(common, place[:, 0], place[:, 1])])
    start = common.sum(1)
    lengths = torch.stack([start, here.sum(1) - start, there.sum(1) - start], 1)
    return _packed(torch.stack([chosen, rejected], 1), kept, lengths, index)


def pack_rows(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> PackedRows:
    """Any batch [rows, length], padded on the right: rows end to end, nothing shared."""
    present = attention_mask.bool()
    lengths = torch.nn.functional.pad(present.sum(1)[:, None], (0, 2))
    return _packed(input_ids, present, lengths, _place(present))


def _place(kept: torch.Tensor) -> torch.Tensor:
    """Where each kept token comes to lie; for the others, the place of the one before."""
    return (kept.flatten().cumsum(0) - 1).clamp(min=0).view_as(kept)


def _packed(tokens: torch.Tensor, kept: torch.Tensor, lengths: torch.Tensor, index: torch.Tensor) -> PackedRows:
    positions = torch.arange(tokens.shape[-1], device=tokens.device).expand_as(tokens)
    return PackedRows(tokens[kept][None], positions[kept][None], lengths.cpu(), index)
