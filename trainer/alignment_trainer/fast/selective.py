"""Selective activation checkpointing: a checkpointed layer keeps what is dear to compute and computes the rest again.

(Korthikanti et al. 2022, arXiv:2205.05198. TRL offers it for SFT and attention: `selective` among the
`gradient_checkpointing_kwargs`.) Kept are the outputs of the linear layers, but for the last one, which recomputing
does not reach, and of attention over packed rows: some KiB a token and layer. The second pass calls the same functions,
so that autograd builds the same graph, and each finds its output made.

torch's own `create_selective_checkpoint_contexts` looks at every operation of the layer, in Python, in both passes: on
the CPU that took half of what it saved. Here a dispatch mode stands around the kept products alone.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
_PRODUCTS = {_ATEN.mm.default, _ATEN.addmm.default, _ATEN.addmm_.default}
_ALIGNMENT = 64  # bytes, as torch aligns what it allocates
Attended = tuple[torch.Tensor, torch.Tensor]  # the result, and the log-sum-exps of the scores


def keep_outputs(model: Any) -> None:
    """Let the checkpointed layers of `model`, a causal LM with or without LoRA layers, keep so much."""
    from peft.tuners.lora import LoraLayer

    adapters = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    left_out = {part for layer in adapters for parts in (layer.lora_A, layer.lora_B) for part in parts.values()}
    left_out.add(model.get_output_embeddings())
    linears: list[Any] = [m for m in model.modules() if type(m) is torch.nn.Linear and m not in left_out]
    bases = {layer.base_layer for layer in adapters}
    for linear in linears:
        linear.forward = types.MethodType(_base if linear in bases else _linear, linear)
    model._set_gradient_checkpointing = types.MethodType(_set_gradient_checkpointing, model)


def kept_product(compute: Callable[[], torch.Tensor], *, may_be_last: bool = True) -> torch.Tensor:
    """compute(), one matrix product [..., outputs]; or what it gave in the first pass of a checkpointed layer.

    may_be_last: if nothing of the layer follows that the backward pass needs, recomputing stops before it.
    """
    outputs = Outputs.current
    if outputs is None or not torch.is_grad_enabled():
        return compute()
    if not outputs.is_second_pass:
        result = compute()
        outputs.keep(result.detach().flatten(0, -2), may_be_last)
        return result
    if (found := outputs.next()) is None:
        return compute()
    with _Replayed(found[0]):
        return compute()


def kept_attention(compute: Callable[[], Attended]) -> Attended:
    """As `kept_product` for the forward of attention that has a backward of its own (row_attention.py)."""
    outputs = Outputs.current
    if outputs is None:
        return compute()
    if not outputs.is_second_pass:
        result, log_sums = compute()
        outputs.keep(result.detach(), may_be_last=False, beside=log_sums)
        return result, log_sums
    return outputs.next() or compute()


class _Kept(NamedTuple):
    """`made`: what the operation gave (None: given away), and its version then; `beside`: what it gave beside that."""

    made: Any
    beside: Any
    version: int
    may_be_last: bool


class Outputs:
    """What one checkpointed layer keeps, in the order in which it is made."""

    current: ClassVar[Outputs | None] = None  # of the layer that is being computed now

    def __init__(self) -> None:
        self._kept: list[_Kept] = []
        self._next: int | None = None  # in the second pass, the index of the next one

    @property
    def is_second_pass(self) -> bool:
        return self._next is not None

    def keep(self, made: torch.Tensor, may_be_last: bool, beside: Any = None) -> None:
        """In the first pass: what the operation gave."""
        self._kept.append(_Kept(made, beside, made._version, may_be_last))

    def next(self) -> tuple[torch.Tensor, Any] | None:
        """In the second pass: what the next operation gave; None: it is to be computed."""
        assert self._next is not None
        index, self._next = self._next, self._next + 1
        if index >= len(self._kept):
            return None
        found = self._kept[index]
        self._kept[index] = found._replace(made=None, beside=None)  # its memory is the graph's from here on
        return None if found.made is None else (found.made, found.beside)

    def begin(self, *, again: bool) -> None:
        self._next = 0 if again else None

    def end_first(self) -> None:
        """The last product of a layer is not reached again (`torch.utils.checkpoint.set_checkpoint_early_stop`)."""
        if self._kept and self._kept[-1].may_be_last:
            self._kept.pop()
        if any(each.made._version != each.version for each in self._kept):
            raise RuntimeError("selectiveCheckpointing: an output that was kept has been changed in place")
        if self._kept:
            self._move_together()

    def _move_together(self) -> None:
        """Copy all of it into one piece of memory.

        Where it was made it lies between tensors of the layer that pass, and leaves holes in which glibc finds no room
        for the next ones of the same size.
        """
        sizes = [-(-each.made.nbytes // _ALIGNMENT) * _ALIGNMENT for each in self._kept]
        rooms = self._kept[0].made.new_empty(sum(sizes), dtype=torch.uint8).split(sizes)
        for index, (each, room) in enumerate(zip(self._kept, rooms, strict=True)):
            made = room[: each.made.nbytes].view(each.made.dtype).view(each.made.shape).copy_(each.made)
            self._kept[index] = each._replace(made=made.data)  # .data: with a version of its own


class _Pass:
    """The context of a layer's first or second pass. Entered again where a graph is kept for another backward pass."""

    def __init__(self, outputs: Outputs, *, again: bool) -> None:
        self._outputs, self._again = outputs, again

    def __enter__(self) -> None:
        self._before, Outputs.current = Outputs.current, self._outputs
        self._outputs.begin(again=self._again)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        Outputs.current = self._before
        if not self._again and error is None:
            self._outputs.end_first()


class _Replayed(TorchDispatchMode):
    """Products of ours give what is kept instead of computing it."""

    def __init__(self, made: torch.Tensor) -> None:
        super().__init__()
        self._made = made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS and (args[-2].shape[0], args[-1].shape[1]) == self._made.shape:
            # In place: the tensor is the product before, which was given the sum already
            return args[0] if func is _ATEN.addmm_.default else self._made.detach()
        return func(*args, **(kwargs or {}))


def _linear(linear: Any, x: torch.Tensor) -> torch.Tensor:
    return kept_product(partial(type(linear).forward, linear, x))


def _base(linear: Any, x: torch.Tensor) -> torch.Tensor:
    """Of a LoRA layer, which PEFT asks first and the adapter then."""
    return kept_product(partial(type(linear).forward, linear, x), may_be_last=False)


def _contexts() -> tuple[_Pass, _Pass]:
    """`context_fn` of `torch.utils.checkpoint.checkpoint`, called once for each layer of each forward pass."""
    outputs = Outputs()
    return _Pass(outputs, again=False), _Pass(outputs, again=True)


def _set_gradient_checkpointing(model: Any, *args: Any, gradient_checkpointing_func: Any = None, **kwargs: Any) -> None:
    """In place of transformers' method, through which all ways to turn checkpointing on lead."""
    if gradient_checkpointing_func is not None:
        kwargs["gradient_checkpointing_func"] = partial(gradient_checkpointing_func, context_fn=_contexts)
    type(model)._set_gradient_checkpointing(model, *args, **kwargs)
