"""The reference's log-probabilities before the first step (`precompute_ref_log_probs`), from the cache if it has them.

Stock TRL names its cache by a hash of every weight and by the dataset's fingerprint, into which the whole
configuration has gone: a run with another beta computes everything again. Here the name says what the numbers depend on
and nothing else, and is known before a reference model of its own would be loaded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from . import group
from .pace import Pace
from .reference_cache import ReferenceCache

_TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids", "completion_ids", "KL_completion_ids")
_LIBRARIES = ("torch", "transformers", "trl")  # a version may compute another number
_REPORT_SECONDS = 30.0

# Told of a split's name, of its batches those done and all, and of the seconds left (None before the first)
Report = Callable[[str, int, int, int | None], None]


def tell_nobody(split: str, done: int, total: int, remaining_seconds: int | None) -> None:
    """The report of a run that nobody follows."""


@dataclass(frozen=True)
class PrecomputedReference:
    """Where the log-probabilities are kept, which model they are of, and how it is loaded if they are not there.

    load: None where the policy itself, before its first step, is the reference. report: called after every batch.
    """

    cache: ReferenceCache
    identity: dict[str, Any]
    load: Callable[[], Any] | None = None
    report: Report = tell_nobody


class PrecomputesReference:
    """TRL's DPO or KTO trainer with our cache in place of its own. Without `precomputed` it is TRL's, unchanged."""

    model: Any
    ref_model: Any
    _precompute_engine: Any

    def __init__(self, *args: Any, precomputed: PrecomputedReference | None = None, **kwargs: Any) -> None:
        self.precomputed = precomputed
        if precomputed is None:
            super().__init__(*args, **kwargs)
            return
        with _weights_not_hashed(type(self)):
            super().__init__(*args, **kwargs)
        if precomputed.load is not None:
            self._forget_reference()

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        if self.precomputed is None or not hasattr(dataset, "num_rows"):
            return super()._precompute_ref_logps(dataset, name, batch_size)  # type: ignore[misc]
        from datasets import Dataset, concatenate_datasets

        is_first, cache = group.rank() == 0, self.precomputed.cache
        ingredients = self._ingredients(dataset) if is_first else {}
        names = self._reference_columns(dataset)
        # Sent, not read by each: pods may have a cache volume each, and all must train on the same numbers
        columns = group.from_first(cache.read(ingredients, names, dataset.num_rows) if is_first else None)
        if columns is None:
            columns = dict(zip(names, self._compute(dataset, name, batch_size), strict=True))
            if is_first:
                cache.write(ingredients, columns)
        elif is_first:
            print(f"[alignment] Reference log-probabilities of {name}: {dataset.num_rows} rows from the cache.")
        return concatenate_datasets([dataset, Dataset.from_dict(columns)], axis=1)

    def _ingredients(self, dataset: Any) -> dict[str, Any]:
        """Everything that the numbers depend on. The tokenizer and its template act through the tokens alone."""
        assert self.precomputed is not None
        args, accelerator = self.args, self.accelerator  # type: ignore[attr-defined]
        return {
            **self.precomputed.identity,
            "columns": self._reference_columns(dataset),
            "tokens": tokens_digest(dataset),
            "maxLength": args.max_length,
            "truncationMode": getattr(args, "truncation_mode", None),
            "ldAlpha": getattr(args, "ld_alpha", None),
            "disableDropout": args.disable_dropout,
            "autocast": str(accelerator.mixed_precision),
            "device": accelerator.device.type,
            "versions": {library: importlib.metadata.version(library) for library in _LIBRARIES},
        }

    def _reference_columns(self, dataset: Any) -> list[str]:
        """TRL's names of what `compute_ref_log_probs` returns."""
        if "chosen_ids" in dataset.column_names:
            return ["ref_chosen_logps", "ref_rejected_logps"]
        return ["ref_logps", "ref_KL_logps"] if self.calculate_KL else ["ref_logps"]  # type: ignore[attr-defined]

    def _compute(self, dataset: Any, name: str, batch_size: int) -> list[Any]:
        """One array [rows] per column: TRL's pass over the rows, in their order."""
        import torch

        assert self.precomputed is not None
        accelerator, args = self.accelerator, self.args  # type: ignore[attr-defined]
        loader = torch.utils.data.DataLoader(
            dataset,
            batch_size=batch_size,
            collate_fn=self.data_collator,  # type: ignore[attr-defined]
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
        )
        model = self._reference()
        parts = []
        for batch in _reported(accelerator.prepare(loader), name, self.precomputed.report):
            logps = self.compute_ref_log_probs(model, batch)  # type: ignore[attr-defined]
            gathered = accelerator.gather_for_metrics(tuple(part for part in logps if part is not None))
            parts.append([part.cpu() for part in gathered])
        return [torch.cat(column).numpy() for column in zip(*parts, strict=True)]

    def _reference(self) -> Any:
        """The model to ask: one of its own, loaded now that it is needed, else the policy before its first step."""
        assert self.precomputed is not None
        if self.ref_model is None and self.precomputed.load is not None:
            self.ref_model = self._made_ready(self.precomputed.load())
        if self.ref_model is None and self.is_deepspeed_enabled:  # type: ignore[attr-defined]
            from trl.models.utils import prepare_deepspeed

            if self._precompute_engine is None:
                self._precompute_engine = prepare_deepspeed(self.model, self.accelerator)  # type: ignore[attr-defined]
            return self._precompute_engine
        return self.ref_model or self.model

    def _made_ready(self, model: Any) -> Any:
        """As TRL readies the reference that it is given, with the forward of fast/."""
        from trl.trainer.utils import disable_dropout_in_model

        if self.args.disable_dropout:  # type: ignore[attr-defined]
            disable_dropout_in_model(model)
        self.add_forward(model)  # type: ignore[attr-defined]
        return self.accelerator.prepare_model(model, evaluation_mode=True)  # type: ignore[attr-defined]

    def _forget_reference(self) -> None:
        """Its numbers are columns of the dataset now. TRL took a given adapter for the reference and copied it."""
        self.ref_model = None
        if "ref" in getattr(self.model, "peft_config", {}):
            self.model.delete_adapter("ref")


