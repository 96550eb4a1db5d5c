"""The store of reference log-probabilities: what is written is read back, and nothing that is not sound is read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from alignment_trainer.reference_cache import LEFTOVER_SECONDS, ReferenceCache, canonical, checksum, key

INGREDIENTS = {"model": {"repository": "team/model", "commit": "c0ffee"}, "maxLength": 512, "ldAlpha": None}
NAMES = ["ref_chosen_logps", "ref_rejected_logps"]
ROWS = 100

# Writes the same entry again and again, whole, until it is killed
WRITER = """
import sys
import numpy as np
from pathlib import Path
from alignment_trainer.reference_cache import ReferenceCache

columns = {name: np.full(int(sys.argv[2]), float(sys.argv[3]), np.float32) for name in sys.argv[4:]}
while True:
    ReferenceCache(Path(sys.argv[1])).write({"entry": 1}, columns)
    print("written", flush=True)
"""


@pytest.fixture
def cache(tmp_path: Path) -> ReferenceCache:
    return ReferenceCache(tmp_path / "entries")


def columns(rows: int = ROWS) -> dict[str, np.ndarray]:
    return {name: np.linspace(-900, -1, rows, dtype=np.float32) + index for index, name in enumerate(NAMES)}


def test_what_is_written_is_read_back_bit_by_bit(cache: ReferenceCache) -> None:
    assert cache.read(INGREDIENTS, NAMES, ROWS) is None
    cache.write(INGREDIENTS, columns())
    found = cache.read(INGREDIENTS, NAMES, ROWS)
    assert found is not None
    assert {name: column.tobytes() for name, column in found.items()} == {
        name: column.tobytes() for name, column in columns().items()
    }
    assert cache.read({**INGREDIENTS, "maxLength": 256}, NAMES, ROWS) is None


def test_the_key_does_not_depend_on_the_order_of_the_ingredients() -> None:
    assert key(INGREDIENTS) == key(dict(reversed(INGREDIENTS.items())))
    assert key(INGREDIENTS) != key({**INGREDIENTS, "ldAlpha": 0.5})


def forge(path: Path, **changes: np.ndarray) -> None:
    """An entry whose header is right for numbers that are not."""
    forged = {**columns(), **changes}
    save_file(forged, path, metadata={"ingredients": canonical(INGREDIENTS), "checksum": checksum(forged)})


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "no safetensors file": (lambda path: path.write_bytes(b"<html>502 Bad Gateway</html>" * 9), "cannot be read"),
    "one bit flipped": (flip_last_byte, "checksum"),
    "not a number": (lambda path: forge(path, ref_chosen_logps=np.full(ROWS, np.nan, np.float32)), "not finite"),
    "infinite": (lambda path: forge(path, ref_chosen_logps=np.full(ROWS, -np.inf, np.float32)), "not finite"),
    "fewer rows": (lambda path: forge(path, ref_chosen_logps=np.zeros(ROWS - 1, np.float32)), "100 rows"),
    "another column": (lambda path: forge(path, ref_logps=np.zeros(ROWS, np.float32)), "ref_chosen_logps"),
    "without header": (lambda path: save_file(columns(), path), "something else"),
    "no file": (lambda path: (path.unlink(), path.mkdir()), ""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_reported_and_counts_as_absent(
    cache: ReferenceCache, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write(INGREDIENTS, columns())
    apply, why = DAMAGES[damage]
    apply(cache.path(INGREDIENTS))
    assert cache.read(INGREDIENTS, NAMES, ROWS) is None
    assert "computed again" in caplog.text
    assert why in caplog.text


def test_an_entry_under_the_name_of_another_is_not_taken_for_it(cache: ReferenceCache) -> None:
    other = {**INGREDIENTS, "maxLength": 256}
    cache.write(INGREDIENTS, columns())
    cache.path(INGREDIENTS).rename(cache.path(other))
    assert cache.read(other, NAMES, ROWS) is None


def test_numbers_that_are_not_finite_are_not_kept(cache: ReferenceCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.write(INGREDIENTS, {**columns(), "ref_chosen_logps": np.full(ROWS, np.nan, np.float32)})
    assert not cache.path(INGREDIENTS).exists()
    assert "not kept" in caplog.text


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    ReferenceCache(tmp_path / "file" / "entries").write(INGREDIENTS, columns())
    assert "not kept" in caplog.text


def test_leftovers_of_killed_writers_go_after_a_day(cache: ReferenceCache) -> None:
    cache.write(INGREDIENTS, columns())
    old, young = (cache.folder / f".{key(INGREDIENTS)}.safetensors.{name}" for name in ("old", "young"))
    for file in (old, young):
        file.write_bytes(b"half")
    yesterday = time.time() - LEFTOVER_SECONDS - 60
    os.utime(old, (yesterday, yesterday))
    cache.write(INGREDIENTS, columns())
    assert not old.exists()
    assert young.exists()


def start_writer(folder: Path, rows: int, value: float) -> subprocess.Popen[bytes]:
    arguments = [str(folder), str(rows), str(value), *NAMES]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE)


def wait_for_half_an_entry(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size for file in folder.glob(".*.safetensors.*") if file.exists()):
        assert time.monotonic() < deadline


def test_writers_that_are_killed_while_they_write_and_disturb_each_other_leave_whole_entries(
    cache: ReferenceCache, caplog: pytest.LogCaptureFixture
) -> None:
    rows = 4_000_000
    writers = [start_writer(cache.folder, rows, value) for value in (-1.0, -2.0, -3.0)]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers:
        found = cache.read({"entry": 1}, NAMES, rows)
        assert found is not None
        assert len({float(value) for column in found.values() for value in np.unique(column)}) == 1, "of one writer"
        wait_for_half_an_entry(cache.folder)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert any(cache.folder.glob(".*.safetensors.*")), "the last one was killed while it wrote"
    assert cache.read({"entry": 1}, NAMES, rows) is not None
    assert caplog.text == ""
