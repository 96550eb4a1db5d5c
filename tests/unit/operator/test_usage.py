"""GPU time: each pod of each attempt once, whatever the operator missed, and however often it looks."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from alignment_operator.api.status import Usage
from alignment_operator.conditions import stamp
from alignment_operator.runs import Decision
from alignment_operator.settings import GpuPrice, Settings, UsageSettings
from alignment_operator.status import compute
from alignment_operator.usage import Seen, account, of_next_run, running
from alignment_operator.views import PodView
from tests.unit.operator.builders import NOW, Job, Pod, alignment_job, at, observed, said, with_status

GPU = "nvidia.com/gpu"
PRICES = UsageSettings(
    "EUR",
    (
        GpuPrice(4.0, GPU, {"gpu.product": "H100"}),
        GpuPrice(1.5, GPU),
        GpuPrice(0.5, "nvidia.com/mig-1g.5gb"),
    ),
)


def pod(name: str = "a", index: int = 0, since: float = -100, end: float | None = None, gpus: int = 2) -> PodView:
    """A pod that got its node at `since` and whose trainer ended at `end` (None: it runs)."""
    made = Pod(index, name).created(since).scheduled(since)
    made.obj["spec"]["containers"] = [{"name": "trainer", "resources": {"limits": {GPU: str(gpus), "cpu": "4"}}}]
    made.running(since + 5)
    return (made if end is None else made.exited(75, seconds=end)).view()


def look(usage: dict[str, Any] | None, *pods: PodView, **more: Any) -> dict[str, Any] | None:
    """One look of the operator: from the stored `status.usage` to the next."""
    gone, over = more.pop("gone", ()), more.pop("over", None)
    stored = Usage.model_validate(usage) if usage else None
    settings = more.pop("settings", UsageSettings())
    return account(stored, Seen(pods, gone, over), GPU, settings, more.pop("now", NOW), **more)


def test_a_running_pod_is_written_down_and_not_in_the_sum_yet() -> None:
    usage = look(None, pod())
    assert usage["gpuSeconds"] == 0
    assert usage["pods"] == [{"pod": "demo-r1-0-a", "gpus": 2, "since": at(-100)}]
    assert running(usage, NOW) == (2, 200)


def test_the_time_is_that_from_the_node_to_the_last_containers_end() -> None:
    usage = look(look(None, pod()), pod(end=-10))
    assert usage["gpuSeconds"] == usage["totalGpuSeconds"] == 180
    assert running(usage, NOW) == (0, 180)


@pytest.mark.parametrize("times", [1, 2, 5])
def test_looking_again_counts_nothing_again(times: int) -> None:
    usage = None
    for _ in range(times):
        usage = look(usage, pod(end=-10))
    assert usage == look(usage, pod(end=-10))
    assert usage["gpuSeconds"] == 180


def test_attempts_add_up_and_the_books_of_old_ones_are_closed() -> None:
    first, second = pod("a", since=-100, end=-80), pod("b", since=-60)
    usage = look(look(look(None, pod("a")), first), first, second)
    assert usage["gpuSeconds"] == 40
    assert [p["pod"] for p in usage["pods"]] == ["demo-r1-0-b"], "one entry, however many attempts there were"
    assert usage["settledUntil"] == at(-100)
    assert look(usage, first, second) == usage, "the first pod still exists, and is not counted again"


def test_an_end_that_was_seen_only_as_a_deletion_counts() -> None:
    usage = look(look(None, pod()), gone=(pod(end=-30),))
    assert usage["gpuSeconds"] == 140
    assert look(usage)["gpuSeconds"] == 140


def test_a_pod_deleted_by_force_counts_until_then() -> None:
    forced = Pod(0, "a").scheduled(-100).running(-90).deleted(-50, grace=0)
    forced.obj["spec"]["containers"] = [{"name": "trainer", "resources": {"limits": {GPU: "2"}}}]
    assert look(look(None, pod()), gone=(forced.view(),))["gpuSeconds"] == 100


@pytest.mark.parametrize(
    ("seen", "over", "seconds"),
    [
        pytest.param((), None, 100, id="it-ended-by-now"),
        pytest.param((), -60, 40, id="when-the-run-was-over"),
        pytest.param((pod("b", since=-70),), None, 30, id="before-its-successor-was-made"),
        pytest.param((pod("b", index=1, since=-70),), None, 100, id="another-index-says-nothing"),
    ],
)
def test_a_pod_that_went_while_the_operator_was_down_counts_as_little_as_is_certain(
    seen: tuple[PodView, ...], over: float | None, seconds: int
) -> None:
    end = NOW + timedelta(seconds=over) if over is not None else None
    assert look(look(None, pod("a")), *seen, over=end)["gpuSeconds"] == 2 * seconds


def test_pods_of_one_attempt_are_held_together_until_the_last_has_ended() -> None:
    usage = look(None, pod("a", 0), pod("b", 1, since=-98))
    usage = look(usage, pod("a", 0, end=-20), pod("b", 1, since=-98))
    assert usage["gpuSeconds"] == 160
    assert "settledUntil" not in usage
    usage = look(usage, pod("a", 0, end=-20), pod("b", 1, since=-98, end=-18), closed=True)
    assert usage["gpuSeconds"] == 160 + 160
    assert usage["pods"] == []
    assert usage["settledUntil"] == at(-98)


def test_what_is_over_takes_no_more_books() -> None:
    usage = look(look(None, pod()), pod(end=-10), closed=True)
    assert look(usage, pod(end=-10), closed=True) == usage
    assert look(usage, closed=True) == usage, "its pods were deleted since"


@pytest.mark.parametrize(
    ("resource", "selector", "cost"),
    [
        pytest.param(GPU, {"gpu.product": "H100", "zone": "a"}, "8.0000", id="by-its-flavors-label"),
        pytest.param(GPU, {}, "3.0000", id="by-its-resource"),
        pytest.param("nvidia.com/mig-1g.5gb", {}, "1.0000", id="a-slice"),
        pytest.param("amd.com/gpu", {}, "0.0000", id="no-price"),
    ],
)
def test_the_first_price_that_fits_is_taken(resource: str, selector: dict[str, str], cost: str) -> None:
    made = Pod(0, "a").scheduled(-3600).running(-3590)
    made.obj["spec"]["containers"] = [{"name": "trainer", "resources": {"limits": {resource: "2"}}}]
    made.obj["spec"]["nodeSelector"] = selector
    usage = account(None, Seen([made.exited(0, seconds=0).view()]), resource, PRICES, NOW)
    assert (usage["gpuSeconds"], usage["cost"], usage["currency"]) == (7200, cost, "EUR")


def test_a_change_of_prices_is_for_pods_that_start_later() -> None:
    usage = look(None, pod(since=-3600), settings=PRICES)
    dearer = UsageSettings("EUR", (GpuPrice(100.0),))
    assert look(usage, pod(since=-3600, end=0), settings=dearer)["cost"] == "3.0000"


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"name": "trainer", "resources": {"limits": {"cpu": "1"}}}]},
        {"containers": [{"name": "trainer"}]},
        {"containers": [{"name": "trainer", "resources": {"limits": {"example.kubernetes.io/x": "1"}}}]},
    ],
    ids=["cpu", "nothing", "kubernetes-own"],
)
def test_a_pod_without_gpus_leaves_no_trace(spec: dict[str, Any]) -> None:
    made = Pod().scheduled(-50).running()
    made.obj["spec"] |= spec
    assert look(None, made.view()) is None


def test_the_next_run_starts_from_nothing_and_the_sum_of_all_goes_on() -> None:
    usage = look(look(None, pod()), pod(end=-10), settings=PRICES, closed=True)
    after = of_next_run(usage)
    assert after == {"gpuSeconds": 0, "totalGpuSeconds": 180, "totalCost": usage["totalCost"], "currency": "EUR"}
    second = look(after, pod("b", since=-8, end=-3), settings=PRICES)
    assert (second["gpuSeconds"], second["totalGpuSeconds"]) == (10, 190)


@pytest.mark.parametrize("seed", range(60))
def test_any_history_looked_at_at_any_moments_by_any_operator_gives_the_same_sum(seed: int) -> None:
    """Attempts of one to three pods; looks at random moments, each from the stored status alone."""
    rng = random.Random(seed)
    nodes, start, truth, lives = rng.randint(1, 3), 0, 0, []
    for attempt in range(rng.randint(1, 6)):
        ends = [start + rng.randint(1, 400) for _ in range(nodes)]
        for index, end in enumerate(ends):
            since = min(start + index, end)
            lives.append((f"{attempt}x", index, since, end))
            truth += 2 * (end - since)
        start = max(ends) + rng.randint(10, 60)
    usage = None
    for moment in [*sorted(rng.sample(range(1, start + 50), 12)), start + 60]:
        usage = look(usage, *_at(lives, moment), now=NOW + timedelta(seconds=moment), closed=moment == start + 60)
        assert len(usage["pods"]) <= 2 * nodes if usage else True
    assert usage["gpuSeconds"] == truth
    assert usage["pods"] == []


def _at(lives: list[tuple[str, int, int, int]], moment: int) -> list[PodView]:
    """The pods as they are at that moment: ended ones stay until their Job is deleted."""
    made = [life for life in lives if life[2] <= moment]
    return [pod(name, index, since, end if end <= moment else None) for name, index, since, end in made]


def _step(job: Any, *pods: Pod, child: Job | None = None, decision: Decision | None = None) -> Any:
    seen = observed(child or Job(), *pods)
    result = compute(job, seen, decision or Decision(run=1), NOW, Settings(usage=PRICES))
    return with_status(job, result.status), result.status


def test_status_has_the_time_of_a_run_and_of_those_before_it() -> None:
    held = {"containers": [{"name": "trainer", "resources": {"limits": {GPU: "1"}}}]}
    first = Pod().scheduled(-50).running()
    first.obj["spec"] |= held
    job, status = _step(alignment_job(gpusPerNode=1, status={"run": 1, "jobName": "demo-r1"}), first)
    assert status["usage"]["pods"][0]["gpus"] == 1
    job, status = _step(job, first.exited(0, said()), child=Job().complete())
    assert status["usage"]["gpuSeconds"] == 45
    _, status = _step(job, decision=Decision(run=2, new_run=True, start=True, output_path="/o"))
    assert status["runs"][0]["gpuSeconds"] == 45
    assert status["usage"]["totalGpuSeconds"] == 45
    assert status["usage"]["gpuSeconds"] == 0


def test_pods_of_a_deleted_job_of_the_same_name_are_not_ours() -> None:
    obj = alignment_job(gpusPerNode=1, status={"run": 1, "jobName": "demo-r1"}).to_object()
    obj["metadata"]["creationTimestamp"] = stamp(NOW - timedelta(seconds=20))
    held = Pod().scheduled(-50).running().exited(75)
    held.obj["spec"]["containers"] = [{"name": "trainer", "resources": {"limits": {GPU: "1"}}}]
    result = compute(
        alignment_job().model_validate(obj), observed(Job(), held), Decision(run=1), NOW, Settings(usage=PRICES)
    )
    assert "usage" not in result.status
