"""What must hold whatever goes wrong, checked on the API server's audit log. Each check returns what broke it, as text.

`operators` are the users that the replicas log in as; everybody else is the user, Kubernetes, or a fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from .history import JOB_LABEL, RUN_LABEL, History, Life, Write

Json = dict[str, Any]
Operators = Collection[str]

CHILDREN = ("jobs", "configmaps", "services")
PROGRESS_MANAGER = "alignment-operator-progress"
ENDS = ("Complete", "Failed")
# When a server is killed, the log may lack what it did last. Gone pods are taken as gone that much later at most.
LATE_LINE = timedelta(seconds=1)


def second_jobs(history: History, operators: Operators) -> list[str]:
    """Never two Jobs for one AlignmentJob and run.

    A Job that somebody else deleted is made again for the same run; not while the first or one of its pods may still
    write, not after the run's end, and not when it was the operator that deleted the first.
    """
    runs: dict[tuple[str, str], list[Life]] = defaultdict(list)
    for job in history.lives("jobs"):
        if job.owner and job.run:
            runs[job.owner, job.run].append(job)
    pods = _by_run(history.lives("pods"))
    found: list[str] = []
    for (owner, run), jobs in runs.items():
        parent = history.life("alignmentjobs", owner)
        for job in jobs:
            found += _after_the_end(job, parent, run)
            found += _beside_pods(job, pods[job.namespace, job.labels.get(JOB_LABEL, ""), run])
        for first, second in pairwise(jobs):
            found += _twice(first, second, operators)
    return found


def _twice(first: Life, second: Life, operators: Operators) -> Iterator[str]:
    if first.removal is None and first.name != second.name:
        yield f"{second} was made beside {first}"
    elif first.removal and first.removal.user in operators:
        yield f"{second} was made for a run whose Job the operator had deleted: {first.removal}"


def _after_the_end(job: Life, parent: Life | None, run: str) -> Iterator[str]:
    made = job.creation
    if made and parent and (known := parent.at(made.version)) and _end_of(known, run):
        yield f"{job} was made after the end of run {run}"


def _by_run(pods: list[Life]) -> Mapping[tuple[str, str, str], list[Life]]:
    found: dict[tuple[str, str, str], list[Life]] = defaultdict(list)
    for pod in pods:
        found[pod.namespace, pod.labels.get(JOB_LABEL, ""), pod.run].append(pod)
    return found


def _beside_pods(job: Life, pods: list[Life]) -> Iterator[str]:
    made = job.creation
    for pod in pods:
        if made and pod.owner != job.uid and pod.writes[0].version < made.version and not _over(pod, made):
            yield f"{job} was made while {pod} could still write"


def _over(pod: Life, made: Write) -> bool:
    """Whether the pod had ended, or was gone, when the Job was made."""
    if pod.removal and pod.removal.done <= made.done + LATE_LINE:
        return True
    known = pod.at(made.version) or {}
    return known.get("status", {}).get("phase") in ("Succeeded", "Failed")


def returns_from_the_end(history: History) -> list[str]:
    """No run goes back from Complete or Failed, changes how it ended, or is followed by a lower run."""
    return [what for job in history.lives("alignmentjobs") for what in _returns(job)]


def _returns(job: Life) -> Iterator[str]:
    ended: dict[int, str] = {}
    last = 0
    for write in job.writes:
        run = int(_status(write).get("run") or 0)
        if run < last:
            yield f"{job} went from run {last} back to {run}: {write}"
        last = max(last, run)
        how = _end_of(write.object or {}, str(run))
        if run in ended and how != ended[run]:
            yield f"{job} run {run} was {ended[run]} and became {how or 'not ended'}: {write}"
        if how:
            ended[run] = how


def late_reports(history: History) -> list[str]:
    """No report is written after its run's end, nor one of another run."""
    return [what for job in history.lives("alignmentjobs") for what in _late(job)]


def _late(job: Life) -> Iterator[str]:
    for before, write in pairwise(job.writes):
        if write.manager != PROGRESS_MANAGER:
            continue
        run = str(_status(write).get("run") or 0)
        if _end_of(before.object or {}, run):
            yield f"a report was written after the end of run {run}: {write}"
        if str((_status(write).get("progress") or {}).get("run")) != run:
            yield f"a report of another run than {run} was written: {write}"


