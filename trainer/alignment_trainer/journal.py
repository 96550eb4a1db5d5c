"""The journal of a run: how every attempt began and ended, on the output volume, so that the next one can know.

`attempts.jsonl` has one line per event: `start` (with the step of the checkpoint that the attempt found) and `end`.
An attempt that is killed writes no end; the `heartbeat` file says how far it came, and the next attempt writes the end
for it. Only the launcher of the pod with index 0 writes; all writes are small and survive a torn last line.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .exits import StorageError

HEARTBEAT_BYTES = 128


def timestamp() -> str:
    """Now as RFC 3339 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Attempt:
    """One attempt as the journal tells it. Steps are counts of optimizer steps."""

    number: int
    checkpoint_step: int = 0  # complete checkpoint that it found at its start
    end: dict[str, Any] = field(default_factory=dict)  # empty: no end was written

    @property
    def step(self) -> int:
        """Last step that it is known to have finished."""
        return max(int(self.end.get("step") or 0), self.checkpoint_step)

    @property
    def preempted(self) -> bool:
        return self.end.get("class") == "Preempted"


class Journal:
    """Reads and writes the journal in `folder` (run.yaml: outputPath)."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "attempts.jsonl"
        self._heartbeat: int | None = None

    def attempts(self) -> list[Attempt]:
        """Every attempt, oldest first. Lines that are torn or not understood are skipped."""
        found: dict[int, Attempt] = {}
        for event in self._events():
            attempt = found.setdefault(event["attempt"], Attempt(event["attempt"]))
            if event["event"] == "start":
                attempt.checkpoint_step = int(event.get("checkpointStep") or 0)
            else:
                attempt.end = event
        return [found[number] for number in sorted(found)]

    def start(self, number: int, checkpoint_step: int, **facts: Any) -> None:
        """Note that an attempt begins, after closing those before it that ended without a word."""
        self._close_unfinished()
        self._append({"event": "start", "attempt": number, "checkpointStep": checkpoint_step, **facts})
        try:
            self.beat(number, checkpoint_step, None)
        except OSError as error:
            raise _unusable(self.folder, error) from error

    def end(self, number: int, **facts: Any) -> None:
        self._append({"event": "end", "attempt": number, **facts})

    def beat(self, number: int, step: int, total_steps: int | None) -> None:
        """Note how far the attempt is: one small write in place, cheap enough for every step. Raises OSError."""
        text = json.dumps({"attempt": number, "step": step, "totalSteps": total_steps, "time": timestamp()})
        if self._heartbeat is None:
            self._heartbeat = os.open(self.folder / "heartbeat", os.O_WRONLY | os.O_CREAT, 0o664)
        os.pwrite(self._heartbeat, text.ljust(HEARTBEAT_BYTES - 1).encode() + b"\n", 0)

    def _close_unfinished(self) -> None:
        beat = self._last_beat()
        for attempt in self.attempts():
            if attempt.end:
                continue
            step = beat.get("step", 0) if beat.get("attempt") == attempt.number else attempt.checkpoint_step
            message = "The attempt ended without a word: killed from outside, or its node was lost."
            facts = {"outcome": "Failed", "class": "Killed", "message": message, "step": step, "writtenLater": True}
            self.end(attempt.number, **facts)

    def _last_beat(self) -> dict[str, Any]:
        try:
            beat = json.loads((self.folder / "heartbeat").read_text())
        except (OSError, ValueError):
            return {}
        return beat if isinstance(beat, dict) else {}

    def _events(self) -> list[dict[str, Any]]:
        try:
            lines = self.path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(self.folder, error) from error
        return [event for event in map(_parse, lines) if event is not None]

    def _append(self, event: dict[str, Any]) -> None:
        """Raises StorageError: an attempt that cannot even write its journal cannot write a checkpoint."""
        line = json.dumps({**event, "time": timestamp()}) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell() and not self._ends_with_newline(file):
                    line = "\n" + line
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unusable(self.folder, error) from error

    @staticmethod
    def _ends_with_newline(file: Any) -> bool:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _parse(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    valid = isinstance(event, dict) and isinstance(event.get("attempt"), int) and event.get("event") in ("start", "end")
    return event if valid else None


def _unusable(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The output folder {folder} cannot be used: {error.strerror or error}.",
        cure="Check spec.output.volume: free space, and that the pod's user (fsGroup) may write to it.",
    )


def next_number(attempts: list[Attempt], begun_elsewhere: bool = False) -> int:
    """Number of the attempt that begins now, from 1.

    begun_elsewhere: the pod with index 0 may have noted its start already. A guess, until rank 0 tells the number.
    """
    if begun_elsewhere and attempts and not attempts[-1].end:
        return attempts[-1].number
    return attempts[-1].number + 1 if attempts else 1


def lost_steps(attempts: list[Attempt], resumed_from: int) -> int:
    """Steps that an earlier attempt had finished and that must be done again from `resumed_from`."""
    return max([attempt.step - resumed_from for attempt in attempts] + [0])


def without_progress(attempts: list[Attempt], checkpoint_step: int) -> int:
    """How many attempts in a row, up to the last, ended (not by SIGTERM) without a newer checkpoint than they found.

    checkpoint_step: step of the latest complete checkpoint now.
    """
    count = 0
    for attempt in reversed(attempts):
        if attempt.preempted or attempt.checkpoint_step < checkpoint_step:
            break
        count += 1
    return count
