"""How jobs ended, without what differs from one to the next: times, UIDs, names, numbers of tries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .scripts import Plan

Json = dict[str, Any]

# lastReportTime and its like are times; a recipe's hash has the job's name in it.
PASSING = frozenset(("lastTransitionTime", "startTime", "completionTime", "lastReportTime", "jobUID", "outputPath"))
LAST_WORDS = ("run", "phase", "percentage", "attempt", "step", "totalSteps", "lastCheckpointStep")
POD = re.compile(r"NAME-r(\d+)-(\d+)-[a-z0-9]{5}\b")


def outcome(job: Json) -> Json:
    """The status of one job in a form that is the same for all jobs of its script that ended as they should."""
    text = json.dumps(job.get("status") or {}).replace(job["metadata"]["name"], "NAME")
    text = POD.sub(r"NAME-r\1-\2-POD", text)
    found: Json = json.loads(text, object_hook=lambda o: {k: v for k, v in o.items() if k not in PASSING})
    said = found.get("result", {}).get("outcome") == "Complete"
    # without last words of the pod the last report stays, and which one came last is chance
    progress = found.pop("progress", {})
    if said:
        found["progress"] = {name: progress.get(name) for name in LAST_WORDS}
    elif "metrics" in found:
        del found["metrics"]
    return found


def differences(
    plans: Iterable[Plan], jobs: Mapping[str, Json], controls: Mapping[str, Json], namespaces: tuple[str, str]
) -> list[str]:
    """Jobs that did not end as the control job of their script, which nothing disturbed.

    `jobs` and `controls` are AlignmentJobs by name; a control job has its script's name. `namespaces`: of both.
    """
    ours, control = namespaces
    found: list[str] = []
    for plan in plans:
        job, like = jobs.get(plan.name), controls.get(plan.script.name)
        have = outcome(job) if job else None
        want = json.loads(json.dumps(outcome(like)).replace(control, ours)) if like else None
        if have != want:
            found.append(f"{plan.name} ended otherwise than without faults: {_diff(want, have)}")
    return found


def _diff(want: Any, have: Any, path: str = "status") -> str:
    """Where two JSON values differ."""
    if isinstance(want, dict) and isinstance(have, dict):
        names = sorted({*want, *have})
        return "; ".join(_diff(want.get(n), have.get(n), f"{path}.{n}") for n in names if want.get(n) != have.get(n))
    if isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        return "; ".join(_diff(w, h, f"{path}[{i}]") for i, (w, h) in enumerate(zip(want, have, strict=True)) if w != h)
    return f"{path} is {json.dumps(have)}, not {json.dumps(want)}"
