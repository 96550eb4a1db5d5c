"""What the audit log says about an object's life."""

from __future__ import annotations

from tests.unit.chaos.forged import Log, child, pod


def test_a_deleted_pod_is_gone_only_without_grace_and_finalizers() -> None:
    log, one = Log(), pod()
    meta = one["metadata"]
    ending = {"deletionTimestamp": "2026-01-01T00:10:00Z"}
    log.write("job-controller", "create", "pods", one)
    stages = (
        ("admin", "delete", {"deletionGracePeriodSeconds": 600, "finalizers": ["batch.kubernetes.io/job-tracking"]}),
        ("kwok", "delete", {"deletionGracePeriodSeconds": 0, "finalizers": ["batch.kubernetes.io/job-tracking"]}),
    )
    for user, verb, more in stages:
        log.write(user, verb, "pods", {**one, "metadata": meta | ending | more})
        (life,) = log.history.lives("pods")
        assert life.removal is None
    log.write("job-controller", "patch", "pods", {**one, "metadata": meta | ending | {"deletionGracePeriodSeconds": 0}})
    (life,) = log.history.lives("pods")
    assert life.removal is not None
    assert life.removal.user == "job-controller"


def test_a_job_is_gone_with_the_status_that_answers_its_deletion() -> None:
    log = Log()
    job = log.write("replica-0", "create", "jobs", child())
    log.delete("admin", "jobs", job)
    (life,) = log.history.lives("jobs")
    assert life.removal is not None
    assert (life.run, life.owner, life.removal.user) == ("1", "aj-1", "admin")


def test_the_object_is_known_as_it_was_at_a_resource_version() -> None:
    log = Log()
    log.write("job-controller", "create", "pods", pod(phase="Pending"))
    log.write("kwok", "patch", "pods", pod(phase="Running"), version=7)
    (life,) = log.history.lives("pods")
    seen = {version: (life.at(version) or {}).get("status", {}).get("phase") for version in (0, 1, 6, 7, 9)}
    assert seen == {0: None, 1: "Pending", 6: "Pending", 7: "Running", 9: "Running"}


def test_creations_by_generated_name_are_told_apart() -> None:
    log = Log()
    for uid in ("pod-1", "pod-2"):
        log.write("job-controller", "create", "pods", pod(uid))
    assert [life.name for life in log.history.lives("pods")] == ["demo-r1-0-pod-1", "demo-r1-0-pod-2"]


def test_a_line_that_was_lost_with_the_server_leaves_the_object_known() -> None:
    log = Log()
    log.write("job-controller", "patch", "jobs", child(), subresource="status")
    (life,) = log.history.lives("jobs")
    assert life.creation is None
    assert life.owner == "aj-1"
