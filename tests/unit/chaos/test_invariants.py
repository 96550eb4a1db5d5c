"""Every invariant is broken by a log that breaks it, and by no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos import invariants
from tests.unit.chaos.forged import OPERATORS, START, Log, alignment_job, child, lease, pod

LEADER, STANDBY = OPERATORS
NEVER = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def log() -> Log:
    return Log()


def broken(log: Log, present: set[str] | None = None, idle_since: datetime = NEVER) -> dict[str, list[str]]:
    """What was found, by invariant, without those that hold."""
    found = invariants.all_of(log.history, OPERATORS, present or set(), "alignment-operator", idle_since)
    return {name: what for name, what in found.items() if what}


def only(log: Log, name: str, words: str, present: set[str] | None = None) -> None:
    """One thing was found, by that invariant, and says these words."""
    found = broken(log, present)
    assert list(found) == [name], found
    (what,) = found[name]
    assert words in what


TWO_JOBS = "never two Jobs for one AlignmentJob and run"
BACK = "no run goes back from its end"
EMPTY = "no write without a change"
ORPHANS = "nothing is orphaned"
LATE = "no report after the end, nor of another run"
FENCE = "no write of a replica while another holds the Lease"


REPORTED = "/apis/x?fieldManager=alignment-operator-progress&force=true"


def report(of: int = 1, ended: str = "") -> dict:
    """The AlignmentJob with a report in its status."""
    return alignment_job(run=1, ended=ended, progress={"run": of, "step": 3})


def test_an_undisturbed_life_breaks_nothing(log: Log) -> None:
    log.write(LEADER, "update", "leases", lease("replica-0_a"))
    log.write("admin", "create", "alignmentjobs", alignment_job())
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(run=1), subresource="status")
    log.write(LEADER, "create", "configmaps", child(uid="config-1"))
    log.write(LEADER, "create", "jobs", child())
    log.write("job-controller", "create", "pods", pod(phase="Pending"))
    log.write("kwok", "patch", "pods", pod(phase="Succeeded"), subresource="status")
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(run=1, ended="Complete"), subresource="status")
    assert broken(log, {"aj-1", "config-1", "job-1", "pod-1"}) == {}


def test_a_job_deleted_by_hand_and_made_again_breaks_nothing(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job())
    first = log.write(LEADER, "create", "jobs", child())
    log.write("job-controller", "create", "pods", pod())
    log.delete("admin", "jobs", first)
    log.write("kwok", "patch", "pods", pod(phase="Failed"), subresource="status")
    log.write(LEADER, "create", "jobs", child(uid="job-2"))
    assert broken(log) == {}


def test_a_second_job_of_another_name_for_the_run_is_found(log: Log) -> None:
    log.write(LEADER, "create", "jobs", child())
    log.write(LEADER, "create", "jobs", child(name="demo-again", uid="job-2"))
    only(log, TWO_JOBS, "was made beside")


def test_a_job_made_again_after_the_operator_deleted_it_is_found(log: Log) -> None:
    first = log.write(LEADER, "create", "jobs", child())
    log.delete(LEADER, "jobs", first)
    log.write(STANDBY, "create", "jobs", child(uid="job-2"))
    only(log, TWO_JOBS, "whose Job the operator had deleted")


def test_a_job_made_while_a_pod_of_the_run_still_runs_is_found(log: Log) -> None:
    first = log.write(LEADER, "create", "jobs", child())
    log.write("job-controller", "create", "pods", pod())
    log.delete("admin", "jobs", first)
    log.write(LEADER, "create", "jobs", child(uid="job-2"))
    only(log, TWO_JOBS, "could still write")


def test_a_pod_of_a_deleted_alignment_job_of_that_name_counts_too(log: Log) -> None:
    log.write("job-controller", "create", "pods", pod(owner="job-0"))
    log.write(LEADER, "create", "jobs", child(uid="job-2", owner="aj-2"))
    only(log, TWO_JOBS, "could still write")


def test_a_job_made_after_the_runs_end_is_found(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job())
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(run=1, ended="Failed"), subresource="status")
    log.write(LEADER, "create", "jobs", child())
    only(log, TWO_JOBS, "after the end of run 1")


def test_jobs_of_two_runs_are_no_second_job(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job())
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(run=1, ended="Failed"), subresource="status")
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(run=2), subresource="status")
    log.write(LEADER, "create", "jobs", child(name="demo-r2", uid="job-2", run="2"))
    assert broken(log) == {}


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (alignment_job(run=1), "became not ended"),
        (alignment_job(run=1, ended="Failed"), "was Complete/Because and became Failed/Because"),
        (alignment_job(run=0), "went from run 1 back to 0"),
    ],
)
def test_a_run_that_goes_back_from_its_end_is_found(log: Log, after: dict, words: str) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job())
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(run=1, ended="Complete"), subresource="status")
    log.write(LEADER, "patch", "alignmentjobs", after, subresource="status")
    only(log, BACK, words)


def test_the_order_is_that_of_the_resource_versions_not_of_the_lines(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job())
    late = alignment_job(run=1, ended="Complete")
    log.write(LEADER, "patch", "alignmentjobs", late, version=9, subresource="status")
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(run=1), version=8, subresource="status")
    assert broken(log) == {}


def test_a_patch_that_moves_no_resource_version_is_found(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job())
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(), version=1, subresource="status")
    only(log, EMPTY, "the resourceVersion did not move")


def test_an_update_with_equal_content_is_found(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job(run=1))
    log.write(LEADER, "update", "alignmentjobs", alignment_job(run=1))
    only(log, EMPTY, "nothing but the resourceVersion moved")


def test_an_empty_write_of_anybody_else_is_not_ours(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job(run=1))
    log.write("argocd", "patch", "alignmentjobs", alignment_job(run=1), version=1)
    assert broken(log) == {}


def test_a_refused_write_is_none(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job(run=1))
    log.write(LEADER, "update", "alignmentjobs", alignment_job(run=1), code=409)
    log.write(LEADER, "update", "alignmentjobs", alignment_job(run=1), uri="/?dryRun=All")
    assert broken(log) == {}


@pytest.mark.parametrize("resource", ["jobs", "configmaps", "services"])
def test_a_child_that_outlives_its_owner_is_found(log: Log, resource: str) -> None:
    parent = log.write("admin", "create", "alignmentjobs", alignment_job())
    log.write(LEADER, "create", resource, child(uid="child-1"))
    log.delete("admin", "alignmentjobs", parent)
    only(log, ORPHANS, "was deleted", {"child-1"})
    assert broken(log, set()) == {}, "it has gone too"


def test_a_pod_without_its_job_and_a_child_without_any_owner_are_found(log: Log) -> None:
    log.write("job-controller", "create", "pods", pod(owner="job-9", phase="Succeeded"))
    only(log, ORPHANS, "never was", {"pod-1"})


def test_a_write_while_the_other_replica_holds_the_lease_is_found(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job())
    log.write(LEADER, "update", "leases", lease("replica-0_a"))
    log.write(STANDBY, "update", "leases", lease("replica-1_b"))
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(run=1), subresource="status")
    only(log, FENCE, "the Lease was replica-1's")


def test_any_replica_may_write_progress(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job(run=1))
    log.write(LEADER, "update", "leases", lease("replica-0_a"))
    log.write(STANDBY, "patch", "alignmentjobs", report(), subresource="status", uri=REPORTED)
    assert broken(log) == {}


def test_a_report_that_is_written_after_the_end_is_found(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job(run=1, ended="Complete"))
    log.write(STANDBY, "patch", "alignmentjobs", report(ended="Complete"), subresource="status", uri=REPORTED)
    only(log, LATE, "after the end of run 1")


def test_a_report_of_another_run_is_found(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job(run=1))
    log.write(STANDBY, "patch", "alignmentjobs", report(of=2), subresource="status", uri=REPORTED)
    only(log, LATE, "of another run than 1")


def test_a_write_when_nothing_happens_any_more_is_found(log: Log) -> None:
    log.write("admin", "create", "alignmentjobs", alignment_job())
    log.write(LEADER, "patch", "alignmentjobs", alignment_job(run=1), subresource="status")
    log.write(LEADER, "update", "leases", lease("replica-0_a"))
    log.write("admin", "patch", "alignmentjobs", alignment_job(run=1, note="x"))
    assert broken(log, idle_since=START + timedelta(seconds=2.5)) == {}
    found = broken(log, idle_since=START + timedelta(seconds=1.5))
    assert list(found) == ["no write when nothing happens"]
