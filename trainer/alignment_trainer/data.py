"""The dataset: by name, folder, file or mixture; checked for the method before any weight is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import cures
from .exits import AccessDenied, DataError, ModelUnavailable, UserError
from .methods import Method

if TYPE_CHECKING:
    from trl import DatasetMixtureConfig, ScriptArguments

    from .config import Config

_FILE_BUILDERS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}


def load_datasets(config: Config) -> tuple[Any, Any]:
    """(train, eval or None) with the columns that the method needs. Raises DataError, ModelUnavailable, UserError."""
    dataset = load_dataset_dict(config.script_args, config.mixture_args)
    train = pick_split(dataset, config.script_args.dataset_train_split, "spec.dataset.datasetTrainSplit")
    evaluation = None
    if config.training_args.eval_strategy != "no":
        evaluation = pick_split(dataset, config.script_args.dataset_test_split, "spec.dataset.datasetTestSplit")
    text_field = getattr(config.training_args, "dataset_text_field", "text")
    for split in filter(None, (train, evaluation)):
        check_columns(split, config.method, text_field)
    if not hasattr(train, "num_rows"):
        check_streaming(config)
    return train, evaluation


def check_streaming(config: Config) -> None:
    """Raises UserError where the run needs what a stream has not: a length, or rows that can be read twice."""
    field = "spec.dataset.streaming" if config.mixture_args.datasets else "spec.dataset.datasetStreaming"
    if not config.method.streams:
        raise UserError(f"{config.method.name} cannot train from a stream.", cure=f"Remove {field}.")
    if config.training_args.max_steps <= 0:
        raise UserError("A streamed dataset has no length: an epoch has no end.", cure="Set spec.training.maxSteps.")
    if getattr(config.training_args, "precompute_ref_log_probs", False):
        raise UserError(
            "The reference's log-probabilities cannot be precomputed for a stream.",
            cure=f"Remove {field}, or choose another spec.referenceModel.strategy.",
        )


def load_dataset_dict(script_args: ScriptArguments, mixture_args: DatasetMixtureConfig) -> Any:
    """All splits: of the mixture if there is one (as TRL's scripts), else of `dataset_name`."""
    if mixture_args.datasets:
        return _load_mixture(mixture_args)
    if not script_args.dataset_name:
        raise UserError("The recipe names no dataset.", cure="Set spec.dataset.datasetName or spec.dataset.datasets.")
    path, arguments = local_arguments(script_args.dataset_name, "spec.dataset.datasetName")
    if os.path.exists(os.path.join(path, "dataset_dict.json")):  # what Dataset.save_to_disk leaves
        from datasets import load_from_disk

        return load_from_disk(path)
    from datasets import load_dataset

    with _naming("spec.dataset.datasetName", script_args.dataset_name):
        return load_dataset(path, name=script_args.dataset_config, streaming=script_args.dataset_streaming, **arguments)


def local_arguments(name: str, field: str) -> tuple[str, dict[str, Any]]:
    """`load_dataset`'s first argument and what a single file needs beside it. A local path asks no hub."""
    path = os.path.expanduser(name)
    if os.path.isfile(path):
        builder = _FILE_BUILDERS.get(os.path.splitext(path)[1])
        if builder is None:
            raise UserError(
                f"{field}: {name} is a file of an unknown kind.", cure=f"Use one of {', '.join(_FILE_BUILDERS)}."
            )
        return builder, {"data_files": {"train": path}}
    looks_local = name.startswith(("/", "./", "../", "~")) or name.count("/") > 1
    if looks_local and not os.path.isdir(path):
        raise ModelUnavailable(
            f"{field}: there is no file or folder {name}.", cure=f"Correct {field}, or mount the volume that holds it."
        )
    return path, {}


def pick_split(dataset: Any, split: str, field: str) -> Any:
    """The split, not empty. Raises DataError naming the splits that there are."""
    if split not in dataset:
        cure = f"Set {field} to one of them"
        if field.endswith("TestSplit"):
            cure += ", set spec.dataset.testSplitSize of a mixture, or spec.training.evalStrategy to no"
        raise DataError(f"The dataset has no split {split!r}; it has: {', '.join(dataset)}.", cure=f"{cure}.")
    chosen = dataset[split]
    if next(iter(chosen), None) is None:
        raise DataError(f"The split {split!r} is empty.", cure=f"Set {field} to a split that has rows.")
    return chosen


def check_columns(dataset: Any, method: Method, text_field: str = "text") -> None:
    """Raises DataError naming the columns found and needed, or the first value that is not what the method reads."""
    columns = set(dataset.column_names or next(iter(dataset)))
    needs = [{text_field if column == "text" else column for column in need} for need in method.columns]
    if not any(columns >= need for need in needs):
        raise DataError(
            f"The dataset has the columns {_list(columns)}; {method.name} needs {' or '.join(map(_list, needs))}.",
            cure="Rename the dataset's columns, or choose a dataset that is made for this method.",
        )
    text_columns = [text_field if column == "text" else column for column in method.text_columns]
    present = [column for column in text_columns if column in columns]
    _check_no_nulls(dataset, present)
    _check_first_row(next(iter(dataset)), present)


def _check_no_nulls(dataset: Any, columns: list[str]) -> None:
    if not hasattr(dataset, "num_rows"):
        return  # a stream is not read ahead
    for column in columns:
        nulls = dataset.data.column(column).null_count
        if nulls:
            raise DataError(
                f"The column {column!r} has no value in {nulls} of {dataset.num_rows} rows.",
                cure="Remove these rows from the dataset.",
            )


def _check_first_row(row: dict[str, Any], columns: list[str]) -> None:
    kinds = {column: _kind(row[column], column) for column in columns}
    if len(set(kinds.values())) > 1:
        raise DataError(
            f"The columns are of different kinds: {', '.join(f'{c} is {k}' for c, k in kinds.items())}.",
            cure="Make all of them text, or all of them lists of messages with role and content.",
        )
    if "label" in row and "completion" in row and not isinstance(row["label"], (bool, int)):
        raise DataError(f"The column 'label' holds {row['label']!r}.", cure="Make it true (desirable) or false.")


def _kind(value: Any, column: str) -> str:
    if isinstance(value, str) and column != "messages":
        return "text"
    if isinstance(value, list) and value and all(isinstance(m, dict) and "role" in m and "content" in m for m in value):
        return "messages"
    raise DataError(
        f"The column {column!r} holds {str(value)[:80]!r}, which is no list of messages"
        f"{'' if column == 'messages' else ' and no text'}.",
        cure="Make it a list of messages with role and content.",
    )


def _load_mixture(mixture_args: DatasetMixtureConfig) -> Any:
    from trl import get_dataset

    for index, part in enumerate(mixture_args.datasets):
        field = f"spec.dataset.datasets[{index}].path"
        part.path, arguments = local_arguments(part.path, field)
        part.data_files = arguments.get("data_files", part.data_files)
    with _naming("spec.dataset.datasets", ", ".join(part.path for part in mixture_args.datasets)):
        return get_dataset(mixture_args)


@contextmanager
def _naming(field: str, name: str) -> Iterator[None]:
    """Turns what `datasets` raises while loading into errors that name the field."""
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetGenerationError, DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError

    try:
        yield
    except DatasetNotFoundError as error:
        if isinstance(error.__cause__, GatedRepoError) or "gated" in str(error):
            raise AccessDenied(f"The hub refuses {name}: {error}", cure=cures.TOKEN) from error
        raise ModelUnavailable(f"{field}: {error}", cure=f"Correct {field}.") from error
    except (DataFilesNotFoundError, EmptyDatasetError) as error:  # a folder or repository without data files
        raise ModelUnavailable(f"{field}: {error}", cure=f"Correct {field}, or put data files there.") from error
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, OSError | MemoryError):  # no fault of the rows
            raise
        raise DataError(
            f"{name} cannot be read: {error.__cause__ or error}", cure="Mend the dataset's files."
        ) from error
    except (ValueError, KeyError) as error:
        if isinstance(error, OSError):  # the hub's errors are both
            raise
        raise UserError(f"{name} cannot be loaded: {error}", cure="Correct spec.dataset.") from error


def _list(columns: Any) -> str:
    return " + ".join(f"`{column}`" for column in sorted(columns))
