"""The first micro-batch is compared on a window of each row: cheap, and it holds what is scored."""

from __future__ import annotations

import torch

from alignment_trainer.fast.first_batch import _LEAD, _WINDOW, _few_tokens


def batch(*rows: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Rows of (unscored, scored) tokens, ids counting from 0, padded on the right."""
    length = max(map(sum, rows))
    ids, mask = torch.arange(length).repeat(len(rows), 1), torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, (prompt, scored) in enumerate(rows):
        mask[row, : prompt + scored] = 1
        labels[row, prompt : prompt + scored] = ids[row, prompt : prompt + scored]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def test_a_window_ends_the_prompt_and_begins_what_is_scored() -> None:
    cut = _few_tokens(batch((200, 300), (200, 150)))
    assert cut["input_ids"].shape == (2, _WINDOW)
    assert cut["input_ids"][:, 0].tolist() == [200 - _LEAD] * 2
    assert (cut["labels"] != -100).sum(1).tolist() == [_WINDOW - _LEAD] * 2
    assert cut["attention_mask"].all()


def test_both_sides_of_each_pair_begin_at_the_same_token() -> None:
    cut = _few_tokens(batch((100, 50), (300, 50), (100, 20), (300, 9)))  # two chosen, two rejected
    assert cut["input_ids"][:, 0].tolist() == [100 - _LEAD, 300 - _LEAD] * 2


def test_what_lies_behind_the_end_is_padding() -> None:
    cut = _few_tokens(batch((90, 10), (90, 4)))
    assert cut["attention_mask"].sum(1).tolist() == [_LEAD + 10, _LEAD + 4]
    assert (cut["labels"] != -100).sum(1).tolist() == [10, 4]
    assert ((cut["labels"] == -100) | (cut["attention_mask"] == 1)).all()


def test_short_rows_stay_whole() -> None:
    given = batch((5, 6), (5, 3))
    cut = _few_tokens(given)
    assert all(torch.equal(cut[name], given[name]) for name in given)
