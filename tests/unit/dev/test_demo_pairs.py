"""The demonstration's data: formats, which rows it takes, and that held-out prompts stay held out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dev.demo import fetch, pairs


def sharegpt(prompt: str, chosen: str = "good", rejected: str = "bad") -> dict[str, Any]:
    return {
        "conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": prompt}],
        "chosen": {"from": "gpt", "value": chosen},
        "rejected": {"from": "gpt", "value": rejected},
    }


def test_turns_become_messages_with_the_roles_of_chat_templates() -> None:
    assert pairs.convert([sharegpt("hi")]) == [
        {
            "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
            "chosen": [{"role": "assistant", "content": "good"}],
            "rejected": [{"role": "assistant", "content": "bad"}],
        }
    ]


def test_an_unknown_role_is_an_error_and_no_silent_user() -> None:
    with pytest.raises(KeyError, match="tool"):
        pairs.convert([{**sharegpt("hi"), "chosen": {"from": "tool", "value": "x"}}])


LIMIT = pairs.PROMPT_CHARACTERS - len("Be brief.")


@pytest.mark.parametrize(
    ("prompt", "answer", "kept"),
    [
        pytest.param("x" * LIMIT, "short", 1, id="at-the-limit"),
        pytest.param("x" * (LIMIT + 1), "short", 0, id="one-character-too-long-system-message-included"),
        pytest.param("x", "long " * 1000, 1, id="a-long-answer-is-cut-in-training-not-here"),
    ],
)
def test_only_pairs_with_a_short_prompt_are_taken(prompt: str, answer: str, kept: int) -> None:
    assert len(pairs.short(pairs.convert([sharegpt(prompt, chosen=answer)]))) == kept


def test_conversations_end_with_the_preferred_answer() -> None:
    (row,) = pairs.conversations(pairs.convert([sharegpt("hi")]))
    assert [message["content"] for message in row["messages"]] == ["Be brief.", "hi", "good"]


def test_a_held_out_prompt_never_occurs_in_training() -> None:
    twice = [sharegpt(f"question {number}", chosen=f"{answer}") for number in range(50) for answer in "ab"]
    train, test = pairs.split(pairs.convert(twice))
    prompts = [{json.dumps(row["prompt"]) for row in part} for part in (train, test)]
    assert len(prompts[1]) == pairs.HELD_OUT
    assert not prompts[0] & prompts[1]
    assert len(train) + len(test) == len(twice)


def test_the_split_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = pairs.convert([sharegpt(f"question {number}") for number in range(50)])
    held_out = pairs.split(rows)[1]
    assert sorted(map(str, pairs.split(rows[::-1])[1])) == sorted(map(str, held_out))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A folder as fetch leaves it, with a file in place of the converted model."""
    fetch.prepare(tmp_path, [sharegpt(f"question {number}") for number in range(50)])
    (tmp_path / fetch.MODEL).mkdir()
    (tmp_path / fetch.MODEL / "model.safetensors").write_bytes(b"weights")
    fetch.record(tmp_path)
    return tmp_path


def test_what_was_fetched_is_not_made_again(whole: Path) -> None:
    assert fetch.is_whole(whole)


@pytest.mark.parametrize("part", list(fetch.PARTS))
def test_a_damaged_file_is_made_again(whole: Path, part: str) -> None:
    next((whole / part).iterdir()).write_text("damaged")
    assert not fetch.is_whole(whole)


def test_other_code_makes_its_data_again_but_keeps_the_model(whole: Path) -> None:
    facts = json.loads((whole / fetch.SUMS).read_text())
    facts[fetch.PREFERENCES]["madeFrom"] = "an earlier pairs.py"
    (whole / fetch.SUMS).write_text(json.dumps(facts))
    assert not fetch.is_whole(whole)
    assert fetch.part_is_whole(whole, fetch.MODEL)


@pytest.mark.parametrize("content", ["", "[]", '{"model.safetensors": "an older format"}'])
def test_unreadable_checksums_mean_fetch_again(whole: Path, content: str) -> None:
    (whole / fetch.SUMS).write_text(content)
    assert not fetch.is_whole(whole)


def test_sft_and_dpo_see_the_same_training_prompts(whole: Path) -> None:
    preferences, conversations = (
        [json.loads(line) for line in (whole / part / "train.jsonl").read_text().splitlines()]
        for part in (fetch.PREFERENCES, fetch.CONVERSATIONS)
    )
    assert [row["prompt"] + row["chosen"] for row in preferences] == [row["messages"] for row in conversations]
