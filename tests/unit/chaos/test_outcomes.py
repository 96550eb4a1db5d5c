"""A job is compared with the control job of its script."""

from __future__ import annotations

from tests.chaos.outcomes import differences, outcome
from tests.chaos.scripts import SCRIPTS, Plan


def job(name: str, namespace: str, **status: object) -> dict:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {}, "status": status}


PLAN = Plan(0.0, "complete-007", SCRIPTS[0], {})
CONTROL = {"complete": job("complete", "control", phase="Complete", jobName="complete-r1", startTime="then")}
SPACES = ("chaos", "control")


def test_names_times_and_uids_make_no_difference() -> None:
    ended = job("complete-007", "chaos", phase="Complete", jobName="complete-007-r1", startTime="now", jobUID="u")
    assert differences([PLAN], {"complete-007": ended}, CONTROL, SPACES) == []


def test_names_of_pods_make_no_difference() -> None:
    texts = [f"Pod complete-r1-0-{tail} failed." for tail in ("abcde", "x7z2q")]
    first, second = (outcome(job("complete", "chaos", failure={"message": text})) for text in texts)
    assert first == second


def test_another_end_is_named_with_its_place() -> None:
    ended = job("complete-007", "chaos", phase="Failed", jobName="complete-007-r1")
    (found,) = differences([PLAN], {"complete-007": ended}, CONTROL, SPACES)
    assert 'status.phase is "Failed", not "Complete"' in found


def test_a_job_that_is_missing_and_one_that_should_be_are_found() -> None:
    (found,) = differences([PLAN], {}, CONTROL, SPACES)
    assert "status is null" in found
    (found,) = differences([PLAN], {"complete-007": job("complete-007", "chaos", phase="Pending")}, {}, SPACES)
    assert "not null" in found
