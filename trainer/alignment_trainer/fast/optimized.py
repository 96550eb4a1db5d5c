"""TRL's trainers with models that answer with the fast forward where that is allowed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..run_config import Optimizations
from .decisions import (
    COMPLETION_HEAD,
    FUSED_ADAPTER_SUM,
    PACKED_PAIRS,
    SELECTIVE_CHECKPOINTING,
    SKIP_ADAPTER_CASTS,
    WIDE_PRODUCTS,
    Decisions,
    decide,
)

_TRL_NAME = "add_fused_lm_head"


class Optimized:
    """What is decided for the models of a trainer. `layout` names the function that packs its batches.

    `withheld`: switch -> reason, for those that something else than run.yaml and the model has turned off.
    """

    layout = "pack_rows"

    def __init__(
        self,
        *args: Any,
        switches: Optimizations | None = None,
        withheld: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.switches, self.withheld = switches or Optimizations(), withheld or {}
        self.decisions: list[Decisions] = []  # the policy's, then those of a reference model of its own
        super().__init__(*args, **kwargs)

    @property
    def optimizations(self) -> dict[str, str]:
        """Name -> "on" or "off: REASON"; of a reference model only what differs, as `referenceModel.NAME`."""
        policy, *others = (decisions.report() for decisions in self.decisions)
        differing = {name: said for report in others for name, said in report.items() if said != policy[name]}
        return policy | {f"referenceModel.{name}": said for name, said in differing.items()}

    def add_forward(self, model: Any, **options: Any) -> None:
        """In place of TRL's `add_fused_lm_head`, on which it builds; `options` are that function's."""
        from trl.trainer.utils import add_fused_lm_head

        from . import packed_rows
        from .forward import add_fast_forward

        decisions = self.change_layers(model)
        if decisions.is_on(COMPLETION_HEAD) or decisions.is_on(PACKED_PAIRS):
            add_fast_forward(model, decisions, getattr(packed_rows, self.layout), add_fused_lm_head, **options)
        else:
            add_fused_lm_head(model, **options)

    def change_layers(self, model: Any) -> Decisions:
        """Decide for `model`, and change what its layers do; its forward is left as it is."""
        from . import wide_products
        from .adapter_casts import skip_casts
        from .adapter_sum import fuse_sums
        from .circumstances import Circumstances
        from .selective import keep_outputs

        who = "the reference model" if self.decisions else "the policy"
        decisions = decide(self.switches, Circumstances.of(self, model), who, self.withheld)
        self.decisions.append(decisions)
        if decisions.is_on(SKIP_ADAPTER_CASTS) and not skip_casts(model):
            decisions.turn_off(SKIP_ADAPTER_CASTS, "no LoRA layer of the model can do without its casts")
        if decisions.is_on(FUSED_ADAPTER_SUM) and not fuse_sums(model):
            decisions.turn_off(FUSED_ADAPTER_SUM, "no LoRA layer of the model is a plain one")
        if decisions.is_on(SELECTIVE_CHECKPOINTING):
            keep_outputs(model)
        if len(self.decisions) == 1:  # for the process, so the policy's decision is the reference model's
            wide_products.use(decisions.is_on(WIDE_PRODUCTS))
        return decisions

    def bare_policy(self) -> Any:
        """The model to train without PEFT's wrapper, once TRL has built the trainer."""
        model = self.model  # type: ignore[attr-defined]
        return model.get_base_model() if hasattr(model, "get_base_model") else model


class OptimizedLayers(Optimized):
    """Before TRL's RewardTrainer, whose models score no tokens."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.change_layers(self.bare_policy())


class OptimizedRows(Optimized):
    """Before TRL's SFTTrainer and KTOTrainer, whose batches are rows without partners."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with _fused_head_from(type(self), self.add_forward):
            super().__init__(*args, **kwargs)


class OptimizedPairs(OptimizedRows):
    """Before TRL's DPOTrainer, whose batches are [chosen..., rejected...]."""

    layout = "pack_pairs"


@contextmanager
def _fused_head_from(trainer_class: type, add_forward: Callable[..., None]) -> Iterator[None]:
    """While TRL builds the trainer, the name by which it adds its head stands for `add_forward`.

    TRL has no hook for it, and afterwards it is too late: accelerate has wrapped the forward in autocast by then, and
    the reference's log-probabilities may be computed.
    """
    modules = (sys.modules[cls.__module__] for cls in trainer_class.__mro__)
    module: Any = next(module for module in modules if hasattr(module, _TRL_NAME))
    stock = getattr(module, _TRL_NAME)
    setattr(module, _TRL_NAME, add_forward)
    try:
        yield
    finally:
        setattr(module, _TRL_NAME, stock)
