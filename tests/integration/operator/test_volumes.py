"""Why a pod's volume is not mounted stands in an event about the pod, which nobody watches: it is asked for."""

from __future__ import annotations

import time
from typing import Any

from alignment_operator.resources import CONFIG_MAPS, EVENTS
from tests.integration.operator.conftest import World, condition

MESSAGE = 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found'


def pod_conditions(has_sandbox: bool) -> list[dict[str, Any]]:
    """Scheduled half a minute ago."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 30))
    states = {"PodScheduled": True, "PodReadyToStartContainers": has_sandbox}
    return [{"type": kind, "status": str(is_so), "lastTransitionTime": stamp} for kind, is_so in states.items()]


def kubelet_event(pod: dict[str, Any], message: str = MESSAGE) -> dict[str, Any]:
    meta, stamp = pod["metadata"], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    about = {"apiVersion": "v1", "kind": "Pod", **{name: meta[name] for name in ("namespace", "name", "uid")}}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": meta["namespace"], "name": f"{meta['name']}.1"},
        "involvedObject": about,
        "type": "Warning",
        "reason": "FailedMount",
        "message": message,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
    }


async def test_a_volume_that_is_not_mounted_is_told_until_it_is(shared_operator: Any, world: World) -> None:
    await world.apply()
    pod = await world.pod(await world.job())
    await world.cluster.create(EVENTS, kubelet_event(pod))
    starting = {"waiting": {"reason": "ContainerCreating"}}
    await world.pod_status(pod, "Pending", starting, conditions=pod_conditions(has_sandbox=False))
    told = await world.until(lambda o: condition(o, "Ready").get("reason") == "VolumeNotMounted")
    assert condition(told, "Ready")["status"] == "False"
    assert MESSAGE in condition(told, "Running")["message"]
    assert "Secret" in told["status"]["failure"]["cure"]

    await world.pod_status(pod, "Pending", starting, conditions=pod_conditions(has_sandbox=True))
    healed = await world.until(lambda o: condition(o, "Ready").get("reason") == "Starting")
    assert "failure" not in healed["status"]


async def test_a_config_map_that_the_kubelet_misses_is_made_again(shared_operator: Any, world: World) -> None:
    await world.apply()
    pod = await world.pod(await world.job())
    config = await world.get(CONFIG_MAPS, world.child(1))
    assert config is not None
    await world.cluster.delete(CONFIG_MAPS, world.namespace, world.child(1), config["metadata"]["uid"])
    said = f'MountVolume.SetUp failed for volume "alignment-config" : configmap "{world.child(1)}" not found'
    await world.cluster.create(EVENTS, kubelet_event(pod, said))
    starting = {"waiting": {"reason": "ContainerCreating"}}
    await world.pod_status(pod, "Pending", starting, conditions=pod_conditions(has_sandbox=False))
    again = await world.until(lambda o: o["metadata"]["uid"] != config["metadata"]["uid"], CONFIG_MAPS, world.child(1))
    assert again["data"] == config["data"]
