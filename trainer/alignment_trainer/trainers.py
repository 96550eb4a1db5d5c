"""What our trainers add to TRL's: rows that preparation drops are counted, and length grouping works for pairs.

Stock `train_sampling_strategy: group_by_length` looks for `input_ids`, which preference datasets do not have, and dies.
"""

from __future__ import annotations

from typing import Any

from .exits import DataError


class CountsRows:
    """Counts the rows that TRL's `_prepare_dataset` drops because `max_length` would cut off their completion."""

    rows: int | None = None
    dropped: int | None = None

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *rest: Any) -> Any:
        name = rest[-1]  # TRL's last argument: "train", "eval" or the name of an eval set
        prepared = super()._prepare_dataset(dataset, processing_class, args, *rest)  # type: ignore[misc]
        if not hasattr(dataset, "num_rows") or not hasattr(prepared, "num_rows") or getattr(args, "packing", False):
            return prepared  # a stream has no length, and packed rows are no longer rows
        rows = dataset.num_rows * _rows_each(dataset, prepared)
        if prepared.num_rows == 0:
            raise DataError(
                f"All {rows} rows of the {name} split lose their completion: max_length is {args.max_length} tokens "
                "and every prompt is at least that long.",
                cure="Raise maxLength (-1: no limit) or shorten the prompts.",
            )
        if name == "train":
            self.rows, self.dropped = rows, rows - prepared.num_rows
        return prepared


def _rows_each(dataset: Any, prepared: Any) -> int:
    """KTO makes two rows, one desirable and one not, of each preference pair."""
    return 2 if "label" in prepared.column_names and "label" not in dataset.column_names else 1


class GroupsPairsByLength:
    """Length-grouped batches for tokenized pairs."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = train_dataset if train_dataset is not None else self.train_dataset  # type: ignore[attr-defined]
        args = self.args  # type: ignore[attr-defined]
        columns = getattr(dataset, "column_names", None) or []
        if (
            args.train_sampling_strategy != "group_by_length"
            or "input_ids" in columns
            or not hasattr(dataset, "num_rows")
        ):
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
    """TRL's trainer class with both additions, under its own name (TRL writes it into the model card)."""
    bases: tuple[type, ...] = (GroupsPairsByLength, trainer_class)
    if hasattr(trainer_class, "_prepare_dataset"):
        bases = (CountsRows, *bases)
    return type(trainer_class.__name__, bases, {"__module__": __name__})