def tokens_digest(dataset: Any) -> str:
    """SHA-256 in hex over the token ids of every row, in order, however the rows came to be."""
    digest = hashlib.sha256()
    columns = [column for column in _TOKENS if column in dataset.column_names]
    for batch in dataset.select_columns(columns).with_format("arrow").iter(1000):
        for column in columns:
            ids = batch.column(column).combine_chunks()
            digest.update(f"{column} {len(ids)}\n".encode())
            digest.update(ids.value_lengths().to_numpy(zero_copy_only=False).astype("<i8").tobytes())
            digest.update(ids.flatten().to_numpy(zero_copy_only=False).astype("<i8").tobytes())
    return digest.hexdigest()


@contextmanager
def _weights_not_hashed(trainer_class: type) -> Iterator[None]:
    """TRL's `__init__` hashes every weight for the name of its own cache, which is not used here."""
    modules = [sys.modules[cls.__module__] for cls in trainer_class.__mro__]
    module = next(module for module in modules if hasattr(module, "hash_module"))
    hash_module, module.hash_module = module.hash_module, lambda _: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.hash_module = hash_module  # type: ignore[attr-defined]


def _reported(batches: Iterable[Any], name: str, report: Report) -> Iterator[Any]:
    """The batches, told of when done, and now and then in the log: a pass over much data takes long."""
    total, said, pace = len(batches), time.monotonic(), Pace()  # type: ignore[arg-type]
    pace.begin(0)
    report(name, 0, total, None)
    for number, batch in enumerate(batches, start=1):
        yield batch
        pace.step(number)
        left = pace.remaining_seconds(total)
        report(name, number, total, left)
        if group.rank() == 0 and time.monotonic() - said > _REPORT_SECONDS:
            said = time.monotonic()
            done = f"{number} of {total} batches, about {left} s left"
            print(f"[alignment] Reference log-probabilities of {name}: {done}.", flush=True)
