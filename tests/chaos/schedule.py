"""What goes wrong when: a pure function of the seed, so that a failure can be replayed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

REPLICAS = 2
ADVANCE, DELAY = 120, -120  # seconds: more than any grace that the operator knows


@dataclass(frozen=True)
class Fault:
    """From second `at`, for `seconds` (0: at once). `kind` names a method of `faults.Faults`."""

    at: float
    kind: str
    seconds: float = 0.0
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> float:
        return round(self.at + self.seconds, 1)

    def __str__(self) -> str:
        more = " ".join(f"{name}={value}" for name, value in self.arguments.items())
        lasting = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.at:6.1f} s  {self.kind}{lasting}{' ' + more if more else ''}"


@dataclass(frozen=True)
class Pace:
    """How long faults last and how close they follow, in seconds."""

    outage: float
    pause: float
    storm: tuple[float, float]
    gap: tuple[float, float]
    recover: float  # after a leader was lost, before the next fault: where all is short, replicas would never be up
    calm: float  # without an outage before the end: Kubernetes' own controllers take as long to find back
    victims: int  # children deleted, or statuses overwritten, at a time


LONG = Pace(outage=60, pause=40, storm=(15, 35), gap=(3, 14), recover=0, calm=90, victims=6)
SHORT = Pace(outage=8, pause=7, storm=(4, 6), gap=(0.3, 0.9), recover=4, calm=20, victims=3)

Maker = Callable[[random.Random, Pace], tuple[float, dict[str, Any]]]


def _at_once(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return 0.0, {}


def _outage(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return pace.outage, {"kill": chance.random() < 0.5}


def _short_outage(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return pace.outage / 10, {}


def _pause(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return pace.pause, {}


def _partition(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return pace.pause, {"leader": chance.random() < 0.7}


def _storm(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return chance.uniform(*pace.storm), {"share": chance.choice((0.3, 0.7, 1.0))}


def _lost(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return chance.uniform(*pace.storm), {"share": chance.choice((0.2, 0.5))}


def _slow(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return chance.uniform(*pace.storm), {"wait": chance.choice((0.5, 1.5))}


def _some(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return 0.0, {"count": chance.randint(1, pace.victims), "choice": chance.randrange(1 << 30)}


def _clock(chance: random.Random, pace: Pace) -> tuple[float, dict[str, Any]]:
    return 0.0, {"shift": chance.choice((ADVANCE, DELAY, 0))}


KINDS: dict[str, Maker] = {
    "kill_leader": _at_once,
    "kill_standby": _at_once,
    "kill_all": _at_once,
    "pause_leader": _pause,
    "stop_api_server": _outage,
    "restart_etcd": _short_outage,
    "answer_429": _storm,
    "answer_500": _storm,
    "lose_answers": _lost,
    "slow_answers": _slow,
    "cut_watches": _at_once,
    "freeze_watches": _pause,
    "partition": _partition,
    "delete_jobs": _some,
    "delete_pods": _some,
    "delete_config_maps": _some,
    "overwrite_status": _some,
    "touch_jobs": _some,
    "shift_clock": _clock,
}
# They take the stage alone: what else would happen meanwhile could not be seen, or not be done.
ALONE = frozenset(("stop_api_server", "restart_etcd"))
LEADERLESS = frozenset(("kill_leader", "kill_all", "pause_leader", "partition"))


def schedule(seed: int, seconds: float, pace: Pace = LONG) -> list[Fault]:
    """Faults by time, none of which lasts beyond `seconds`.

    The first fault of each kind comes before any kind's second; those of one kind do not overlap.
    """
    chance = random.Random(seed)
    faults: list[Fault] = []
    now = free = 0.0
    busy: dict[str, float] = {}
    for kind in _deck(chance):
        now = max(now + chance.uniform(*pace.gap), free, busy.get(kind, 0.0))
        lasting, arguments = KINDS[kind](chance, pace)
        if kind in ALONE:
            now = max(now, *(fault.end for fault in faults), 0.0)
        fault = Fault(round(now, 1), kind, round(lasting, 1), arguments)
        if fault.at > seconds:
            break
        if fault.end > seconds - (pace.calm if kind in ALONE else 0):
            continue
        faults.append(fault)
        busy[kind] = fault.end + 1  # one ends what it began before the next begins
        free = _free(fault, pace, free)
    return faults


def _free(fault: Fault, pace: Pace, free: float) -> float:
    """When the next fault may begin at the earliest."""
    if fault.kind in ALONE:
        return fault.end + 1
    return fault.at + pace.recover if fault.kind in LEADERLESS else free


def _deck(chance: random.Random) -> Iterator[str]:
    """Every kind in random order, again and again; outages come soon in the first round."""
    places = {kind: chance.random() * (0.4 if kind in ALONE else 1.0) for kind in sorted(KINDS)}
    yield from sorted(places, key=places.__getitem__)
    while True:
        yield from chance.sample(sorted(KINDS), len(KINDS))
