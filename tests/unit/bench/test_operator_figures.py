"""Calls out of the audit log: who called what, and how long a job waited for its Job."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bench.operator import calls, table
from bench.operator.record import Entry

BEGIN = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
OPERATOR = "system:serviceaccount:alignment-operator:alignment-operator"


def event(verb: str, resource: str, name: str = "", *, at: float = 0.0, took: float = 0.01, **more: Any) -> dict:
    """An audit event; `resource` may have a subresource. Times are seconds after BEGIN."""
    kind, _, subresource = resource.partition("/")
    about = {"resource": kind, "namespace": "bench", "name": name} | (
        {"subresource": subresource} if subresource else {}
    )
    return {
        "verb": verb,
        "user": {"username": more.get("user", OPERATOR)},
        "objectRef": about,
        "responseStatus": {"code": more.get("code", 200)},
        "requestReceivedTimestamp": (BEGIN + timedelta(seconds=at)).isoformat(),
        "stageTimestamp": (BEGIN + timedelta(seconds=at + took)).isoformat(),
    }


def parsed(*events: dict) -> list[calls.Call]:
    return [calls.parse_line(json.dumps(one).encode()) for one in events]


def test_latency_runs_from_the_objects_create_received_to_its_jobs_create_answered():
    found = parsed(
        event("create", "alignmentjobs", "a", at=1.0, user="user"),
        event("create", "alignmentjobs", "b", at=1.5, user="user"),
        event("create", "jobs", "a-r1", at=2.0, took=0.25),
    )
    assert calls.latencies(found, "alignmentjobs", lambda name: f"{name}-r1") == {"a": pytest.approx(1.25)}
    assert calls.span(found, "alignmentjobs") == pytest.approx(1.25)


def test_a_create_that_was_refused_is_no_job():
    found = parsed(
        event("create", "alignmentjobs", "a", at=1.0, user="user"),
        event("create", "jobs", "a-r1", at=2.0, code=409),
        event("create", "jobs", "a-r1", at=3.0, took=0.0),
    )
    assert calls.latencies(found, "alignmentjobs", lambda name: f"{name}-r1") == {"a": pytest.approx(2.0)}


@pytest.mark.parametrize(
    ("call", "counts"),
    [
        (event("patch", "alignmentjobs/status", "a"), True),
        (event("create", "events", "a.1"), True),
        (event("list", "pods"), True),
        (event("watch", "pods"), False),
        (event("update", "leases", "alignment-operator"), False),
        (event("patch", "alignmentjobs/status", "a", user="somebody"), False),
    ],
    ids=lambda value: "-".join((value["verb"], value["objectRef"]["resource"])) if isinstance(value, dict) else None,
)
def test_of_the_controllers_calls_all_count_but_watches_and_leases(call: dict, counts: bool):
    assert bool(calls.counted(parsed(call), [OPERATOR])) is counts


def test_reads_are_no_writes_and_calls_are_told_by_verb_and_resource():
    found = parsed(
        event("get", "jobs"), event("patch", "jobs"), event("patch", "alignmentjobs/status"), event("patch", "jobs")
    )
    assert [call.verb for call in calls.writes(found)] == ["patch"] * 3
    assert calls.by_verb(found) == {"patch jobs": 2, "get jobs": 1, "patch alignmentjobs/status": 1}


def entry(side: str, number: int, **figures: Any) -> Entry:
    return Entry("session", "commit", "machine", "burst", side, 100, number, figures)


def test_the_table_has_medians_of_rounds_and_sums_over_controllers():
    entries = [
        entry("ours", n, jobs_per_second=rate, cpu_ms_per_job={"operator": 20.0}) for n, rate in enumerate((9, 30, 31))
    ]
    entries.append(entry("theirs", 1, jobs_per_second=12.2, cpu_ms_per_job={"trainer": 7.0, "jobset": 14.0}))
    lines = table.tables(entries).splitlines()
    assert lines[0] == "| burst, 100 jobs | ours (3 rounds) | theirs (1 rounds) |"
    assert "| jobs/s | 30.0 | 12.2 |" in lines
    assert "| controllers' CPU a job, ms | 20.0 | 21.0 |" in lines


def test_each_burst_of_a_growing_number_of_jobs_is_a_column():
    bursts = [{"jobs": 1000, "calls_per_job": 7.0}, {"jobs": 500, "calls_per_job": 7.5}]
    lines = table.tables([entry("ours", 1, **bursts[-1], idle_writes=0, bursts=bursts)]).splitlines()
    assert lines[0] == "| burst, 100 jobs | ours, to 1,000 (1 rounds) | ours, to 1,500 (1 rounds) |"
    assert "| API calls a job | 7.00 | 7.50 |" in lines
    assert "| writes in an idle minute | - | 0 |" in lines
