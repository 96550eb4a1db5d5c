"""The users' jobs: what each asks for, what is done to it meanwhile, and so how it must end whatever goes wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dev.simulated.pods import ENDLESS, EXIT_CODE, MESSAGE, SECONDS

Json = dict[str, Any]

COMPLETE = {
    "contractVersion": 1,
    "outcome": "Complete",
    "exitCode": 0,
    "message": "20 of 20 steps; adapter saved.",
    "attempt": 1,
    "step": 20,
    "totalSteps": 20,
    "lastCheckpointStep": 20,
    "metrics": {"loss": 0.5},
    "artifacts": {"adapter": "."},
}
NO_COLUMN = {"contractVersion": 1, "outcome": "Failed", "class": "DataError", "message": "There is no column chosen."}
BASE: Json = {
    "model": {"modelNameOrPath": "/models/tiny"},
    "dataset": {"datasetName": "/data/pairs"},
    "dpo": {"beta": 0.1},
    "gpusPerNode": 0,
    "backoffLimit": 2,
    "output": {"volume": {"nfs": {"server": "127.0.0.1", "path": "/out"}}},
}


@dataclass(frozen=True)
class Act:
    """As soon as `when(AlignmentJob)` is true: `patch` its spec, `delete` it, or delete it and make it `again`."""

    when: Callable[[Json], bool]
    patch: Json = field(default_factory=dict)
    delete: bool = False
    again: Json | None = None


@dataclass(frozen=True)
class Script:
    """`weight`: how often, beside the others. `gone`: nothing is left of it in the end. `after`: it takes the output
    of another job."""

    name: str
    weight: int = 1
    spec: Json = field(default_factory=dict)
    acts: tuple[Act, ...] = ()
    gone: bool = False
    after: bool = False


@dataclass(frozen=True)
class Plan:
    """One job: created at second `at` with that spec."""

    at: float
    name: str
    script: Script
    spec: Json


def pods(**annotations: str | None) -> Json:
    """A podTemplate that tells the simulated nodes what becomes of the pods."""
    names = {"seconds": SECONDS, "exit_code": EXIT_CODE, "message": MESSAGE, "endless": ENDLESS}
    return {"metadata": {"annotations": {names[name]: value for name, value in annotations.items()}}}


def running(job: Json) -> bool:
    return bool(job.get("status", {}).get("phase") == "Running")


def suspended(job: Json) -> bool:
    return bool(job.get("status", {}).get("phase") == "Suspended")


def over(job: Json) -> bool:
    """Whether the status says that the run is over, and that of this spec."""
    status = job.get("status") or {}
    if status.get("rerun") != job["spec"].get("rerun"):
        return False
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in status.get("conditions") or ())


def running_or_over(job: Json) -> bool:
    """For a job that ends by itself: users may look away while it runs."""
    return running(job) or over(job)


def held_or_over(job: Json) -> bool:
    return suspended(job) or over(job)


_SUCCESS = pods(message=json.dumps(COMPLETE))
_ENDLESS = pods(endless="true")
_AT_LAST = pods(endless=None, seconds="3s", message=json.dumps(COMPLETE))

SCRIPTS = (
    Script("complete", 6),
    Script("pair", 2, {"nodes": 2}),
    Script("data-error", 2, {"podTemplate": pods(exit_code="65", message=json.dumps(NO_COLUMN))}),
    Script("crashes", 1, {"backoffLimit": 1, "podTemplate": pods(exit_code="70", seconds="2s", message="Killed.")}),
    Script("silent", 1, {"podTemplate": pods(message="")}),
    Script("rerun-after", 2, acts=(Act(over, {"rerun": "again", "dpo": {"beta": 0.2}}),)),
    Script("rerun-midway", 2, {"podTemplate": _ENDLESS}, (Act(running, {"rerun": "again", "podTemplate": _AT_LAST}),)),
    Script("held-first", 1, {"suspend": True}, (Act(suspended, {"suspend": False}),)),
    Script("held-midway", 2, {}, (Act(running_or_over, {"suspend": True}), Act(held_or_over, {"suspend": False}))),
    Script("short-lived", 2, {"ttlSecondsAfterFinished": 2}),
    Script("deleted", 1, {"podTemplate": _ENDLESS}, (Act(running, delete=True),), gone=True),
    Script("made-again", 2, {"podTemplate": _ENDLESS}, (Act(running, again={"podTemplate": _AT_LAST}),)),
    Script("after-another", 1, after=True),
)


def controls() -> list[Plan]:
    """One job of each script, at once."""
    return [_plan(0.0, script.name, script, "complete", "4s") for script in SCRIPTS]


def population(seed: int, count: int, seconds: float) -> list[Plan]:
    """So many jobs over so many seconds, every script among them as long as there is room; by time."""
    chance = random.Random(seed)
    first, others = SCRIPTS[0], SCRIPTS[1:]  # the first of all is one whose output another may take
    drawn = chance.choices(SCRIPTS, [script.weight for script in SCRIPTS], k=max(0, count - len(SCRIPTS)))
    later = [*others, *drawn][: count - 1]
    chance.shuffle(later)
    times = sorted(chance.uniform(0, seconds) for _ in range(count))
    origin = f"{first.name}-000"
    return [
        _plan(at, f"{script.name}-{number:03}", script, origin, f"{chance.uniform(2, 20):.0f}s")
        for number, (at, script) in enumerate(zip(times, [first, *later], strict=True))
    ]


def _plan(at: float, name: str, script: Script, first: str, lasts: str) -> Plan:
    spec = BASE | script.spec
    template = _SUCCESS["metadata"]["annotations"] | {SECONDS: lasts}
    given = script.spec.get("podTemplate", {}).get("metadata", {}).get("annotations", {})
    spec["podTemplate"] = {"metadata": {"annotations": template | given}}
    if script.after:
        spec["model"] = {"fromJob": first}
    return Plan(round(at, 1), name, script, spec)


def merged(spec: Json, patch: Json) -> Json:
    """JSON merge patch (RFC 7386)."""
    result = {name: value for name, value in spec.items() if patch.get(name, ...) is not None}
    for name, value in patch.items():
        if isinstance(value, dict):
            old = result.get(name)
            result[name] = merged(old if isinstance(old, dict) else {}, value)
        elif value is not None:
            result[name] = value
    return result
