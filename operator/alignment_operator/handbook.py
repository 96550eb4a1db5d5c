"""alignment-handbook's words for data (`dataset_mixer`, `dataset_splits`) -> TRL's: one dataset, or a mixture."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# A dataset of the handbook's `dataset_mixture` -> of TRL's
PART = {"id": "path", "config": "name", "weight": "fraction"}
ONE_SPLIT = "one split of one dataset is used; spec.dataset.datasets can name several"
NO_TEST_SPLIT = "a mixture has no test split of its own; spec.dataset.testSplitSize cuts one off"


def translated(recipe: Json, notes: list[str]) -> Json:
    """Return the recipe with TRL's dataset fields. What a person should know is added to `notes`."""
    recipe = dict(recipe)
    splits = recipe.pop("dataset_splits", [])
    splits = [splits] if isinstance(splits, str) else splits
    if isinstance(mixer := recipe.get("datasets"), dict):
        recipe = {key: value for key, value in recipe.items() if key != "datasets"} | _unmixed(mixer, notes)
    trained = [split for split in splits if not split.startswith("test")]
    tested = [split for split in splits if split.startswith("test")]
    return recipe | (_of_mixture if "datasets" in recipe else _of_one)(recipe, trained, tested, notes)


def _unmixed(mixer: Json, notes: list[str]) -> Json:
    """{name: fraction}, or {datasets: [{id, config, split, columns, weight}], test_split_size}."""
    if isinstance(mixer.get("datasets"), list):
        parts = [{PART.get(key, key): value for key, value in part.items()} for part in mixer["datasets"]]
        size = {"test_split_size": mixer["test_split_size"]} if "test_split_size" in mixer else {}
        return {"datasets": parts, **size}
    if list(mixer.values()) == [1.0]:
        return {"dataset_name": next(iter(mixer))}
    notes.append("dataset_mixer: its fractions were shares of each dataset, TRL's are shares of the mixture")
    return {"datasets": [{"path": name, "fraction": share} for name, share in mixer.items()]}


def _of_one(recipe: Json, trained: list[str], tested: list[str], notes: list[str]) -> Json:
    if more := trained[1:] + tested[1:]:
        notes.append(f"dataset_splits: {', '.join(more)} left out; {ONE_SPLIT}")
    chosen = {"dataset_train_split": trained[:1], "dataset_test_split": tested[:1]}
    return {field: splits[0] for field, splits in chosen.items() if splits}


def _of_mixture(recipe: Json, trained: list[str], tested: list[str], notes: list[str]) -> Json:
    """Every train split of every dataset is a part of its own."""
    if tested:
        notes.append(f"dataset_splits: {', '.join(tested)} left out; {NO_TEST_SPLIT}")
    if not trained:
        return {}
    parts = [part if "split" in part else part | {"split": split} for part in recipe["datasets"] for split in trained]
    return {"datasets": [part for index, part in enumerate(parts) if part not in parts[:index]]}