def _end_of(job: Json, run: str) -> str:
    """Complete or Failed, with the reason, when the status says so of that run; else empty."""
    status = job.get("status") or {}
    if str(status.get("run") or 0) != run:
        return ""
    over = (c for c in status.get("conditions") or () if c["type"] in ENDS and c["status"] == "True")
    return next((f"{c['type']}/{c.get('reason', '')}" for c in over), "")


def empty_writes(history: History, operators: Operators) -> list[str]:
    """No write without a change: an accepted update or patch moves the resourceVersion and the content."""
    found: list[str] = []
    for resource in ("alignmentjobs", "secrets", *CHILDREN):
        for life in history.lives(resource):
            found += _empty(life, operators)
    return found


def _empty(life: Life, operators: Operators) -> Iterator[str]:
    for before, write in pairwise(life.writes):
        if write.user not in operators or write.verb not in ("update", "patch"):
            continue
        if write.version == before.version:
            yield f"the resourceVersion did not move: {write}"
        elif _content(write) == _content(before):
            yield f"nothing but the resourceVersion moved: {write}"


def _content(write: Write) -> Json:
    obj = write.object or {}
    passing = ("resourceVersion", "managedFields")
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name not in passing}
    return {**obj, "metadata": metadata}


def orphans(history: History, present: Collection[str]) -> list[str]:
    """Nothing stays behind: every child, and every pod of one, goes with its owner. `present`: UIDs that are there."""
    owners = {resource: {life.uid for life in history.lives(resource)} for resource in ("alignmentjobs", "jobs")}
    found: list[str] = []
    for resource, owner in (*((child, "alignmentjobs") for child in CHILDREN), ("pods", "jobs")):
        for life in history.lives(resource):
            if RUN_LABEL in life.labels and life.uid in present and life.owner not in present:
                known = "was deleted" if life.owner in owners[owner] else "never was"
                found.append(f"{life} is there, and its owner {life.owner} {known}")
    return found


def idle_writes(history: History, operators: Operators, since: datetime) -> list[str]:
    """No write but the Lease's once nothing happens any more."""
    found = (write for write in history.writes if write.user in operators and write.resource != "leases")
    return [f"nothing had happened: {write}" for write in found if write.asked >= since]


def writes_without_lease(history: History, operators: Operators, lease: str) -> list[str]:
    """What a replica wrote while the Lease was another's, reports of progress, Events and certificates apart."""
    leases = [life for life in history.lives("leases") if life.name == lease]
    holders = [(write.version, write.user, _holder(write)) for life in leases for write in life.writes]
    found: list[str] = []
    for write in sorted(_led(history, operators), key=lambda write: write.version):
        before = [(user, holder) for version, user, holder in holders if version < write.version]
        if before and before[-1][1] and before[-1][0] != write.user:
            found.append(f"the Lease was {before[-1][0]}'s: {write}")
    return found


def _led(history: History, operators: Operators) -> Iterator[Write]:
    for write in history.writes:
        led = write.resource in ("alignmentjobs", *CHILDREN) and write.manager != PROGRESS_MANAGER
        if write.user in operators and led and write.version:
            yield write


def _holder(write: Write) -> str:
    return str(((write.object or {}).get("spec") or {}).get("holderIdentity") or "")


def _status(write: Write) -> Json:
    status: Json = (write.object or {}).get("status") or {}
    return status


def all_of(
    history: History, operators: Operators, present: Collection[str], lease: str, idle_since: datetime
) -> dict[str, list[str]]:
    """Every check: its name -> what broke it."""
    checks: dict[str, Callable[[], list[str]]] = {
        "never two Jobs for one AlignmentJob and run": lambda: second_jobs(history, operators),
        "no run goes back from its end": lambda: returns_from_the_end(history),
        "no write without a change": lambda: empty_writes(history, operators),
        "no write when nothing happens": lambda: idle_writes(history, operators, idle_since),
        "no report after the end, nor of another run": lambda: late_reports(history),
        "nothing is orphaned": lambda: orphans(history, present),
        "no write of a replica while another holds the Lease": lambda: writes_without_lease(history, operators, lease),
    }
    return {name: check() for name, check in checks.items()}
