"""GPU-seconds and cost of a run: every pod of every attempt is counted once, from its real times.

A pod holds its GPUs from when the scheduler gave it a node until its last container ended. Pods come and go (an attempt
is preempted, a Job is deleted) while the operator may be down, so what was seen of them is written down: `usage.pods`
has those whose time is not settled, by name, and `usage.settledUntil` closes the books for all that were scheduled up
to then. Both together tell of every pod whether it was counted, however often and by whomever this is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from .api.status import PodUsage, Usage
from .conditions import stamp
from .observed import parse_time
from .settings import UsageSettings
from .views import PodView

HOUR = 3600
PLACES = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Entry:
    """The time of one pod. `hourly`: price of one of its GPUs; None: it has none."""

    pod: str
    gpus: int
    since: datetime
    until: datetime | None = None
    hourly: Decimal | None = None

    @property
    def seconds(self) -> int:
        """GPU-seconds; 0 while the pod has not ended."""
        return self.gpus * max(0, round((self.until - self.since).total_seconds())) if self.until else 0

    @property
    def cost(self) -> Decimal:
        return (self.hourly or Decimal(0)) * self.seconds / HOUR


@dataclass(frozen=True, slots=True)
class Seen:
    """A run's pods: those that exist, those deleted lately as they last were, and since when there can be none."""

    pods: Sequence[PodView]
    gone: Sequence[PodView] = ()
    over_since: datetime | None = None


def account(
    stored: Usage | None, seen: Seen, resource: str, settings: UsageSettings, now: datetime, closed: bool = False
) -> dict[str, Any] | None:
    """`status.usage` after this look; None for a job that never held a GPU.

    resource: the extended resource that counts as a GPU. closed: the run is over, no more pods will come.
    """
    old = stored or Usage()
    before = {entry.pod: entry for entry in map(_read, old.pods or ())}
    entries = before | _seen(seen, before, parse_time(old.settled_until), resource, settings)
    entries = {name: entry if entry.until else _vanished(entry, seen, now) for name, entry in entries.items()}
    if not entries:
        return old.model_dump(by_alias=True, exclude_none=True) or None
    ended = [entry for name, entry in entries.items() if entry.until and not (name in before and before[name].until)]
    return _sums(old, ended, settings) | _books(old, list(entries.values()), closed)


