"""The record: one line of JSON for each row of each side, so that a table can be made of several runs."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dev.cluster.layout import cache

DEFAULT = cache() / "bench-operator" / "record.jsonl"


@dataclass(frozen=True)
class Entry:
    """`session`: all rows of one start of the benchmark, on one API server; `round` counts the alternations in it."""

    session: str
    commit: str
    machine: str
    row: str
    side: str
    size: int
    round: int
    figures: dict[str, Any]


def session() -> str:
    """When this run began."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def commit() -> str:
    """The checkout's commit, with a plus when files differ from it."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    clean = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "operator"]).returncode == 0
    return head + ("" if clean else "+")


def append(path: Path, entry: Entry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(asdict(entry)) + "\n")


def read(path: Path) -> list[Entry]:
    """All entries in the order in which they were made; none when there is no such file."""
    if not path.exists():
        return []
    return [Entry(**json.loads(line)) for line in path.read_text().splitlines()]
