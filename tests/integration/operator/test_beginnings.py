"""How a run begins: its first status and its ConfigMap at a time, its Job after both; and what is in the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from alignment_operator.api.constants import API_VERSION, KIND
from alignment_operator.cluster import ApiError
from alignment_operator.resources import CONFIG_MAPS, JOBS
from tests.integration.apiserver import ApiServer
from tests.integration.operator.conftest import Operator, World


@pytest.fixture
def no_config_maps(apiserver: ApiServer, world: World) -> Iterator[dict[str, Any]]:
    """The ConfigMap of the first run of `held` is refused until this policy is deleted."""
    name = f"no-config-maps-of-{world.namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    mine = f"request.namespace == '{world.namespace}' && object.metadata.name == 'held-r1'"
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "mine", "expression": mine}],
        "validations": [{"expression": "false", "message": "no room for it"}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    kinds = {"ValidatingAdmissionPolicy": policy, "ValidatingAdmissionPolicyBinding": binding}
    api, meta = "admissionregistration.k8s.io/v1", {"name": name}
    items = [{"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec} for kind, spec in kinds.items()]
    whole = {"apiVersion": "v1", "kind": "List", "items": items}
    apiserver.kubectl("apply", "-f", "-", input=json.dumps(whole))
    yield whole
    apiserver.kubectl("delete", "--ignore-not-found", "-f", "-", input=json.dumps(whole))


async def until_refused(world: World) -> None:
    """The API server learns of a policy by a watch."""
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": world.namespace, "name": "held-r1"}}
    for _ in range(200):
        try:
            await world.cluster.create(CONFIG_MAPS, probe, dry_run=True)
        except ApiError as error:
            if "no room for it" in error.message:
                return
        await asyncio.sleep(0.1)
    pytest.fail("the policy is not in force")


async def test_a_config_map_that_is_refused_keeps_the_job_back_until_it_is_taken(
    shared_operator: Operator, apiserver: ApiServer, world: World, no_config_maps: dict[str, Any]
) -> None:
    await until_refused(world)
    await world.apply("held")
    await world.until(lambda o: o["status"]["jobName"] == "held-r1", name="held")
    await asyncio.sleep(1)
    assert await world.get(JOBS, "held-r1") is None
    apiserver.kubectl("delete", "-f", "-", input=json.dumps(no_config_maps))
    job = await world.job("held-r1")
    config = await world.get(CONFIG_MAPS, "held-r1")
    assert config is not None
    assert config["metadata"]["creationTimestamp"] <= job["metadata"]["creationTimestamp"]


async def test_a_config_map_that_an_earlier_try_left_is_replaced_before_the_job_is_made(
    shared_operator: Operator, world: World
) -> None:
    """The spec was changed while the run began, or the operator was killed between its two writes."""
    job = await world.apply("mended", suspend=True)
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": "mended", "uid": job["metadata"]["uid"]}
    left = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": world.namespace,
            "name": "mended-r1",
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "immutable": True,
        "data": {"recipe.yaml": "beta: 0.7\n", "run.yaml": "outputPath: /output/elsewhere\n"},
    }
    old = await world.cluster.create(CONFIG_MAPS, left)
    world.name = "mended"
    await world.change(suspend=False)
    await world.job()
    config = await world.get(CONFIG_MAPS, "mended-r1")
    assert config is not None
    assert config["metadata"]["uid"] != old["metadata"]["uid"]
    assert "beta: 0.1" in config["data"]["recipe.yaml"]
    status = (await world.get_job())["status"]
    assert f"outputPath: {status['outputPath']}" in config["data"]["run.yaml"]
