"""What our trainers add to TRL's: no row loses its completion unnoticed, and length grouping works for pairs.

DPO, KTO, SFT and reward drop rows whose completion `max_length` cuts off, without a word: they are counted. ORPO and
CPO keep them, and the mean over no token is a NaN loss: they are dropped too. Stock `train_sampling_strategy:
group_by_length` looks for `input_ids`, which preference datasets do not have, and dies. KTO: unpairing.py.
"""

from __future__ import annotations

from typing import Any

from .exits import DataError
from .fast import optimized_for
from .precompute import PrecomputesReference
from .resuming import ResumesAdapter
from .unpairing import MixesUnpairedRows


class CountsRows:
    """Counts the rows that TRL's `_prepare_dataset` drops because `max_length` would cut off their completion.

    And of the rest those that lose a part of it, which the collator cuts away.
    """

    rows: int | None = None
    dropped: int | None = None
    truncated: int | None = None

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *rest: Any) -> Any:
        name = rest[-1]  # TRL's last argument: "train", "eval" or the name of an eval set
        prepared = super()._prepare_dataset(dataset, processing_class, args, *rest)  # type: ignore[misc]
        if not hasattr(dataset, "num_rows") or not hasattr(prepared, "num_rows") or getattr(args, "packing", False):
            return prepared  # a stream has no length, and packed rows are no longer rows
        rows = dataset.num_rows * _rows_each(dataset, prepared)
        _check_some_left(prepared.num_rows, rows, name, args.max_length)
        if name == "train":
            self.rows, self.dropped = rows, rows - prepared.num_rows
            self.truncated = truncated_rows(prepared, args.max_length, getattr(args, "truncation_mode", "keep_start"))
        return prepared


def truncated_rows(dataset: Any, max_length: int | None, truncation_mode: str) -> int | None:
    """Rows that lose a part of a completion in the collator; None where the columns no longer tell (SFT)."""
    sides = [name for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in dataset.column_names]
    if not sides:
        return None
    if max_length is None:
        return 0
    counted = ["prompt_ids"] if "prompt_ids" in dataset.column_names and truncation_mode == "keep_start" else []
    return sum(_longer_rows(batch, sides, counted, max_length) for batch in _token_batches(dataset, sides + counted))


def _token_batches(dataset: Any, columns: list[str]) -> Any:
    """Arrow tables of so many rows: the lengths of lists are read without making Python objects of the tokens."""
    return dataset.select_columns(columns).with_format("arrow").iter(batch_size=1000)


def _longer_rows(batch: Any, sides: list[str], counted: list[str], max_length: int) -> int:
    import numpy as np
    import pyarrow.compute as pc

    lengths = {name: pc.list_value_length(batch[name]).to_numpy() for name in sides + counted}
    longest = np.maximum.reduce([lengths[name] for name in sides]) + sum(lengths[name] for name in counted)
    return int((longest > max_length).sum())


def _rows_each(dataset: Any, prepared: Any) -> int:
    """KTO makes two rows, one desirable and one not, of each preference pair."""
    return 2 if "label" in prepared.column_names and "label" not in dataset.column_names else 1


class DropsLostCompletions:
    """ORPO and CPO tokenize in `__init__`; what has no completion left is taken out after it."""

    rows: int | None = None
    dropped: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rows = self.train_dataset.num_rows  # type: ignore[has-type]
        self.train_dataset = self._with_completion(self.train_dataset, "train")  # type: ignore[has-type]
        self.dropped = self.rows - self.train_dataset.num_rows
        if self.eval_dataset is not None:  # type: ignore[has-type]
            self.eval_dataset = self._with_completion(self.eval_dataset, "eval")  # type: ignore[has-type]

    def _with_completion(self, dataset: Any, name: str) -> Any:
        kept = dataset.filter(_has_completions, desc=f"Dropping fully truncated examples from {name} dataset")
        _check_some_left(kept.num_rows, dataset.num_rows, name, self.max_length)  # type: ignore[attr-defined]
        return kept


def _has_completions(row: dict[str, Any]) -> bool:
    return all(any(label != -100 for label in row[side]) for side in ("chosen_labels", "rejected_labels"))


def _check_some_left(kept: int, rows: int, name: str, max_length: int | None) -> None:
    if kept == 0:
        raise DataError(
            f"All {rows} rows of the {name} split lose their completion: max_length is {max_length} tokens, and no row "
            "has a completion that begins before that.",
            cure="Raise maxLength (-1: no limit) or shorten the prompts.",
        )


class GroupsPairsByLength:
    """Length-grouped batches for tokenized pairs."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = train_dataset if train_dataset is not None else self.train_dataset  # type: ignore[attr-defined]
        args = self.args  # type: ignore[attr-defined]
        columns = getattr(dataset, "column_names", None) or []
        is_ours = args.train_sampling_strategy == "group_by_length" and hasattr(dataset, "num_rows")
        if not is_ours or "input_ids" in columns:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        from transformers.trainer_pt_utils import LengthGroupedSampler

        batch_size = args.train_batch_size * args.gradient_accumulation_steps
        return LengthGroupedSampler(batch_size, lengths=pair_lengths(dataset, args.max_length))


def pair_lengths(dataset: Any, max_length: int | None) -> list[int]:
    """Tokens of each row's longer side, cut at `max_length` as the collator cuts it."""
    columns = set(dataset.column_names)
    sides = next(
        side
        for side in (("chosen_ids", "rejected_ids"), ("completion_ids",), ("chosen_input_ids", "rejected_input_ids"))
        if columns >= set(side)
    )
    longest = [max(map(len, row)) for row in zip(*(dataset[side] for side in sides), strict=True)]
    if "prompt_ids" in columns:
        longest = [length + len(prompt) for length, prompt in zip(longest, dataset["prompt_ids"], strict=True)]
    return [min(length, max_length) if max_length else length for length in longest]


def extend(trainer_class: type) -> type:
    """TRL's trainer class with these additions, under its own name (TRL writes it into the model card)."""
    rows = CountsRows if hasattr(trainer_class, "_prepare_dataset") else DropsLostCompletions
    reference: tuple[type, ...] = (PrecomputesReference,) if hasattr(trainer_class, "_precompute_ref_logps") else ()
    order: tuple[type, ...] = (MixesUnpairedRows,) if trainer_class.__name__ == "KTOTrainer" else ()
    additions = (*reference, rows, *order, GroupsPairsByLength, ResumesAdapter, optimized_for(trainer_class))
    return type(trainer_class.__name__, (*additions, trainer_class), {"__module__": __name__})
