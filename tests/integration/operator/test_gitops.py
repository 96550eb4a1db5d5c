"""An AlignmentJob as GitOps tools keep it: applied again and again from one manifest, and judged by its status.

The Job controller and the garbage collector are Kubernetes' own; the tests play the kubelet.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import groupby
from typing import Any, ClassVar

import pytest

from alignment_operator.cluster import connect
from alignment_operator.mergepatch import merge_diff
from alignment_operator.resources import CONFIG_MAPS, JOBS
from tests.integration.apiserver import ApiServer
from tests.integration.gitops import engines
from tests.integration.operator.conftest import Operator, World, condition
from tests.integration.operator.controllers import controller_manager, pods_of, seen
from tests.integration.operator.kept import ACCOUNT, CLIENT_SIDE, SERVER_SIDE, Kept
from tests.integration.operator.test_life import RESULT
from tests.integration.operator.test_progress import Trainer, report

Object = dict[str, Any]
Keep = Callable[..., Kept]
# What kstatus is to say of each phase; of Running it depends on whether the pods run or the end is being read.
KSTATUS = {
    "Pending": "InProgress",
    "Starting": "InProgress",
    "Suspended": "Current",
    "Complete": "Current",
    "Failed": "Failed",
    "Refused": "Failed",
}


@pytest.fixture(scope="module", autouse=True)
def controllers(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with controller_manager(apiserver, tmp_path_factory.mktemp("controllers")):
        yield


class Lives:
    """The lives of this file. All begin with the first test that asks for one: they wait more than they compute."""

    told: ClassVar[dict[str, Callable[[Keep], Coroutine[Any, Any, None]]]] = {}

    def __init__(self, keep: Keep) -> None:
        self.keep = keep
        self.begun = {name: self._begin(name) for name in self.told}

    def _begin(self, name: str) -> asyncio.Task[None]:
        return asyncio.create_task(self.told[name](self.keep))

    async def end(self, name: str) -> None:
        """Wait until it is over; asked for again, it is lived anew."""
        await (self.begun.pop(name, None) or self._begin(name))

    async def abandon(self) -> None:
        for task in self.begun.values():
            task.cancel()
        await asyncio.gather(*self.begun.values(), return_exceptions=True)


def life(story: Callable[[Keep], Coroutine[Any, Any, None]]) -> None:
    Lives.told[story.__name__] = story


@pytest.fixture(scope="module")
async def keep(
    shared_operator: Operator, apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Keep]:
    """`keep(name, how=SERVER_SIDE)`: a job in a file, not applied yet."""
    connection, folder = await connect(str(apiserver.kubeconfig)), tmp_path_factory.mktemp("kept")

    def make(name: str, how: tuple[str, ...] = SERVER_SIDE) -> Kept:
        world = World(connection, shared_operator.namespace)
        return Kept(world, apiserver, folder, f"{name}-{uuid.uuid4().hex[:6]}", how)

    yield make
    await connection.close()


@pytest.fixture(scope="module")
async def lives(keep: Keep) -> AsyncIterator[Lives]:
    every = Lives(keep)
    yield every
    await every.abandon()


@life
async def nothing_is_left_to_sync_at_any_point_of_a_life(keep: Keep) -> None:
    kept = keep("applied", CLIENT_SIDE)
    async with seen(kept) as versions:
        await kept.sync()
        await kept.starts()
        kept.write(suspend=True)
        assert "suspend" in await kept.diff(), "a difference would be seen"
        await kept.sync()
        await kept.reaches("Suspended")
        await kept.sync(suspend=None)
        await kept.completes()
        before = (await kept.get_job())["metadata"]["resourceVersion"]
        await kept.sync()
        assert (await kept.get_job())["metadata"]["resourceVersion"] == before
    story = "unseen Running unseen Suspended unseen Running Complete"
    assert in_order(story.split(), phases(versions))
    clean(versions)


@life
async def a_new_token_is_a_new_run_with_or_without_another_spec_and_status_remembers(keep: Keep) -> None:
    kept = keep("again")
    async with seen(kept) as versions:
        await kept.sync(ttlSecondsAfterFinished=3600)  # so that a successor waits until the ended Job is removed
        await kept.completes(1)
        await kept.sync(rerun="second")
        await kept.completes(2)
        await kept.sync(rerun="third", dpo={"beta": 0.2})
        await kept.completes(3)
    job = await kept.get_job()
    (shown,) = engines.argo([job])
    assert (shown.health, shown.actions) == ("Healthy", ()), "the token is git's, so Argo CD does not offer a rerun"
    status = job["status"]
    assert (status["run"], status["rerun"]) == (3, "third")
    history = [(entry["run"], entry.get("rerun"), entry["outcome"]) for entry in status["runs"]]
    assert history == [(1, None, "Complete"), (2, "second", "Complete")]
    betas = [
        json.loads(line.split(":")[1]) for run in (2, 3) for line in await recipe(kept, run) if line.startswith("beta:")
    ]
    assert betas == [0.1, 0.2]
    clean(versions)
    ends = [flux.complete for obj, flux in zip(versions, engines.flux(versions), strict=True) if end_of_old_spec(obj)]
    assert ends, "the end of a run was still told while its successor waited"
    assert set(ends) == {"InProgress"}


@life
async def a_refused_and_a_failed_job_stop_who_waits_and_go_on_when_they_are_mended(keep: Keep) -> None:
    kept = keep("mended")
    async with seen(kept) as versions:
        nonsense = [{"key": "a", "operator": "Nonsense"}]
        await kept.sync(podTemplate={"spec": {**ACCOUNT["spec"], "tolerations": nonsense}})
        await kept.until(lambda o: o["status"]["phase"] == "Refused")
        assert await kept.diff() == ""
        await kept.sync(podTemplate=None)
        await kept.ends(await kept.starts(), 65, '{"contractVersion": 1, "outcome": "Failed", "message": "no column"}')
        await kept.reaches("Failed")
        await kept.sync(rerun="mended")
        await kept.completes(2)
    story = "unseen Refused unseen Running Failed unseen Running Complete"
    assert in_order(story.split(), phases(versions))
    clean(versions)


@life
async def argo_cds_actions_do_what_they_say_and_a_sync_leaves_them(keep: Keep) -> None:
    kept = keep("clicked")
    await kept.sync()
    await kept.starts()
    await act(kept, "suspend")
    await kept.reaches("Suspended")
    await act(kept, "resume")
    await kept.completes()
    await act(kept, "rerun")
    await kept.completes(2)
    version = await kept.quiet()
    await kept.sync()
    assert await kept.quiet() == version, "git has no token, and takes none away"


@pytest.mark.parametrize("name", Lives.told)
async def test_a_life(name: str, lives: Lives) -> None:
    await lives.end(name)


async def test_a_user_who_applies_and_the_operator_who_reports_never_meet(
    keep: Keep, shared_operator: Operator, apiserver: ApiServer
) -> None:
    kept = keep("reported")
    apiserver.kubectl("create", "serviceaccount", "default", f"-n={kept.namespace}", check=False)
    await kept.sync()
    trainer = Trainer(shared_operator, kept, apiserver)
    trainer.pod = await kept.starts()
    trainer.ca = (await kept.until(bool, CONFIG_MAPS, kept.child(1)))["data"]["ca.crt"]
    token = trainer.token()
    for step in range(1, 6):
        reported, synced = await asyncio.gather(
            trainer.post(report(step, ("Training", "Saving")[step % 2]), token=token),
            kept.sync(backoffLimit=step),
        )
        assert (reported, "serverside-applied" in synced) == (200, True)
    job = await kept.until(
        lambda o: (
            o["status"]["progress"]["step"] == 5 and o["status"]["observedGeneration"] == o["metadata"]["generation"]
        )
    )
    assert (await kept.job())["spec"]["backoffLimit"] == 5
    assert owned_by("gitops", job) == {"f:spec"}
    assert owned_by("alignment-operator", job) == owned_by("alignment-operator-progress", job) == {"f:status"}
    with_status = {**json.loads(kept.file.read_text()), "status": {**job["status"], "phase": "Nonsense"}}
    kept.file.write_text(json.dumps(with_status))
    await kept.kubectl("apply", "-f", str(kept.file), *kept.how)
    assert (await kept.get_job())["status"]["phase"] == "Running"


async def test_ttl_removes_the_job_and_its_pods_and_nothing_makes_them_again(
    keep: Keep, shared_operator: Operator
) -> None:
    kept = keep("cleaned")
    await kept.sync(ttlSecondsAfterFinished=1)
    await kept.completes()
    await kept.gone(JOBS, kept.child(1))
    await until_none(kept, 1)
    done = await kept.get_job()
    assert (done["status"]["phase"], done["status"]["result"]["step"]) == ("Complete", RESULT["step"])
    shared_operator.end()
    shared_operator.start()
    await kept.sync()
    await kept.sync(ttlSecondsAfterFinished=2)  # a change that asks for no run
    await kept.reaches("Complete")
    await kept.quiet()
    assert await kept.get(JOBS, kept.child(1)) is None
    assert await kept.get(JOBS, kept.child(2)) is None


async def act(kept: Kept, action: str) -> None:
    """Run an action as Argo CD's server does: what it changes is sent as a merge patch."""
    obj = await kept.get_job()
    (shown,) = engines.argo([obj], action)
    assert action in shown.actions
    patch = json.dumps(merge_diff(obj, shown.result))
    await kept.kubectl("patch", "aj", kept.name, "--type=merge", "--field-manager=argocd-server", "-p", patch)


