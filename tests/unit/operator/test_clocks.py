"""Clocks of machines differ, by minutes if need be: nothing final is decided by another's, and nothing waits for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from alignment_operator.ends import Ends
from alignment_operator.metrics import Metrics
from alignment_operator.progress import Reports
from alignment_operator.reports import Report
from alignment_operator.resources import ALIGNMENT_JOBS
from alignment_operator.runs import Decision
from alignment_operator.settings import ProgressSettings, Settings
from alignment_operator.status import compute
from alignment_operator.store import Key, Store
from alignment_operator.tokens import BadToken, Tokens
from alignment_operator.workqueue import WorkQueue
from tests.unit.operator.builders import NAME, NAMESPACE, NOW, Job, Pod, alignment_job, at, observed

KEY = Key(NAMESPACE, NAME)
STARTED = {"run": 1, "jobName": "demo-r1", "outputPath": "/output/x"}
SKEWS = [timedelta(hours=1), timedelta(minutes=2), timedelta(), -timedelta(minutes=2), -timedelta(hours=1)]


def phase(known_for: float, skew: timedelta, *pods: Pod) -> str:
    """Of a Job that has just ended, judged with a clock that is off, so many seconds after its end was seen."""
    seen = replace(observed(Job().complete(seconds=0), *pods), ended_for=timedelta(seconds=known_for))
    return str(compute(alignment_job(status=STARTED), seen, Decision(run=1), NOW + skew, Settings()).status["phase"])


@pytest.mark.parametrize("skew", SKEWS, ids=str)
def test_a_final_status_waits_for_the_pods_last_words_by_our_own_clock(skew: timedelta) -> None:
    """A clock that is ahead would else write NoResult for good, because the Job seems to have ended long ago."""
    assert phase(1, skew, Pod().running()) == "Running"
    assert phase(30, skew, Pod().running()) == "Complete"


def test_for_how_long_an_end_is_known_counts_from_when_it_was_seen_and_anew_for_another_job() -> None:
    ends, child = Ends(), observed(Job().complete(seconds=-3600))
    assert ends.marked(KEY, observed(Job())).ended_for is None
    first = ends.marked(KEY, child).ended_for
    time.sleep(0.02)
    second = ends.marked(KEY, child).ended_for
    assert first is not None
    assert second is not None
    assert first < timedelta(seconds=1)
    assert second >= first + timedelta(seconds=0.02)
    assert child.job is not None
    another = ends.marked(KEY, replace(child, job=replace(child.job, uid="another"))).ended_for
    assert another is not None
    assert another < second


class OneKey:
    """The API server's published keys: one."""

    issuer = "https://issuer"

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())

    async def get(self, key_id: str) -> Any:
        return self.private.public_key()


@pytest.mark.parametrize(("ahead", "accepted"), [(-90, False), (-30, True), (0, True), (30, True), (90, False)])
def test_a_token_is_good_on_a_machine_whose_clock_is_up_to_a_minute_off(ahead: float, accepted: bool) -> None:
    """Issued now, good for a second, by a server whose clock is so many seconds ahead of ours."""
    keys, now = OneKey(), time.time() + ahead
    claims = {"aud": "us", "iss": keys.issuer, "iat": now, "nbf": now, "exp": now + 1}
    claims["kubernetes.io"] = {"namespace": "a", "pod": {"name": "p", "uid": "u"}}
    token = jwt.encode(claims, keys.private, "ES256", {"kid": "one"})
    tokens = Tokens(keys, "us")  # type: ignore[arg-type]
    if accepted:
        assert asyncio.run(tokens.verify(token)).pod_uid == "u"
    else:
        with pytest.raises(BadToken):
            asyncio.run(tokens.verify(token))


@pytest.mark.parametrize(("last", "wait"), [(-60, 0), (-5, 10), (0, 15), (3600, 15)])
async def test_a_report_is_written_in_time_whatever_the_clock_of_the_replica_that_wrote_last(
    last: float, wait: float
) -> None:
    store = Store()
    job = alignment_job(status={**STARTED, "progress": {"run": 1, "phase": "Training", "lastReportTime": at(last)}})
    obj = job.to_object()
    obj["metadata"] |= {"resourceVersion": "1"}
    store.put(ALIGNMENT_JOBS, obj)
    metrics = Metrics(store, WorkQueue(), 1, "lease")
    reports = Reports(store, None, ProgressSettings(), None, metrics)  # type: ignore[arg-type]
    report = Report.model_validate({"trainerStatus": {}, "alignment": {"phase": "Training", "step": 3}})
    reports._accept(KEY, 1, report, NOW)
    assert reports._pending[KEY].due == NOW + timedelta(seconds=wait)
