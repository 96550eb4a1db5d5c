"""Pods deleted, operators killed, jobs suspended and deleted: nothing is lost, nothing runs twice."""

from __future__ import annotations

from collections.abc import Callable

from alignment_operator.api.constants import JOB_LABEL
from tests.e2e.conftest import OPERATOR_NAMESPACE
from tests.e2e.kube import Job, items, kubectl

LONG = {"maxSteps": 200, "saveSteps": 20}


def running(job: Job, step: int = 25) -> int:
    """Wait until the job trains beyond `step`; returns the step."""
    status = job.wait("training", lambda s: s.get("progress", {}).get("step", 0) > step)
    at: int = status["progress"]["step"]
    return at


def test_a_deleted_pod_resumes_from_its_last_checkpoint(apply: Callable[..., Job]) -> None:
    job = apply("resumes", training=LONG)
    running(job)
    (pod,) = job.pods()
    kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false", namespace=job.namespace)
    status = job.complete(timeout=300)
    result = status["result"]
    assert result["attempt"] == 2
    assert result["resumedFromStep"] > 25
    assert result["lostSteps"] <= 1, "SIGTERM is answered with a checkpoint at the end of the step"
    assert status["run"] == 1


def test_an_operator_that_is_killed_in_mid_run_reports_the_same_end(apply: Callable[..., Job]) -> None:
    job = apply("orphan", training=LONG)
    running(job, step=5)
    kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false", namespace=OPERATOR_NAMESPACE)
    status = job.complete(timeout=300)
    assert status["result"]["step"] == 200
    jobs = items("jobs", job.namespace, f"{JOB_LABEL}={job.name}")
    assert len(jobs) == 1


def test_suspend_frees_the_pods_and_resume_continues(apply: Callable[..., Job]) -> None:
    job = apply("paused", training=LONG)
    running(job)
    job.patch(suspend=True)
    job.wait("suspension", lambda s: s.get("phase") == "Suspended" and not job.pods(), timeout=90)
    job.patch(suspend=False)
    result = job.complete(timeout=300)["result"]
    assert result["resumedFromStep"] > 25
    assert result["lostSteps"] <= 1


def test_deleting_the_job_deletes_its_children_and_keeps_the_output(apply: Callable[..., Job]) -> None:
    job = apply("short")
    first = job.complete()
    job.delete()
    selector = f"{JOB_LABEL}={job.name}"
    kubectl(
        "wait",
        "--for=delete",
        "pods,jobs,configmaps",
        "-l",
        selector,
        "--timeout=60s",
        namespace=job.namespace,
        timeout=70,
    )
    again = apply("short")
    status = again.complete()
    assert status["outputPath"] == first["outputPath"]
    assert status["result"]["outcome"] == "AlreadyComplete"
    assert "rerun" in next(c for c in status["conditions"] if c["type"] == "Complete")["message"]


def test_a_rerun_is_a_new_run_and_history_is_kept(apply: Callable[..., Job]) -> None:
    job = apply("again")
    first = job.complete()
    job.patch(rerun="two")
    status = job.wait("second run", lambda s: s.get("run") == 2 and s.get("phase") == "Complete")
    assert status["outputPath"] != first["outputPath"]
    assert [r["run"] for r in status["runs"]][:1] == [1]
