"""The methods that a run can use: each names its TRL trainer, its config and the columns that its dataset needs.

A method is a row of this table. TRL is imported when a class is asked for, not before: a run that is stopped while it
loads must be able to say so, and importing TRL takes seconds.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any

MethodConfig = Any  # an instance of the method's config: TrainingArguments and the fields of its own

_PAIR = frozenset({"chosen", "rejected"})
_TOKENIZED_PAIR = frozenset({"chosen_ids", "rejected_ids"})
_UNPAIRED = frozenset({"prompt", "completion", "label"})
_SFT = tuple(map(frozenset, ({"messages"}, {"prompt", "completion"}, {"text"}, {"conversations"}, {"input_ids"})))
_PAIRED = ("prompt", "chosen", "rejected")


@dataclass(frozen=True)
class Method:
    """One row: where TRL keeps the method and what it needs."""

    name: str
    trainer: str  # class name in `module`
    config: str
    columns: tuple[frozenset[str], ...]  # alternatives; a dataset must have every column of one of them
    text_columns: tuple[str, ...]  # what must be text or a list of messages, and never null
    has_reference: bool = False
    streams: bool = True  # takes a streamed dataset
    module: str = "trl"

    def config_class(self) -> type:
        return self._import(self.config)

    def trainer_class(self) -> type:
        """TRL's trainer with our additions (trainers.py)."""
        from .trainers import extend

        return extend(self._import(self.trainer))

    def _import(self, name: str) -> Any:
        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
        return getattr(importlib.import_module(self.module), name)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("dpo", "DPOTrainer", "DPOConfig", (_PAIR,), _PAIRED, has_reference=True),
        # `text` stands for the column that spec.sft.datasetTextField names
        Method("sft", "SFTTrainer", "SFTConfig", _SFT, ("messages", "prompt", "completion", "text")),
        Method("orpo", "ORPOTrainer", "ORPOConfig", (_PAIR,), _PAIRED, streams=False, module="trl.experimental.orpo"),
        Method("cpo", "CPOTrainer", "CPOConfig", (_PAIR,), _PAIRED, streams=False, module="trl.experimental.cpo"),
        Method("kto", "KTOTrainer", "KTOConfig", (_UNPAIRED, _PAIR), (*_PAIRED, "completion"), has_reference=True),
        Method("reward", "RewardTrainer", "RewardConfig", (_PAIR, _TOKENIZED_PAIR), _PAIRED),
    )
}
