"""A run ends as DataError when its rows are to blame, and not when the code that handles them has a defect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from alignment_trainer import exits, trainers
from alignment_trainer.data import load_dataset_dict
from alignment_trainer.diagnosis import classify
from tests.tiny import tiny_tokenizer

ROWS = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])


def of_map(function: Any) -> None:
    """What a map over rows makes of the function's exception: datasets and its frames are between."""
    ROWS.map(function)


def row_without_a_key(_: Path) -> None:
    def tokenize_fn(row: dict[str, Any]) -> dict[str, Any]:
        return {"ids": row["messages"]}

    of_map(tokenize_fn)


def text_that_is_none(_: Path) -> None:
    tokenizer = tiny_tokenizer()
    of_map(lambda row: tokenizer(text=[None]))


def conversation_without_a_message(_: Path) -> None:
    of_map(lambda row: {"role": [][-1]})


def keys_that_trl_does_not_know(_: Path) -> None:
    from trl import apply_chat_template

    apply_chat_template({"question": [{"role": "user", "content": "a"}]}, tiny_tokenizer())


def template_that_refuses_a_role(_: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    tokenizer.apply_chat_template([{"role": "user", "content": "a"}])


def no_template(_: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.apply_chat_template([{"role": "user", "content": "a"}])


def no_row_left(_: Path) -> None:
    import torch

    torch.utils.data.RandomSampler([])


def file_that_is_no_json(folder: Path) -> None:
    (folder / "train.jsonl").write_text('{"prompt": \n')
    from trl import DatasetMixtureConfig, ScriptArguments

    load_dataset_dict(ScriptArguments(dataset_name=str(folder)), DatasetMixtureConfig())


def columns_of_two_types(_: Path) -> None:
    datasets.concatenate_datasets([ROWS, ROWS.map(lambda row: {"prompt": 1})])


@pytest.mark.parametrize(
    "fail",
    [
        row_without_a_key,
        text_that_is_none,
        conversation_without_a_message,
        keys_that_trl_does_not_know,
        template_that_refuses_a_role,
        no_template,
        no_row_left,
        file_that_is_no_json,
        columns_of_two_types,
    ],
)
def test_rows_are_to_blame(fail: Any, tmp_path: Path) -> None:
    known = outcome_of(fail, tmp_path)
    assert type(known) is exits.DataError, known
    assert known.cure


def key_that_tokenizing_makes(_: Path) -> None:
    of_map(lambda row: {"length": len(row["prompt_ids"])})


def function_called_in_a_wrong_way(_: Path) -> None:
    def tokenize_fn(row: dict[str, Any], processing_class: Any) -> dict[str, Any]:
        return row

    of_map(tokenize_fn)


def column_that_our_trainers_take_for_granted(_: Path) -> None:
    ROWS.filter(trainers._has_completions)


def row_that_our_trainers_ask_for(_: Path) -> None:
    trainers.truncated_rows(ROWS, 8, "keep_start")
    datasets.Dataset.from_list([{"chosen_ids": [1]}]).map(trainers.GroupsPairsByLength()._get_train_sampler)


def error_that_speaks_of_a_dataset(_: Path) -> None:
    raise ValueError("the feature column of the example is not in the dataset")


def argument_that_trl_is_called_without(_: Path) -> None:
    from trl import apply_chat_template

    apply_chat_template({"prompt": []})  # type: ignore[call-arg]


def library_that_trips_over_its_own_value(_: Path) -> None:
    import transformers

    transformers.set_seed("seed")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fail",
    [
        key_that_tokenizing_makes,
        function_called_in_a_wrong_way,
        column_that_our_trainers_take_for_granted,
        row_that_our_trainers_ask_for,
        error_that_speaks_of_a_dataset,
        argument_that_trl_is_called_without,
        library_that_trips_over_its_own_value,
    ],
)
def test_a_defect_is_not_the_users_fault(fail: Any, tmp_path: Path) -> None:
    known = outcome_of(fail, tmp_path)
    assert type(known) is exits.Internal, known


def outcome_of(fail: Any, tmp_path: Path) -> exits.TrainerError:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the library's business
        fail(tmp_path)
    return classify(caught.value)
