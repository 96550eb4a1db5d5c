"""Argo CD's actions: which are offered when, and what each makes of the object."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import pytest
import yaml

from tests.integration.apiserver import ApiServer
from tests.integration.gitops import engines
from tests.integration.gitops.states import every_state

Object = dict[str, Any]
ACTIONS = ("suspend", "resume", "rerun")
# What Lua could spoil: it has one kind of number, and cannot tell an empty list from an empty map.
DELICATE = {
    "dpo": {},
    "training": {
        "learningRate": 5e-7,
        "maxSteps": -1,
        "seed": 4294967295,
        "lrSchedulerKwargs": {},
        "optimTargetModules": [],
    },
    "podTemplate": {"spec": {"tolerations": [], "volumes": [{"name": "scratch", "emptyDir": {}}]}},
}


@pytest.fixture(scope="module")
def states() -> dict[str, Object]:
    return every_state()


@pytest.fixture(scope="module")
def offered(states: dict[str, Object]) -> dict[str, tuple[str, ...]]:
    """The actions that each state offers."""
    return {name: shown.actions for name, shown in zip(states, engines.argo(states.values()), strict=True)}


@pytest.mark.parametrize(
    ("names", "actions"),
    [
        ("running waits-in-queue not-looked-at waits-for-another-job refused rerun-begins", ("suspend",)),
        ("suspended suspended-in-a-queue applied-suspended rerun-is-suspended", ("resume",)),
        ("complete failed complete-and-its-job-removed", ("rerun",)),
        ("rerun-waits-for-pods rerun-waits-for-another-job rerun-is-refused", ("suspend",)),
    ],
    ids=["goes-on", "held", "over", "asked-for-again"],
)
def test_what_makes_sense_is_offered(names: str, actions: tuple[str, ...], offered: dict[str, tuple[str, ...]]) -> None:
    assert {name: offered[name] for name in names.split()} == dict.fromkeys(names.split(), actions)


def test_whoever_else_wrote_the_token_keeps_it(states: dict[str, Object]) -> None:
    """A sync would set git's token back, and each change of the token is a run."""
    managers = ("argocd-server", "argocd-controller", "kubectl")
    own, synced, typed = engines.argo([written_by(states["complete"], name) for name in managers], "rerun")
    assert (own.actions, synced.actions, typed.actions) == (("rerun",), (), ())
    assert "spec.rerun belongs to argocd-controller" in synced.error
    assert (bool(own.result), synced.result, typed.result) == (True, {}, {})


def test_rerun_itself_refuses_wherever_it_is_not_offered(states: dict[str, Object]) -> None:
    """Argo CD 3.0 runs an action without asking whether it is offered; this one would stop a run."""
    for name, shown in zip(states, engines.argo(states.values(), "rerun"), strict=True):
        assert bool(shown.result) == ("rerun" in shown.actions) == (not shown.error), name


@pytest.mark.parametrize(
    ("action", "state", "field", "value"),
    [
        ("suspend", "running", "suspend", r"True"),
        ("resume", "suspended", "suspend", r"False"),
        ("rerun", "complete", "rerun", r"argocd-\d{8}T\d{6}Z"),
    ],
)
def test_an_action_changes_one_field_and_leaves_all_else_as_it_is(
    action: str, state: str, field: str, value: str, states: dict[str, Object]
) -> None:
    obj = deepcopy(states[state])
    obj["spec"] |= DELICATE
    obj["status"]["warnings"] = []
    (shown,) = engines.argo([obj], action)
    assert re.fullmatch(value, str(shown.result["spec"][field]))
    expected = deepcopy(obj)
    expected["spec"][field] = shown.result["spec"][field]
    assert shown.result == expected


def test_what_an_action_makes_of_any_state_is_a_valid_alignment_job(
    states: dict[str, Object], apiserver: ApiServer, namespace: str
) -> None:
    made: list[Object] = []
    for action in ACTIONS:
        for shown in engines.argo(states.values(), action):
            if shown.result and action in shown.actions:
                metadata = {"name": f"made-{len(made)}", "namespace": namespace}
                made.append({**shown.result, "metadata": metadata})
    assert len(made) > len(states) / 2
    together = {"apiVersion": "v1", "kind": "List", "items": made}
    done = apiserver.kubectl("create", "--dry-run=server", "-f", "-", "-o", "name", input=json.dumps(together))
    assert len(done.stdout.split()) == len(made)


def test_the_ready_config_map_is_merged_into_an_argocd_cm_that_is_there(apiserver: ApiServer, namespace: str) -> None:
    before = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"url": "https://x"}}
    apiserver.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(before))
    patch = ["patch", "configmap", "argocd-cm", "-n", namespace, "--patch-file", str(engines.ARGOCD_CM)]
    apiserver.kubectl(*patch)
    after = json.loads(apiserver.kubectl("get", "configmap", "argocd-cm", "-n", namespace, "-o", "json").stdout)
    ours = yaml.safe_load(engines.ARGOCD_CM.read_text())["data"]
    assert after["data"] == {"url": "https://x"} | ours
    assert len(ours) == 2


def written_by(obj: Object, manager: str) -> Object:
    """The object as the API server has it when spec.rerun was written by this field manager."""
    entry = {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:rerun": {}}}}
    token = {"spec": {**obj["spec"], "rerun": "a"}, "status": {**obj["status"], "rerun": "a"}}
    return {**obj, **token, "metadata": {**obj["metadata"], "managedFields": [entry]}}
