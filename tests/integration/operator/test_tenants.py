"""The operator with allow-lists and a network of each job's own: what it refuses by itself, and what it makes.

No admission policy is installed here: this is what holds without one, and for objects that are older than one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from alignment_operator.resources import JOBS, NETWORK_POLICIES
from tests.allowed_cases import ALL_LISTS, IMAGE
from tests.integration.apiserver import ApiServer
from tests.integration.operator.conftest import Operator, World, condition

SETTINGS = {"allowed": ALL_LISTS, "job_network": {"enabled": True}}


@pytest.fixture
async def strict(apiserver: ApiServer, namespace: str, tmp_path: Path, cluster, world: World) -> AsyncIterator[World]:
    """A namespace with an operator of these settings."""
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    operator = Operator(apiserver.kubeconfig, namespace, tmp_path / "operator.log", (f"--settings={path}",)).start()
    yield world
    operator.end(9)


async def test_without_an_admission_policy_the_operator_refuses_and_takes_the_mended_spec(strict: World) -> None:
    await strict.apply(image="busybox")
    refused = await strict.until(lambda o: o["status"]["phase"] == "Refused")
    accepted = condition(refused, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "NotAllowed")
    assert "spec.image" in accepted["message"]
    assert "settings.allowed.images" in accepted["message"]
    assert await strict.get(JOBS, strict.child(1)) is None
    assert await strict.get(NETWORK_POLICIES, strict.child(1)) is None

    await strict.change(image=IMAGE)
    await strict.job()
    policy = await strict.get(NETWORK_POLICIES, strict.child(1))
    job = await strict.get_job()
    assert policy is not None
    [owner] = policy["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["blockOwnerDeletion"]) == ("AlignmentJob", job["metadata"]["uid"], True)
    assert policy["spec"]["podSelector"]["matchLabels"] == {"batch.kubernetes.io/job-name": strict.child(1)}
    made = await strict.job()
    assert policy["metadata"]["creationTimestamp"] <= made["metadata"]["creationTimestamp"]

    await strict.change(rerun="again", image="busybox")
    again = await strict.until(lambda o: condition(o, "Accepted")["status"] == "False")
    assert condition(again, "Accepted")["reason"] == "NotAllowed"
    assert await strict.get(JOBS, strict.child(2)) is None