async def until_none(kept: Kept, run: int) -> None:
    while await pods_of(kept, run):
        await asyncio.sleep(0.1)


async def recipe(kept: Kept, run: int) -> list[str]:
    config = await kept.until(bool, CONFIG_MAPS, kept.child(run))
    return list(config["data"]["recipe.yaml"].splitlines())


def owned_by(manager: str, obj: Object) -> set[str]:
    entries = [entry["fieldsV1"] for entry in obj["metadata"]["managedFields"] if entry["manager"] == manager]
    return {name for fields in entries for name in fields}


def end_of_old_spec(obj: Object) -> bool:
    """It says that a run is complete, while spec.rerun asks for another one and the operator knows it."""
    asked = obj["spec"].get("rerun") != obj["status"].get("rerun")
    return phase(obj) != "unseen" and asked and condition(obj, "Complete").get("status") == "True"


def phase(obj: Object) -> str:
    """`unseen` while the operator has not looked at this generation."""
    status = obj["status"]
    return str(status["phase"]) if status["observedGeneration"] == obj["metadata"]["generation"] else "unseen"


def phases(versions: list[Object]) -> list[str]:
    return [name for name, _ in groupby(phase(obj) for obj in versions)]


def in_order(story: list[str], told: list[str]) -> bool:
    """Whether the story's phases come in this order; between them those that come and go (Pending, Starting)."""
    rest = iter(told)
    return all(name in rest for name in story)


def clean(versions: list[Object]) -> None:
    """kstatus' own words about every version, and its rules for conditions."""
    for obj, flux in zip(versions, engines.flux(versions), strict=True):
        running = "Current" if condition(obj, "Running").get("status") == "True" else "InProgress"
        expected = {"unseen": "InProgress", "Running": running, **KSTATUS}[phase(obj)]
        assert flux.kstatus == expected, json.dumps(obj["status"])
        generations = [c["observedGeneration"] for c in obj["status"].get("conditions", ())]
        assert max(generations, default=-1) <= obj["status"]["observedGeneration"] <= obj["metadata"]["generation"]
        abnormal = [c for c in obj["status"].get("conditions", ()) if c["type"] in ("Reconciling", "Stalled")]
        assert [c["status"] for c in abnormal] in ([], ["True"])
