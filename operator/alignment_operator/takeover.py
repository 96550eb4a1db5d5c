"""`status.progress`, `metrics` and `result` where the leader writes them: empty at a run's start, true at its end.

In between they are the progress endpoint's. The end never depends on a report having arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from .api.alignmentjob import AlignmentJob
from .api.schema import Section
from .api.status import Progress, Result
from .conditions import stamp
from .outcome import Outcome

METRICS_LIMIT = 64  # the schema's bound
SAME_NAME = (
    "attempt",
    "resumedFromStep",
    "lostSteps",
    "step",
    "totalSteps",
    "lastCheckpointStep",
    "peakMemoryBytes",
    "findings",
)


def at_start(run: int) -> dict[str, Any]:
    """Nothing is known of a new run."""
    return {"progress": {"run": run}, "metrics": []}


def at_end(job: AlignmentJob, run: int, end: Outcome) -> dict[str, Any]:
    """The last report, corrected by the trainer's last words; nothing to write when it left none."""
    if end.said is None:
        return {}
    old = job.status.progress
    progress = dict(_dump(old)) if old and old.run == run else {}
    progress |= {"run": run} | {name: end.said[name] for name in SAME_NAME if name in end.said}
    if end.time:
        progress["lastReportTime"] = stamp(end.time)
    if end.failure is None:
        progress |= {"phase": "Finished", "percentage": _percentage(progress), "estimatedRemainingSeconds": 0}
    else:
        progress.pop("estimatedRemainingSeconds", None)
    metrics = _metrics(end.said) or [_dump(m) for m in job.status.metrics or ()]
    return {"progress": _valid(Progress, progress), "metrics": metrics}


def result(end: Outcome, output_path: str | None) -> dict[str, Any]:
    """`status.result`: the termination message, as far as the API has words for it."""
    if end.failure:
        return {}
    said = dict(end.said or {"message": end.message})
    said |= {"outcome": end.reason, "message": end.message, "outputPath": output_path, "metrics": _metrics(said)}
    return _valid(Result, said)


def _percentage(progress: Mapping[str, Any]) -> int:
    """A run that was stopped early by choice did not reach its last step."""
    step, total = progress.get("step"), progress.get("totalSteps")
    if not isinstance(step, int) or not isinstance(total, int) or total <= 0:
        return 100
    return max(0, min(100, 100 * step // total))


def _valid(section: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    """What the schema admits: a word of the trainer's that it does not must not keep a status from being written."""
    known = {field.alias or name for name, field in section.model_fields.items()}
    values = {name: value for name, value in values.items() if name in known and value not in (None, [])}
    try:
        section.model_validate(values)
    except ValidationError as error:
        bad = {str(problem["loc"][0]) for problem in error.errors()}
        values = {name: value for name, value in values.items() if name not in bad}
    return values


def _metrics(said: Mapping[str, Any]) -> list[dict[str, str]]:
    values = said.get("metrics") or {}
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return [{"name": name, "value": f"{numbers[name]:.6g}"} for name in numbers][:METRICS_LIMIT]


def _dump(section: Progress | Any) -> dict[str, Any]:
    dumped: dict[str, Any] = section.model_dump(by_alias=True, exclude_none=True)
    return dumped
