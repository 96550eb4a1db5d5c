"""Which optimizations a model runs with, and why the others are off: for the log and for the run's receipt."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..run_config import Optimizations
    from .circumstances import Circumstances

logger = logging.getLogger(__name__)

COMPLETION_HEAD, PACKED_PAIRS = "completionHead", "packedPairs"
SKIP_ADAPTER_CASTS, FUSED_ADAPTER_SUM = "skipAdapterCasts", "fusedAdapterSum"
SELECTIVE_CHECKPOINTING, WIDE_PRODUCTS = "selectiveCheckpointing", "wideProducts"
SWITCHED_OFF = "switched off in run.yaml"
OTHER_DRAWS = "on; dropout draws other numbers than stock TRL"


@dataclass
class Decisions:
    """why_off: reason by name, None for a piece that is on."""

    why_off: dict[str, str | None]
    drops_out: bool = False
    model: str = "the policy"
    _said: set[str] = field(default_factory=set)

    def is_on(self, name: str) -> bool:
        return self.why_off[name] is None

    def turn_off(self, name: str, reason: str) -> None:
        self.why_off[name] = reason
        self.say(name)

    def say(self, name: str) -> None:
        """One line in the log for a piece that is off, once for each reason."""
        reason = self.why_off[name]
        if reason is not None and reason not in self._said:
            self._said.add(reason)
            logger.info("%s is off for %s: %s.", name, self.model, reason)

    def report(self) -> dict[str, str]:
        """name -> "on" or "off: REASON"."""
        on = OTHER_DRAWS if self.drops_out else "on"
        return {name: on if reason is None else f"off: {reason}" for name, reason in self.why_off.items()}


def decide(
    switches: Optimizations,
    circumstances: Circumstances,
    model: str = "the policy",
    withheld: Mapping[str, str] = MappingProxyType({}),
) -> Decisions:
    """What the switches of run.yaml and the circumstances allow, but for what is `withheld` (switch -> reason)."""
    objections = {
        COMPLETION_HEAD: circumstances.against_scoring,
        PACKED_PAIRS: circumstances.against_packing,
        SKIP_ADAPTER_CASTS: circumstances.against_skipping_casts,
        FUSED_ADAPTER_SUM: circumstances.against_fusing_sums,
        SELECTIVE_CHECKPOINTING: circumstances.against_selecting,
        WIDE_PRODUCTS: circumstances.against_widening,
    }
    why_off = {
        name: (against() or withheld.get(name)) if getattr(switches, name) else SWITCHED_OFF
        for name, against in objections.items()
    }
    decisions = Decisions(why_off, circumstances.drops_out, model)
    for name in decisions.why_off:
        decisions.say(name)
    return decisions
