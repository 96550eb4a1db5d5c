"""The journal knows how every attempt ended, even those that could not say so."""

import json

import pytest

from alignment_trainer.exits import StorageError
from alignment_trainer.journal import Attempt, Journal, lost_steps, next_number, without_progress

PREEMPTED = {"class": "Preempted", "step": 7}
FAILED = {"class": "Internal", "step": 7}


def test_the_first_attempt_is_number_one(tmp_path):
    assert next_number(Journal(tmp_path).attempts()) == 1


def test_attempts_are_read_back_in_order(tmp_path):
    journal = Journal(tmp_path)
    journal.start(1, 0)
    journal.end(1, **PREEMPTED)
    journal.start(2, 5)
    first, second = Journal(tmp_path).attempts()
    assert (first.number, first.step, first.preempted) == (1, 7, True)
    assert (second.number, second.checkpoint_step, second.end) == (2, 5, {})
    assert next_number([first, second]) == 3
    assert next_number([first, second], begun_elsewhere=True) == 2
    assert next_number([first], begun_elsewhere=True) == 2


def test_an_attempt_that_was_killed_gets_its_end_from_the_heartbeat(tmp_path):
    journal = Journal(tmp_path)
    journal.start(1, 0)
    journal.beat(1, 12345, 20000)
    journal.beat(1, 7, 20)  # shorter text over longer text
    Journal(tmp_path).start(2, 5)
    first, _ = Journal(tmp_path).attempts()
    assert first.end["class"] == "Killed"
    assert first.step == 7


def test_the_heartbeat_of_another_attempt_does_not_count(tmp_path):
    journal = Journal(tmp_path)
    journal.start(1, 0)
    journal.beat(1, 9, 20)
    journal.start(2, 5)
    (tmp_path / "heartbeat").write_text(json.dumps({"attempt": 1, "step": 9}))
    Journal(tmp_path).start(3, 5)
    assert Journal(tmp_path).attempts()[1].step == 5


@pytest.mark.parametrize("torn", ['{"event": "end", "att', "\x00\x00\x00", "[]", '{"event": "end"}'])
def test_a_torn_line_harms_only_itself(tmp_path, torn):
    journal = Journal(tmp_path)
    journal.start(1, 0)
    with journal.path.open("a") as file:
        file.write(torn)
    journal.end(1, **FAILED)
    assert Journal(tmp_path).attempts()[0].end["class"] == "Internal"


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used") as caught:
        Journal(tmp_path / "file" / "out").start(1, 0)
    assert "spec.output.volume" in caught.value.cure


@pytest.mark.parametrize(
    ("reached", "resumed_from", "lost"),
    [([], 0, 0), ([9], 5, 4), ([9, 7], 5, 4), ([5], 5, 0), ([3], 5, 0), ([9], 0, 9)],
)
def test_lost_steps_count_from_the_furthest_attempt(reached, resumed_from, lost):
    attempts = [Attempt(n, 0, {"step": step}) for n, step in enumerate(reached, 1)]
    assert lost_steps(attempts, resumed_from) == lost


@pytest.mark.parametrize(
    ("attempts", "checkpoint_step", "count"),
    [
        ([], 0, 0),
        ([(0, FAILED)] * 4, 0, 4),
        ([(0, FAILED)] * 4 + [(0, PREEMPTED)], 0, 0),
        ([(0, PREEMPTED)] + [(0, FAILED)] * 3, 0, 3),
        ([(0, FAILED)] * 3 + [(5, FAILED)] * 2, 5, 2),
        ([(0, FAILED)] * 5, 5, 0),
        ([(0, {})] * 3, 0, 3),
    ],
)
def test_attempts_without_progress_are_those_in_a_row(attempts, checkpoint_step, count):
    listed = [Attempt(n, step, end) for n, (step, end) in enumerate(attempts, 1)]
    assert without_progress(listed, checkpoint_step) == count
