"""The operator's release is upgraded and rolled back while jobs train: they go on, and nothing runs twice."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_operator.api.constants import JOB_LABEL
from tests.e2e.conftest import OPERATOR_NAMESPACE, RELEASE, helm
from tests.e2e.kube import ROOT, Job, items

CHART = ROOT / "charts" / "alignment-operator"
LONG = {"maxSteps": 20000, "saveSteps": 20000}  # does not end before the test
LATER = "fieldOfTheNextRelease"


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The chart as its next version may be: one more field in the definition, other settings, another version."""
    chart = shutil.copytree(CHART, tmp_path / "chart")
    about = chart / "Chart.yaml"
    about.write_text(re.sub(r"(?m)^version: .*$", "version: 99.0.0", about.read_text()))
    definition = chart / "files" / "alignmentjobs.crd.yaml"
    field = rf"\n\1{LATER}:\n\1  maxLength: 16\n\1  type: string\n\1backoffLimit:\n"
    text, count = re.subn(r"\n( +)backoffLimit:\n", field, definition.read_text(), count=1)
    assert count == 1
    definition.write_text(text)
    return chart


@pytest.fixture
def rolled_back(operator: str) -> Iterator[Callable[[], None]]:
    """Roll the release back to what it was; at the latest after the test."""
    revision = json.loads(helm("status", RELEASE, "--namespace", operator, "--output", "json"))["version"]

    def back() -> None:
        now = json.loads(helm("status", RELEASE, "--namespace", operator, "--output", "json"))
        if now["version"] == revision + 1:
            helm("rollback", RELEASE, str(revision), "--namespace", operator, "--wait", "--timeout", "150s")

    yield back
    back()


def children(job: Job) -> dict[str, list[str]]:
    """UIDs of the Jobs and pods that were made for the AlignmentJob and are still there."""
    selector = f"{JOB_LABEL}={job.name}"
    return {kind: [o["metadata"]["uid"] for o in items(kind, job.namespace, selector)] for kind in ("jobs", "pods")}


def operators() -> set[str]:
    """UIDs of the operator's pods, without those that are on their way out."""
    found = (pod["metadata"] for pod in items("pods", OPERATOR_NAMESPACE, f"app.kubernetes.io/instance={RELEASE}"))
    return {meta["uid"] for meta in found if "deletionTimestamp" not in meta}


def trains_on(job: Job) -> None:
    """A report from after now reaches the status, through whichever operator there is."""
    step = job.status().get("progress", {}).get("step", 0)
    job.wait("a further step", lambda status: status.get("progress", {}).get("step", 0) > step, timeout=120)


@pytest.mark.slow
def test_jobs_train_on_through_an_upgrade_and_a_rollback(
    apply: Callable[..., Job], next_release: Path, rolled_back: Callable[[], None]
) -> None:
    job = apply("rolled-over", training=LONG)
    trains_on(job)
    before, old = children(job), operators()

    helm(
        *("upgrade", RELEASE, str(next_release), "--namespace", OPERATOR_NAMESPACE, "--reuse-values"),
        *("--set", "replicas=2,settings.workers=4", "--wait", "--timeout", "150s"),
    )
    new = operators()
    assert len(new) == 2
    assert not new & old
    trains_on(job)
    newer = apply("of-the-next-release", suspend=True, **{LATER: "x"})
    newer.wait("suspension", lambda status: status.get("phase") == "Suspended")

    rolled_back()
    trains_on(job)
    assert children(job) == before
    assert job.status()["run"] == 1

    newer.patch(suspend=False)  # stored with a field that the definition no longer has
    status: dict[str, Any] = newer.wait("a start", lambda status: status.get("jobUID"))
    assert status["run"] == 1
    assert LATER not in newer.object()["spec"]
    assert job.status()["phase"] == "Running"
    assert children(job) == before
