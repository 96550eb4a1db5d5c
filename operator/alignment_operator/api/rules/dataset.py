"""Rules about the dataset: one, or a mixture."""

from alignment_operator.api.rules.rule import REQUIRED, Rule, has, on, when

__all__ = ["DATASET_RULES"]

_ONE = ("datasetConfig", "datasetStreaming", "datasetTrainSplit")
_MIXTURE = ("streaming", "testSplitSize")
DATASET_RULES = [
    Rule(
        "dataset-source",
        f"({has('dataset.datasetName')}) != ({has('dataset.datasets')})",
        "set exactly one of datasetName and datasets (a mixture)",
        "dataset.datasetName",
        "ValueError: Either `datasets` or `dataset_name` must be provided; with both, dataset_name is ignored",
        REQUIRED,
    ),
    *(
        Rule(
            f"mixture-{field}",
            f"!({has(f'dataset.{field}')} && {has('dataset.datasets')})",
            "belongs to datasetName, a mixture ignores it: set it in each of datasets (or streaming beside them)",
            f"dataset.{field}",
            "TRL ignores it (or finds no such split)",
        )
        for field in _ONE
    ),
    *(
        Rule(
            f"single-{field}",
            f"!({has(f'dataset.{field}')} && {has('dataset.datasetName')})",
            "belongs to a mixture, datasetName ignores it: list the dataset in datasets, or remove it",
            f"dataset.{field}",
            "TRL ignores it",
        )
        for field in _MIXTURE
    ),
    Rule(
        "fractions-all-or-none",
        when(
            has("dataset.datasets"),
            "self.dataset.datasets.all(d, has(d.fraction)) || self.dataset.datasets.all(d, !has(d.fraction))",
        ),
        "set fraction for every dataset of the mixture, or for none",
        "dataset.datasets",
        "ValueError: `fraction` must be set for either all datasets in the mixture or none of them",
    ),
    Rule(
        "fractions-streaming",
        when(
            f"{has('dataset.datasets')} && {on('dataset.streaming')}",
            "!self.dataset.datasets.exists(d, has(d.fraction))",
        ),
        "fraction does not work with streaming: remove one",
        "dataset.streaming",
        "ValueError: Using a dataset `fraction` is not supported with streaming datasets",
    ),
    Rule(
        "split-streaming",
        f"!({has('dataset.testSplitSize')} && {on('dataset.streaming')})",
        "a streamed mixture cannot be split: remove testSplitSize, or turn streaming off",
        "dataset.testSplitSize",
        "AttributeError: 'IterableDataset' object has no attribute 'train_test_split'",
    ),
    Rule(
        "dataset-path",
        when(has("dataset.datasets"), "self.dataset.datasets.all(d, has(d.path))"),
        "every dataset of a mixture needs a path: a hub name or a folder",
        "dataset.datasets",
        "TypeError: DatasetConfig.__init__() missing 1 required positional argument: 'path'",
        REQUIRED,
    ),
]
