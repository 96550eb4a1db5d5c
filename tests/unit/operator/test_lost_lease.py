"""What ends the process is the Lease alone, or something that somebody has to read."""

from __future__ import annotations

import pytest

from alignment_operator.leader import LeaseLost, only_lost

LOST, CRASH = LeaseLost("not renewed"), KeyError("spec")


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        (ExceptionGroup("", [LOST]), LOST),
        (ExceptionGroup("", [LOST, ExceptionGroup("workers", [LOST, LOST])]), LOST),
        (ExceptionGroup("", [ExceptionGroup("workers", [LOST])]), LOST),
        (ExceptionGroup("", [CRASH]), None),
        (ExceptionGroup("", [LOST, CRASH]), None),
        (ExceptionGroup("", [ExceptionGroup("workers", [LOST, CRASH])]), None),
    ],
    ids=["lease", "lease and workers", "a worker", "crash", "lease and crash", "a worker, and another's crash"],
)
def test_a_lost_lease_is_told_as_one_only_where_nothing_else_went_wrong(
    failures: ExceptionGroup, told: LeaseLost | None
) -> None:
    assert only_lost(failures) is told
