"""A pod whose volumes are not mounted says so within half a minute; one that starts as usual costs no call."""

from __future__ import annotations

from typing import Any

import pytest

from alignment_operator import obstacles
from alignment_operator.observed import Observed
from alignment_operator.settings import Settings
from tests.unit.operator.builders import NOW, Job, Pod, not_mounted, observed

SECRET = 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found'
SUMMARY = "Unable to attach or mount volumes: unmounted volumes=[keys], timed out waiting for the condition"
ATTACH = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other'


@pytest.mark.parametrize(
    ("pod", "asked"),
    [
        pytest.param(Pod().scheduled(-19), False, id="just-scheduled"),
        pytest.param(Pod().scheduled(-20), True, id="no-sandbox-for-20-seconds"),
        pytest.param(Pod().scheduled(-300).has_sandbox(), False, id="pulls-a-large-image"),
        pytest.param(Pod().scheduled(-300).has_sandbox().waiting("ErrImagePull"), False, id="image-is-missing"),
        pytest.param(Pod().scheduled(-300).running(), False, id="runs"),
        pytest.param(Pod().unschedulable(), False, id="no-node-takes-it"),
        pytest.param(Pod().scheduled(-300).deleted(-5), False, id="is-being-deleted"),
        pytest.param(Pod(), False, id="nothing-is-known-yet"),
    ],
)
def test_only_a_pod_that_waits_long_for_its_volumes_is_asked_about(pod: Pod, asked: bool) -> None:
    assert bool(obstacles.awaiting_volumes(observed(Job(), pod), NOW)) == asked


def found(seen: Observed) -> obstacles.Obstacle | None:
    return obstacles.find(seen, 1, NOW, Settings())[0]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        pytest.param(not_mounted(SECRET), ["keys", "spec.podTemplate"], id="secret-is-missing"),
        pytest.param(
            not_mounted(ATTACH, "FailedAttachVolume"), ["Multi-Attach", "spec.output.volume"], id="attached-elsewhere"
        ),
        pytest.param(
            not_mounted("rpc error: driver name x not found in the list of registered CSI drivers"),
            ["CSI driver", "StorageClass"],
            id="no-driver",
        ),
        pytest.param(not_mounted("mount.nfs: Connection refused"), ["nfs", "spec.cache.volume"], id="nfs-server"),
        pytest.param(not_mounted(SUMMARY), ["keys", "spec.output.volume"], id="nothing-but-the-summary"),
    ],
)
def test_the_kubelets_words_and_a_cure_are_told(event: Any, words: list[str]) -> None:
    obstacle = found(observed(Job(), Pod().scheduled(-25), pod_events=(event,)))
    assert obstacle is not None
    assert obstacle.reason == "VolumeNotMounted"
    assert all(word in obstacle.message + obstacle.cure for word in words)


def test_the_cause_stays_told_while_summaries_and_other_causes_come_in_turn() -> None:
    other = SECRET.replace("keys", "other")
    orders = [
        (not_mounted(SECRET, seconds=a), not_mounted(other, seconds=b), not_mounted(SUMMARY, seconds=c))
        for a, b, c in [(-30, -20, -10), (-20, -30, -10), (-10, -20, -30)]
    ]
    told = {found(observed(Job(), Pod().scheduled(-90), pod_events=events)) for events in orders}
    assert len(told) == 1
    assert SECRET in str(told)


def test_a_cause_that_was_mended_gives_way_to_the_one_that_is_left() -> None:
    left = SECRET.replace("keys", "other")
    events = (not_mounted(SECRET, seconds=-300), not_mounted(left, seconds=-5))
    obstacle = found(observed(Job(), Pod().scheduled(-400), pod_events=events))
    assert obstacle is not None
    assert left in obstacle.message


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(not_mounted("Back-off restarting failed container", "BackOff"), id="about-something-else"),
        pytest.param(not_mounted(SECRET, pod=Pod(1)), id="about-another-pod"),
    ],
)
def test_other_events_are_no_obstacle(event: Any) -> None:
    assert found(observed(Job(), Pod().scheduled(-25), pod_events=(event,))) is None


@pytest.mark.parametrize(("scheduled", "seconds"), [(-5, 15), (-20, 10), (-59, 10), (-300, 30)])
def test_the_pod_is_looked_at_again_in_time(scheduled: float, seconds: float) -> None:
    _, look_again = obstacles.find(observed(Job(), Pod().scheduled(scheduled)), 1, NOW, Settings())
    assert look_again == pytest.approx(seconds)


@pytest.mark.parametrize("child", [None, Job().suspended(), Job().complete(), Job().failed("DeadlineExceeded")])
def test_nothing_is_asked_for_a_run_of_which_status_says_something_else(child: Job | None) -> None:
    assert not obstacles.awaiting_volumes(observed(child, Pod().scheduled(-60)), NOW)
