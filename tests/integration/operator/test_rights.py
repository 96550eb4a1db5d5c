"""An operator whose rights are not there yet, for an installer may be later than it, or no more."""

from __future__ import annotations

import asyncio
import json
import os
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


@pytest.fixture
def role(apiserver: ApiServer, namespace: str) -> Callable[..., None]:
    """Make or change a Role of these rules, and bind it to every ServiceAccount of the namespace."""

    def apply(name: str, *rules: dict) -> None:
        group = "rbac.authorization.k8s.io"
        about = {"apiVersion": f"{group}/v1", "metadata": {"name": name, "namespace": namespace}}
        everybody = {"apiGroup": group, "kind": "Group", "name": f"system:serviceaccounts:{namespace}"}
        bound = {"roleRef": {"apiGroup": group, "kind": "Role", "name": name}, "subjects": [everybody]}
        objects = [about | {"kind": "Role", "rules": list(rules)}, about | {"kind": "RoleBinding"} | bound]
        manifest = {"apiVersion": "v1", "kind": "List", "items": objects}
        apiserver.kubectl("apply", "-f", "-", input=json.dumps(manifest))

    return apply


async def test_a_right_on_leases_that_is_lost_ends_the_leader_and_does_not_let_it_wait_for_ever_again(
    account: Callable[[str], Operator], role: Callable[..., None], world: World, tmp_path: Path
) -> None:
    """Not to read, which a start needs too, but to write, which only a leader does."""
    groups = ["", "alignment-operator.io", "batch", "networking.k8s.io"]
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    role("work", {"apiGroups": groups, "resources": ["*"], "verbs": ["*"]})
    role("lead", leases | {"verbs": ["get", "create", "update"]})
    one = account("one")
    settings = tmp_path / "settings.yaml"
    settings.write_text("lease_seconds: 6\n")
    one.args = (f"--settings={settings}",)
    one.launch()
    await until(lambda: one.get("/readyz") == 200 and one.metric(LEADS) == 1)

    role("lead", leases | {"verbs": ["get"]})
    assert one.process is not None
    assert await asyncio.to_thread(one.process.wait, 20) == os.EX_TEMPFAIL
    rule = '{apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["update"]}, bound to '
    (end,) = (line for line in lines(one) if line["level"] == "error")
    assert "no longer the leader" in end["message"]
    assert rule in end["message"]
    assert len(waits(one)) == 1

    one.launch()
    assert await asyncio.to_thread(one.process.wait, 40) == 1
    text = one.log.read_text()
    (said,) = (line for line in text.splitlines() if line.startswith("error: "))
    assert "forbidden for 6 s" in said
    assert rule in said
    assert len(waits(one)) == 2
    assert "Traceback" not in text
