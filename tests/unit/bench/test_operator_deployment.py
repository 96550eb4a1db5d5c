"""A controller that ends to be started again is, as a Deployment would; any other end is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.operator.deployment import Deployment, backoff
from dev.simulated.processes import ClusterError, Process


@contextmanager
def deployed(folder: Path, script: str) -> Iterator[Deployment]:
    one = Deployment(Process("controller", ["sh", "-c", script], folder / "controller.log"))
    one.start()
    try:
        yield one
    finally:
        one.stop()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_controller_that_lost_its_lease_is_started_again_and_counted(tmp_path: Path) -> None:
    first = f"[ -e {tmp_path}/again ] && exec sleep 60; touch {tmp_path}/again; exit {os.EX_TEMPFAIL}"
    with deployed(tmp_path, first) as one:
        until(lambda: one.restarts == 1 and one.process.running)
        one.check()
    assert not one.process.running
    assert one.restarts == 1


@pytest.mark.parametrize("code", [0, 1])
def test_a_controller_that_ends_otherwise_stays_ended_and_its_log_is_told(tmp_path: Path, code: int) -> None:
    with deployed(tmp_path, f"echo broken; exit {code}") as one:
        until(lambda: one.process.exit_code is not None)
        time.sleep(0.5)
        assert one.restarts == 0
        with pytest.raises(ClusterError, match=f"ended with {code}: broken"):
            one.check()


def test_the_waits_between_starts_are_the_kubelets() -> None:
    assert [backoff(restarts) for restarts in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
