"""`python -m bench.operator`: the operator and Kubeflow Trainer beside each other on one simulated cluster, in turn.

Every figure comes from outside: the API server's audit log, /proc, the endpoint's answers. Results are appended to
a record, so that rows may be measured in several runs; `--table` prints what the record has.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.train.measure import processor
from dev.cluster.binaries import provide
from dev.cluster.layout import here
from dev.cluster.tools import BY_NAME
from dev.simulated.cluster import PROGRAMS, simulated_cluster

from . import record, rows, table
from .kubeflow import Kubeflow
from .load import Client
from .ours import Ours
from .record import Entry
from .sides import Side
from .stage import Stage

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "docs/contract/termination.example.json"
DEFAULT_SIZES = {"idle": [rows.SEQUENTIAL], "burst": [1000], "resident": [1000], "growth": [10000], "progress": [1000]}
OURS_ALONE = {"progress"}


def main() -> int:
    given = arguments()
    if given.table:
        say(table.tables(record.read(given.record)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every process of the cluster is ended
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-operator-")))
        if given.keep:
            folder = given.keep.resolve()
            folder.mkdir(parents=True, exist_ok=True)
        provide(here(), tuple(BY_NAME[name] for name in (*PROGRAMS, "kubectl")))
        cluster = stack.enter_context(
            simulated_cluster(folder, audit=True, pod_seconds=given.pod_seconds, message=RESULT.read_text())
        )
        stage = Stage(cluster, Client(cluster.service_account("bench", "user")))
        names = given.sides if set(given.rows) - OURS_ALONE else ["ours"]
        sides = [make(folder, given) for name, make in SIDES.items() if name in names]
        for side in sides:
            side.prepare(cluster)
        for entry in measured(stage, sides, given):
            record.append(given.record, entry)
            say(f"{entry.row} {entry.size} {entry.side}, round {entry.round}: {json.dumps(entry.figures)}")
    return 0


def measured(stage: Stage, sides: list[Side], given: argparse.Namespace) -> Iterator[Entry]:
    """Each row, size and round, the sides alternating: what slows the machine down slows both."""
    session, commit, machine = record.session(), record.commit(), processor()
    plan = list(planned(sides, given))
    for step, (row, size, number, side) in enumerate(plan, start=1):
        stage.last, restarts = step == len(plan), side.restarts
        with running(side):
            figures = rows.ROWS[row](stage, side, size)
        figures["restarts"] = side.restarts - restarts
        yield Entry(session, commit, machine, row, side.name, size, number, figures)


def planned(sides: list[Side], given: argparse.Namespace) -> Iterator[tuple[str, int, int, Side]]:
    """Row, size, round and side of every run, in order."""
    for row in given.rows:
        for size in given.sizes or DEFAULT_SIZES[row]:
            for number in range(1, given.rounds + 1):
                for side in sides:
                    if row not in OURS_ALONE or isinstance(side, Ours):
                        yield row, size, number, side


@contextmanager
def running(side: Side) -> Iterator[None]:
    side.start()
    try:
        yield
    finally:
        side.stop()


def ours(folder: Path, given: argparse.Namespace) -> Side:
    return Ours(folder, profile=given.profile)


def kubeflow(folder: Path, given: argparse.Namespace) -> Side:
    return Kubeflow(folder)


SIDES = {"ours": ours, "kubeflow": kubeflow}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.operator", description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=list(rows.ROWS), default=list(rows.ROWS), metavar="ROW")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="JOBS", help="default: what the row is about")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), metavar="SIDE")
    parser.add_argument("--rounds", type=int, default=1, help="of each row and size (default: 1)")
    parser.add_argument("--pod-seconds", type=float, default=5.0, help="how long each pod runs (default: 5)")
    parser.add_argument("--record", type=Path, default=record.DEFAULT, help=f"append there (default: {record.DEFAULT})")
    parser.add_argument("--table", action="store_true", help="print what the record has, and measure nothing")
    parser.add_argument("--keep", type=Path, help="folder for logs and state, kept; it must be empty")
    parser.add_argument("--profile", type=Path, help="run our operator under cProfile and write its statistics there")
    return parser.parse_args()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
