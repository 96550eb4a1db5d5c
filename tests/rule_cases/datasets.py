"""Cases of rules/dataset.py."""

from tests.rule_cases.case import TWO, Case, dataset, mixture

DATASET_CASES = [
    Case(
        "dataset-source", dataset(datasetName=None), {}, raises="Either `datasets` or `dataset_name` must be provided"
    ),
    Case(
        "dataset-source",
        dataset(datasets=[{"path": "pairs"}]),
        mixture({"path": "pairs"}),
        shows="the_mixture_hides_the_name",
    ),
    *(
        Case(
            f"mixture-{field}",
            mixture({"path": "pairs"}, **{field: value}),
            mixture({"path": "pairs"}),
            shows="a_mixture_ignores_the_single_dataset",
        )
        for field, value in [("datasetConfig", "en"), ("datasetStreaming", True), ("datasetTrainSplit", "train_prefs")]
    ),
    *(
        Case(f"single-{field}", dataset(**{field: value}), {}, shows="a_single_dataset_ignores_the_mixture")
        for field, value in [("streaming", True), ("testSplitSize", 0.5)]
    ),
    Case(
        "fractions-all-or-none",
        mixture({"path": "pairs", "fraction": 0.5}, {"path": "pairs"}),
        mixture(*TWO),
        raises="`fraction` must be set for either all datasets",
    ),
    Case(
        "fractions-streaming",
        mixture(*TWO, streaming=True),
        mixture(*TWO),
        raises="Using a dataset `fraction` is not supported with streaming datasets",
    ),
    Case(
        "split-streaming",
        mixture({"path": "pairs"}, streaming=True, testSplitSize=0.5),
        mixture({"path": "pairs"}, streaming=True),
        raises="train_test_split",
    ),
    Case("dataset-path", mixture({"split": "train"}), mixture({"path": "pairs"}), raises="'path'"),
]
