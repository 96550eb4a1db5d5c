"""A checkpoint is complete, or it does not count."""

import json

import pytest

from alignment_trainer import checkpoint
from alignment_trainer.exits import StorageError


def write(folder, step, *, seal=True, **facts):
    path = folder / f"checkpoint-{step}"
    checkpoint.begin(path)
    (path / "model.safetensors").write_bytes(b"weights" * step)
    (path / "shards").mkdir()
    (path / "shards" / "0.distcp").write_bytes(b"optimizer")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    if seal:
        checkpoint.seal(path, **facts)
    return path


def steps(folder):
    return [found.step for found in checkpoint.complete(folder)]


def test_the_latest_is_by_step_and_not_by_name(tmp_path):
    for step in (2, 10, 9):
        write(tmp_path, step)
    assert checkpoint.latest(tmp_path).step == 10


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_without_checkpoints_there_is_none(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert checkpoint.latest(tmp_path / folder) is None


def _sentinel(path):
    (path / checkpoint.SENTINEL).write_text("")


DAMAGES = {
    "a byte is missing": lambda path: (path / "model.safetensors").write_bytes(b"weights"),
    "a file is missing": lambda path: (path / "trainer_state.json").unlink(),
    "a file in a folder is missing": lambda path: (path / "shards" / "0.distcp").unlink(),
    "the marker is missing": lambda path: (path / checkpoint.MARKER).unlink(),
    "the marker is torn": lambda path: (path / checkpoint.MARKER).write_text('{"step": 9'),
    "the sentinel stands": _sentinel,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path, damage, caplog):
    write(tmp_path, 5)
    damage(write(tmp_path, 9))
    assert checkpoint.latest(tmp_path, warn=True).step == 5
    assert "checkpoint-9 is skipped" in caplog.text


def test_what_is_still_being_written_is_not_complete(tmp_path):
    path = write(tmp_path, 9, seal=False)
    assert "being written" in checkpoint.defect(path)


def test_writing_over_a_complete_one_makes_it_incomplete_at_once(tmp_path):
    path = write(tmp_path, 9)
    checkpoint.begin(path)
    assert checkpoint.latest(tmp_path) is None


def test_a_checkpoint_of_the_model_alone_is_not_resumed_from(tmp_path, caplog):
    write(tmp_path, 5, resumable=True)
    write(tmp_path, 9, resumable=False)
    assert checkpoint.latest(tmp_path).step == 5
    (tmp_path / "checkpoint-5" / checkpoint.MARKER).unlink()
    assert checkpoint.latest(tmp_path, warn=True) is None
    assert "saveOnlyModel" in caplog.text


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [
        (None, None, [1, 2, 3]),
        (0, None, [1, 2, 3]),
        (2, None, [2, 3]),
        (1, None, [3]),
        (1, 1, [1, 3]),
        (9, 1, [1, 2, 3]),
    ],
)
def test_rotation_keeps_the_newest_and_the_best(tmp_path, limit, best, left):
    for step in (1, 2, 3):
        write(tmp_path, step)
    checkpoint.rotate(tmp_path, limit, best=str(tmp_path / f"checkpoint-{best}") if best else None)
    assert steps(tmp_path) == left


def test_rotation_keeps_the_last_one_that_can_be_resumed_from(tmp_path):
    write(tmp_path, 1)
    write(tmp_path, 2, resumable=False)
    checkpoint.rotate(tmp_path, 1)
    assert steps(tmp_path) == [1, 2]


def test_rotation_does_not_count_broken_ones_and_removes_them(tmp_path):
    write(tmp_path, 5)
    write(tmp_path, 9, seal=False)  # of an attempt that was killed; the next one resumed from 5
    write(tmp_path, 6)
    checkpoint.rotate(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-6"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_rotation_never_deletes_the_last_good_one_for_a_damaged_newer_one(tmp_path, damage):
    for step in (3, 5):
        write(tmp_path, step)
    damage(write(tmp_path, 9))
    checkpoint.rotate(tmp_path, 1)
    assert steps(tmp_path) == [5]
    assert checkpoint.latest(tmp_path).step == 5


def test_rotation_without_a_complete_one_deletes_nothing(tmp_path):
    write(tmp_path, 9, seal=False)
    checkpoint.rotate(tmp_path, 1)
    assert (tmp_path / "checkpoint-9").exists()


def test_a_disk_that_does_not_take_it_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="checkpoint-3 could not be written"):
        checkpoint.begin(tmp_path / "file" / "checkpoint-3")
