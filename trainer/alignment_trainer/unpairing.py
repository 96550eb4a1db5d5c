"""KTO from preference pairs: good and bad answers in one random order.

TRL splits a pair into a good and a bad row, 1,000 good ones before their 1,000 bad ones, and KTO reads its rows in
order: its batches are all good or all bad, and a run of less than a pass over the data may never see a bad one.
"""

from __future__ import annotations

from typing import Any


class MixesUnpairedRows:
    """Before TRL's KTOTrainer: splits the pairs of the train split itself and shuffles the rows, by the run's seed.

    Rows that are good or bad by themselves keep the order in which they come; so does a stream.
    """

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, name: str) -> Any:
        if name == "train" and hasattr(dataset, "num_rows") and {"chosen", "rejected"} <= set(dataset.column_names):
            dataset = mixed(dataset, args.seed if args.data_seed is None else args.data_seed)
        return super()._prepare_dataset(dataset, processing_class, args, name)  # type: ignore[misc]


def mixed(pairs: Any, seed: int) -> Any:
    """`pairs` (columns chosen, rejected and maybe prompt) as twice as many rows: prompt, completion, label."""
    from trl.data_utils import extract_prompt, unpair_preference_dataset
    from trl.trainer.utils import global_then_local_main_first

    with global_then_local_main_first():
        if "prompt" not in pairs.column_names:
            pairs = pairs.map(extract_prompt, desc="Extracting prompt from train dataset")
        return unpair_preference_dataset(pairs, desc="Unpairing train dataset").shuffle(seed=seed)
