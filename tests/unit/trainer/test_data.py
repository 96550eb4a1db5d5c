"""Datasets: every way to name one, and what a user is told about one that does not fit, before any weight is loaded."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from alignment_trainer import config, data, exits, train
from tests.trainer_runs import Bench

PAIR = {"prompt": "why?", "chosen": "so", "rejected": "no"}
USER, GOOD, BAD = ({"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "b"), ("user", "c")))


def load(bench: Bench, method: str = "dpo", **fields: Any) -> tuple[Any, Any]:
    return data.load_datasets(config.load_config(*bench.files(bench.recipe(**fields), method)))


def test_a_folder_a_file_a_parquet_a_saved_dataset_and_a_mixture_give_the_same_rows(bench, tmp_path):
    from datasets import Dataset

    folder = bench.data()
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    Dataset.from_list(rows).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    from datasets import DatasetDict

    DatasetDict(train=Dataset.from_list(rows)).save_to_disk(tmp_path / "saved")
    for name in (folder, folder / "train.jsonl", tmp_path / "rows.parquet", tmp_path / "rows.json", tmp_path / "saved"):
        train_dataset, evaluation = load(bench, dataset_name=str(name))
        assert train_dataset.to_list() == rows, name
        assert evaluation is None
    mixture = [{"path": str(folder)}, {"path": str(folder / "test.jsonl")}]
    mixed, _ = load(bench, dataset_name=None, datasets=mixture)
    assert mixed.num_rows == len(rows) + 4


def test_the_test_split_is_read_only_when_it_is_used(bench):
    assert load(bench, dataset_name=str(bench.rows([PAIR])))[1] is None
    _, evaluation = load(bench, eval_strategy="steps", eval_steps=2)
    assert evaluation.num_rows == 4


def test_a_mixtures_test_split_is_cut_off_its_train_split(bench):
    mixture = {"dataset_name": None, "datasets": [{"path": str(bench.data())}], "test_split_size": 0.25}
    rows = [split.num_rows for split in load(bench, eval_strategy="steps", eval_steps=2, **mixture)]
    assert rows == [24, 8]


def test_a_stream_is_checked_by_its_first_row(bench):
    streamed, _ = load(bench, dataset_streaming=True)
    assert not hasattr(streamed, "num_rows")
    with pytest.raises(exits.DataError, match="`rejected`"):
        load(bench, dataset_name=str(bench.rows([{"chosen": "a"}])), dataset_streaming=True)


@pytest.mark.parametrize(
    ("method", "fields", "says"),
    [
        ("dpo", {"max_steps": -1}, "spec.training.maxSteps"),
        ("dpo", {"precompute_ref_log_probs": True}, "spec.dataset.datasetStreaming"),
        ("orpo", {}, "orpo cannot train from a stream"),
    ],
)
def test_what_needs_a_length_refuses_a_stream(bench, method, fields, says):
    with pytest.raises(exits.UserError, match=says):
        load(bench, method, dataset_streaming=True, **fields)


@pytest.mark.parametrize(
    ("method", "row", "says"),
    [
        ("dpo", {"prompt": "a", "chosen": "b"}, "has the columns `chosen` + `prompt`; dpo needs `chosen` + `rejected`"),
        ("orpo", {"text": "a"}, "orpo needs `chosen` + `rejected`"),
        ("kto", {"prompt": "a", "completion": "b"}, "`completion` + `label` + `prompt` or `chosen` + `rejected`"),
        ("sft", {"question": "a"}, "`messages` or `completion` + `prompt` or `text`"),
        ("reward", {"chosen": "a"}, "reward needs `chosen` + `rejected`"),
        ("dpo", {**PAIR, "chosen": 3}, "The column 'chosen' holds '3', which is no list of messages and no text"),
        ("dpo", {**PAIR, "prompt": [USER]}, "different kinds: prompt is messages, chosen is text"),
        ("dpo", {"chosen": [{"text": "a"}], "rejected": [{"text": "b"}]}, "no list of messages and no text"),
        ("sft", {"messages": "hello"}, "The column 'messages' holds 'hello', which is no list of messages."),
        ("kto", {"prompt": "a", "completion": "b", "label": "good"}, "'label' holds 'good'"),
    ],
)
def test_a_dataset_that_does_not_fit_the_method_is_refused_by_its_columns(bench, method, row, says):
    with pytest.raises(exits.DataError) as caught:
        load(bench, method, dataset_name=str(bench.rows([row])))
    assert says in caught.value.message
    assert caught.value.cure


@pytest.mark.parametrize(
    ("method", "row"),
    [
        ("dpo", PAIR),
        ("dpo", {"chosen": [USER, GOOD], "rejected": [USER, BAD]}),
        ("sft", {"messages": [USER, GOOD]}),
        ("sft", {"text": "a"}),
        ("sft", {"conversations": [{"from": "human", "value": "a"}]}),
        ("kto", {"prompt": [USER], "completion": [GOOD], "label": True}),
        ("kto", PAIR),
        ("cpo", PAIR),
    ],
)
def test_the_formats_that_trl_reads_are_accepted(bench, method, row):
    assert load(bench, method, dataset_name=str(bench.rows([row])))[0].num_rows == 1


def test_sft_reads_the_text_field_that_the_user_names(bench):
    folder = str(bench.rows([{"story": "once"}]))
    assert load(bench, "sft", dataset_name=folder, dataset_text_field="story")[0].num_rows == 1
    with pytest.raises(exits.DataError, match="`text`"):
        load(bench, "sft", dataset_name=folder)


def test_rows_without_a_value_are_counted(bench):
    with pytest.raises(exits.DataError, match="'chosen' has no value in 2 of 3 rows"):
        load(bench, dataset_name=str(bench.rows([PAIR, {**PAIR, "chosen": None}, {**PAIR, "chosen": None}])))


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"dataset_name": "/no/such/folder"}, exits.ModelUnavailable, "there is no file or folder /no/such/folder"),
        ({"dataset_name": None}, exits.UserError, "spec.dataset.datasetName"),
        ({"dataset_train_split": "train_prefs"}, exits.DataError, "no split 'train_prefs'; it has: train, test"),
        ({"dataset_config": "english"}, exits.UserError, "english"),
        ({"datasets": [{"path": "/nowhere"}]}, exits.ModelUnavailable, "spec.dataset.datasets[0].path"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_dataset_that_cannot_be_found_is_named(bench, fields, error, says):
    with pytest.raises(error) as caught:
        load(bench, **fields)
    assert says in str(caught.value)
    assert caught.value.cure


def test_a_missing_test_split_says_how_to_do_without(bench):
    with pytest.raises(exits.DataError, match="has: train") as caught:
        load(bench, dataset_name=str(bench.rows([PAIR])), eval_strategy="epoch")
    assert "spec.training.evalStrategy to no" in caught.value.cure


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("train.jsonl", "{not json", exits.DataError),
        ("notes.md", "nothing", exits.ModelUnavailable),
    ],
)
def test_files_that_hold_no_rows_are_refused(bench, tmp_path, name, content, error):
    (tmp_path / name).write_text(content)
    with pytest.raises(error) as caught:
        load(bench, dataset_name=str(tmp_path))
    assert caught.value.cure


def test_an_unknown_kind_of_file_is_refused(bench, tmp_path):
    (tmp_path / "rows.xml").write_text("<a/>")
    with pytest.raises(exits.UserError, match="unknown kind"):
        load(bench, dataset_name=str(tmp_path / "rows.xml"))


def test_a_wrong_column_is_told_before_the_model_is_looked_at(bench):
    recipe = bench.recipe(model_name_or_path="/no/such/model", dataset_name=str(bench.rows([{"text": "a"}])))
    with pytest.raises(exits.DataError):
        bench.run(recipe)


def test_local_paths_never_ask_the_network(bench, monkeypatch):
    import datasets.config
    import huggingface_hub.constants

    asked: list[Any] = []

    def refuse(*address: Any, **_: Any) -> None:
        asked.append(address)
        raise ConnectionRefusedError("no network in this test")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert train.run(*bench.files(bench.recipe(max_steps=1))) == {"model": "."}
    assert asked == []
    with pytest.raises(Exception, match=r".*"):  # a hub's name does ask: the test would see it
        load(bench, dataset_name="nobody/nothing")
    assert asked
