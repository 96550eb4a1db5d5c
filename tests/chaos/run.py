"""One run: a cluster, two replicas, control jobs in peace, then users and faults together, then the verdict."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignment_operator.api.crd import crd
from alignment_operator.cluster import connect
from dev.simulated import SimulatedCluster, simulated_cluster

from . import invariants, outcomes
from .faults import Faults
from .history import History
from .proxy import Proxy
from .replicas import Replica
from .reports import Reports
from .schedule import LONG, REPLICAS, SHORT, Fault, Pace, schedule
from .scripts import Plan, controls, population
from .users import Users

Json = dict[str, Any]

OPERATOR, NAMESPACE, CONTROL = "operator", "chaos", "control"
LEASE = "alignment-operator"
GROUPS = ("", "batch", "alignment-operator.io", "coordination.k8s.io")
CONTROL_SECONDS = 240.0  # most of it never needed: the machine may be busy
CALM_SECONDS, IDLE_SECONDS = 5.0, 5.0  # until nothing happens any more, and how long that is watched


@dataclass(frozen=True)
class Scale:
    """How much of it. `settle`: seconds after the last fault within which every job must have ended."""

    seconds: float
    jobs: int
    pace: Pace
    lease_seconds: float
    settle: float


FULL = Scale(seconds=900, jobs=200, pace=LONG, lease_seconds=15, settle=240)
BRIEF = Scale(seconds=58, jobs=30, pace=SHORT, lease_seconds=6, settle=180)


@dataclass
class Verdict:
    """What was seen. `broken`: each invariant with what broke it."""

    seed: int
    broken: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return not any(self.broken.values())

    def __str__(self) -> str:
        lines = [f"{name}: {value}" for name, value in self.figures.items()]
        for name, what in self.broken.items():
            lines += [f"{'BROKEN' if what else 'holds '}  {name}", *(f"        {line}" for line in what[:20])]
        return "\n".join(lines)


Tell = Callable[[str], None]


async def run(folder: Path, seed: int, scale: Scale, tell: Tell = print) -> Verdict:
    """The whole run; `folder` keeps every log. Raises ClusterError when the cluster itself does not come up."""
    begun = time.monotonic()

    def say(text: str) -> None:
        tell(f"[{time.monotonic() - begun:6.1f}] {text}")

    with simulated_cluster(folder / "cluster", nodes=5, audit=True, bodies=GROUPS) as cluster:
        _install(cluster)
        say("cluster is up")
        async with _replicas(cluster, folder, seed, scale.lease_seconds) as replicas:
            return await _Run(cluster, replicas, seed, scale, say).go()


def _install(cluster: SimulatedCluster) -> None:
    cluster.apply(crd())
    for name in (NAMESPACE, CONTROL):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.wait("AlignmentJobs", lambda: cluster.kubectl("get", "alignmentjobs", check=False).returncode == 0)


@asynccontextmanager
async def _replicas(
    cluster: SimulatedCluster, folder: Path, seed: int, lease_seconds: float
) -> AsyncIterator[list[Replica]]:
    """Two replicas that run, the second with a clock that can be shifted."""
    settings = folder / "settings.yaml"
    settings.write_text(json.dumps({"lease_seconds": lease_seconds}))
    replicas: list[Replica] = []
    for number in range(REPLICAS):
        name = f"replica-{number}"
        authority = cluster.layout.credentials.authority
        proxy = Proxy(cluster.url, authority, random.Random(seed * REPLICAS + number))
        trusted = await proxy.start(folder / name)
        replica = Replica(name, folder, proxy, settings, OPERATOR, folder / name / "clock")
        replica.prepare(cluster.service_account(OPERATOR, name), trusted)
        replicas.append(replica)
    replicas[-1].clock.write_text("0")
    tasks = [asyncio.create_task(replica.supervise()) for replica in replicas]
    try:
        yield replicas
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for replica in replicas:
            await replica.proxy.close()


class _Run:
    def __init__(
        self, cluster: SimulatedCluster, replicas: Sequence[Replica], seed: int, scale: Scale, say: Tell
    ) -> None:
        self._cluster, self._replicas, self._scale, self._say = cluster, replicas, scale, say
        self._seed = seed
        self._faults: list[Fault] = schedule(seed, scale.seconds, scale.pace)
        self._plans = population(seed, scale.jobs, scale.seconds * 0.8)

    async def go(self) -> Verdict:
        direct = await connect(str(self._cluster.kubeconfig))
        reports = Reports(direct, self._replicas, random.Random(self._seed))
        sending = asyncio.create_task(reports.send((CONTROL, NAMESPACE)))
        try:
            await self._until("replicas", self._ready, CONTROL_SECONDS)
            control = Users(direct, CONTROL)
            await self._finish(control, controls(), CONTROL_SECONDS)
            self._say(f"{len(controls())} control jobs have ended; {len(self._faults)} faults follow")
            users, faults = (
                Users(direct, NAMESPACE),
                Faults(self._cluster, self._replicas, direct, NAMESPACE, self._say),
            )
            plays = asyncio.create_task(users.play(self._plans))
            await faults.carry_out(self._faults)
            self._say("no more faults")
            late = await self._finish(users, self._plans, self._scale.settle, plays)
            await self._until("replicas", self._ready, CONTROL_SECONDS)
            await self._until("a leader", self._led, CONTROL_SECONDS)  # the Lease of one that was killed has to expire
            await asyncio.sleep(CALM_SECONDS)
            idle_since = datetime.now(UTC)
            await asyncio.sleep(IDLE_SECONDS)
            verdict = self._judge(users, control, late, faults.done, idle_since)
            verdict.figures["reports of progress by answer (0: none)"] = dict(sorted(reports.answers.items()))
            return verdict
        finally:
            sending.cancel()
            await direct.close()

    async def _finish(
        self, users: Users, plans: Sequence[Plan], seconds: float, plays: asyncio.Task[None] | None = None
    ) -> list[str]:
        """Until every job has ended; returns those that have not in so many seconds."""
        plays = plays or asyncio.create_task(users.play(plans))
        deadline = time.monotonic() + seconds
        while (not plays.done() or await users.unfinished(plans)) and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        if plays.done():
            plays.result()
        plays.cancel()
        return await users.unfinished(plans)

    async def _ready(self) -> bool:
        return all([await asyncio.to_thread(replica.ready) for replica in self._replicas])

    async def _led(self) -> bool:
        return any([await asyncio.to_thread(replica.leads) for replica in self._replicas])

    async def _until(self, what: str, condition: Callable[[], Any], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not in {seconds:.0f} s")
            await asyncio.sleep(0.2)

    def _judge(
        self, users: Users, control: Users, late: list[str], done: Counter[str], idle_since: datetime
    ) -> Verdict:
        history = History(self._cluster.audit())
        operators = [replica.name for replica in self._replicas]
        verdict = Verdict(self._seed)
        ends = outcomes.differences(
            [plan for plan in self._plans if plan.name not in late], users.jobs, control.jobs, (NAMESPACE, CONTROL)
        )
        unfinished = [f"{name} had not ended {self._scale.settle:.0f} s after the last fault" for name in late]
        verdict.broken = {"every job ends as it would have": [*unfinished, *ends]}
        verdict.broken |= invariants.all_of(history, operators, self._present(), LEASE, idle_since)
        verdict.figures = self._figures(history, operators, done)
        return verdict

    def _present(self) -> set[str]:
        kinds = "alignmentjobs,jobs,configmaps,services,pods"
        found = json.loads(self._cluster.kubectl("get", kinds, "-A", "-o=json").stdout)["items"]
        return {item["metadata"]["uid"] for item in found}

    def _figures(self, history: History, operators: Sequence[str], done: Counter[str]) -> Json:
        writes = Counter(write.resource for write in history.writes if write.user in operators)
        proxies = [replica.proxy for replica in self._replicas]
        return {
            "seed": self._seed,
            "faults": dict(sorted(done.items())),
            "jobs": len(self._plans),
            "Jobs made": len(history.lives("jobs")),
            "pods": len(history.lives("pods")),
            "accepted writes of the operator": dict(writes.most_common()),
            "of them reports of progress": sum(
                write.manager == invariants.PROGRESS_MANAGER for write in history.writes
            ),
            "requests refused, answers lost, watches cut": [
                sum(getattr(proxy, name) for proxy in proxies) for name in ("refused", "lost", "cut")
            ],
            "processes that ended": dict(Counter(code for replica in self._replicas for code in replica.endings)),
        }
