"""An operator that starts before its rights are there: an installer, or a starting API server, may be later than it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.apiserver import ApiServer
from tests.integration.operator.conftest import Operator, World
from tests.integration.operator.test_outages import until

LEADS = "leader_election_master_status"


@pytest.fixture
def account(apiserver: ApiServer, namespace: str, new_operator: Callable[..., Operator], tmp_path: Path) -> Callable:
    """Replicas of one operator that log in as a ServiceAccount without any right. Not started."""

    def make(name: str) -> Operator:
        apiserver.kubectl("create", "serviceaccount", name, f"-n={namespace}")
        token = apiserver.kubectl("create", "token", name, f"-n={namespace}").stdout.strip()
        config = json.loads(apiserver.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        one = new_operator()
        one.kubeconfig = tmp_path / f"{name}.kubeconfig"
        one.kubeconfig.write_text(json.dumps(config))
        return one

    return make


def lines(one: Operator) -> list[dict]:
    """What it logged; what it printed beside that is left out."""
    return [json.loads(line) for line in one.log.read_text().splitlines() if line.startswith("{")]


def waits(one: Operator) -> list[dict]:
    return [line for line in lines(one) if line["message"] == "a right is missing: waiting for it"]


async def test_rights_that_come_late_are_waited_for_and_rights_that_never_come_are_named(
    account: Callable[[str], Operator], apiserver: ApiServer, world: World
) -> None:
    late, never = account("late"), account("never")
    for one in (late, never):
        one.launch()
    await until(lambda: bool(waits(late) and waits(never)))
    assert await asyncio.to_thread(late.get, "/healthz") == 200
    assert await asyncio.to_thread(late.get, "/readyz") == 503
    await asyncio.sleep(2)
    bind = ("create", "rolebinding", "late", "--clusterrole=cluster-admin", f"--serviceaccount={world.namespace}:late")
    await asyncio.to_thread(apiserver.kubectl, *bind, f"-n={world.namespace}")
    await until(lambda: late.get("/readyz") == 200 and late.metric(LEADS) == 1)
    await world.apply()
    await world.job()
    assert len(waits(late)) == 1
    assert "Traceback" not in late.log.read_text()

    assert never.process is not None
    assert await asyncio.to_thread(never.process.wait, 40) == 1
    assert len(waits(never)) == 1
    text = never.log.read_text()
    (said,) = (line for line in text.splitlines() if line.startswith("error: "))
    rule = '{apiGroups: ["alignment-operator.io"], resources: ["alignmentjobs"], verbs: ["list"]}'
    assert f"{rule}, bound to system:serviceaccount:{world.namespace}:never in namespace {world.namespace}" in said
    assert "Traceback" not in text