def of_next_run(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`status.usage` at the start of a run, after that of the run before: the sums over all runs go on."""
    if usage is None:
        return None
    sums = {name: usage[name] for name in ("totalGpuSeconds", "totalCost", "currency") if name in usage}
    return {"gpuSeconds": 0, **sums}


def running(usage: Mapping[str, Any], now: datetime) -> tuple[int, int]:
    """(GPUs held now, GPU-seconds of the run up to now), by `status.usage` as JSON."""
    live = [pod for pod in usage.get("pods") or () if "until" not in pod]
    seconds = sum(pod["gpus"] * max(0, round((now - _time(pod["since"])).total_seconds())) for pod in live)
    return sum(pod["gpus"] for pod in live), usage.get("gpuSeconds", 0) + seconds


def _time(text: str) -> datetime:
    time = parse_time(text)
    assert time is not None
    return time


def _read(pod: PodUsage) -> Entry:
    hourly = Decimal(pod.hourly) if pod.hourly else None
    return Entry(pod.pod, pod.gpus, _time(pod.since), parse_time(pod.until), hourly)


def _seen(
    seen: Seen, before: Mapping[str, Entry], settled: datetime | None, resource: str, settings: UsageSettings
) -> dict[str, Entry]:
    """The entries of all pods that are, or were lately, except those whose books are closed."""
    entries = {}
    for pod in (*seen.gone, *seen.pods):
        entry = before.get(pod.name) or _entry(pod, resource, settings)
        if entry and (pod.name in before or settled is None or entry.since > settled):
            entries[pod.name] = entry if entry.until else replace(entry, until=_end(pod, entry.since))
    return entries


def _entry(pod: PodView, resource: str, settings: UsageSettings) -> Entry | None:
    """None: it holds no GPU, or has only just got a node, and every step from there on would be one more write."""
    gpus = dict(pod.devices).get(resource, 0)
    if not gpus or pod.scheduled_at is None or not (pod.running_since or _end(pod, pod.scheduled_at)):
        return None
    return Entry(pod.name, gpus, pod.scheduled_at, hourly=_hourly(pod, resource, settings))


def _end(pod: PodView, since: datetime) -> datetime | None:
    """Of a pod that was deleted by force nothing is known but when that was."""
    forced = pod.gone_at if pod.grace_seconds == 0 else None
    end = pod.ended_at or forced
    return max(end, since) if end else None


def _hourly(pod: PodView, resource: str, settings: UsageSettings) -> Decimal | None:
    """Price of one GPU for an hour, by the first rule whose resource and labels fit."""
    labels = set(pod.node_selector)
    fitting = (p for p in settings.prices if p.resource == resource and set(p.node_selector.items()) <= labels)
    price = next(fitting, None)
    return Decimal(str(price.per_hour)) if price else None


def _vanished(entry: Entry, seen: Seen, now: datetime) -> Entry:
    """A pod that went while nobody looked ended at the latest when its successor was made, or the run was over."""
    if any(pod.name == entry.pod for pod in seen.pods):
        return entry
    place = entry.pod.rpartition("-")[0]  # NAME-rN-INDEX
    successors = [pod.created for pod in seen.pods if pod.name.rpartition("-")[0] == place]
    latest = [time for time in (*successors, seen.over_since, now) if time and time >= entry.since]
    return replace(entry, until=min(latest, default=entry.since))


def _sums(old: Usage, ended: Sequence[Entry], settings: UsageSettings) -> dict[str, Any]:
    """The stored sums, and the pods that have ended since."""
    seconds = sum(entry.seconds for entry in ended)
    sums: dict[str, Any] = {"gpuSeconds": (old.gpu_seconds or 0) + seconds}
    sums["totalGpuSeconds"] = (old.total_gpu_seconds or 0) + seconds
    if settings.prices or old.total_cost:
        cost = sum((entry.cost for entry in ended), Decimal(0))
        sums["cost"] = str((Decimal(old.cost or 0) + cost).quantize(PLACES))
        sums["totalCost"] = str((Decimal(old.total_cost or 0) + cost).quantize(PLACES))
        sums["currency"] = settings.currency
    return sums


def _books(old: Usage, entries: list[Entry], closed: bool) -> dict[str, Any]:
    """`pods` and `settledUntil`."""
    settled = _settled(entries, closed)
    open_ = sorted((e for e in entries if e not in settled), key=lambda entry: (entry.since, entry.pod))
    until = stamp(max(e.since for e in settled)) if settled else old.settled_until
    return {"pods": [_written(entry) for entry in open_]} | ({"settledUntil": until} if until else {})


def _settled(entries: list[Entry], closed: bool) -> list[Entry]:
    """The pods whose books can be closed: all when the run is over and none is left, else those of attempts before.

    An attempt is over when a pod was scheduled after its end. What is still open holds back all that was scheduled
    with it or later, so that `settledUntil` stands for no pod that is not counted.
    """
    if closed and all(entry.until for entry in entries):
        return entries
    newest = max(entry.since for entry in entries)
    over = [entry for entry in entries if entry.until and entry.until <= newest]
    first_open = min((entry.since for entry in entries if entry not in over), default=newest)
    return [entry for entry in over if entry.since < first_open]


def _written(entry: Entry) -> dict[str, Any]:
    written: dict[str, Any] = {"pod": entry.pod, "gpus": entry.gpus, "since": stamp(entry.since)}
    if entry.until:
        written["until"] = stamp(entry.until)
    return written | ({"hourly": str(entry.hourly)} if entry.hourly is not None else {})
