"""Changing a spec: free until a run exists, then only what a run can follow, unless `rerun` asks for a new one."""

import pytest

from alignment_operator.api.rules import CHANGE_RULES
from alignment_operator.api.rules.change import FIXED
from tests.integration.api.server import Answer, Client, Json, manifest
from tests.rule_cases import spec

RUN = {"jobName": "case-r1", "run": 1}

# field -> a spec patch that changes it, which is refused once a run exists
CHANGES: dict[str, Json] = {
    "model": {"model": {"modelNameOrPath": "other"}},
    "referenceModel": {"referenceModel": {"strategy": "Resident"}},
    "dataset": {"dataset": {"datasetName": "other"}},
    "training": {"training": {"learningRate": 1e-5}},
    "dpo": {"dpo": {"beta": 0.2}},
    "sft": {"dpo": None, "sft": {}},
    "orpo": {"dpo": None, "orpo": {}},
    "cpo": {"dpo": None, "cpo": {}},
    "kto": {"dpo": None, "kto": {}},
    "reward": {"dpo": None, "reward": {}},
    "nodes": {"nodes": 2},
    "gpusPerNode": {"gpusPerNode": 1},
    "processesPerNode": {"processesPerNode": 2},
    "gpuResource": {"gpuResource": "amd.com/gpu"},
    "resources": {"resources": {"limits": {"cpu": "2"}}},
    "output": {"output": {"subPath": "other"}},
    "cache": {"cache": {"volume": {"persistentVolumeClaim": {"claimName": "cache"}}}},
    "priorityClassName": {"priorityClassName": "high"},
    "terminationGracePeriodSeconds": {"terminationGracePeriodSeconds": 60},
    "hangTimeoutSeconds": {"hangTimeoutSeconds": 60},
    "stopOnUnhealthy": {"stopOnUnhealthy": True},
    "health": {"health": {"windowSteps": 50}},
    "memoryCheck": {"memoryCheck": False},
    "outOfMemoryLadder": {"outOfMemoryLadder": True},
    "optimizations": {"optimizations": {"packedPairs": False}},
    "hub": {"hub": {"secretName": "token"}},
    "image": {"image": "other"},
    "imagePullPolicy": {"imagePullPolicy": "Never"},
}
GUARDED: dict[str, Json] = {
    "fixed-queueName": {"queueName": "other"},
    "fixed-workloadPriorityClass": {"workloadPriorityClass": "high"},
}
FREE: dict[str, Json] = {
    "suspend": {"suspend": True},
    "backoffLimit": {"backoffLimit": 9},
    "activeDeadlineSeconds": {"activeDeadlineSeconds": 60},
    "ttlSecondsAfterFinished": {"ttlSecondsAfterFinished": 60},
    "podTemplate": {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}},
}


def start(client: Client, patch: Json | None = None, run: bool = True, **status: Json) -> None:
    """Create the object, and give it a run."""
    assert client.create(manifest(spec(patch or {})), dry_run=False).code == 201
    if run:
        assert client.put_status("case", {**RUN, **status}).code == 200


def change(client: Client, patch: Json) -> Answer:
    """Patch the spec."""
    return client.patch("case", {"spec": patch})


def test_the_tables_name_every_fixed_field_and_every_change_rule() -> None:
    assert set(CHANGES) == set(FIXED)
    assert {"fixed", *GUARDED, "rerun-token-back"} == {rule.id for rule in CHANGE_RULES}


def test_with_a_run_only_free_fields_change(own_client: Client) -> None:
    start(own_client)
    for field, patch in CHANGES.items():
        answer = change(own_client, patch)
        assert answer.code == 422, field
        [told] = [cause["message"] for cause in answer.causes if cause["field"] == "spec"]
        assert set(patch) <= set(told.partition("run exists: ")[2].partition(", unless")[0].split(", ")), told
    rules = {rule.id: rule for rule in CHANGE_RULES}
    for rule_id, patch in GUARDED.items():
        rule = rules[rule_id]
        causes = [(cause["field"], cause["message"]) for cause in change(own_client, patch).causes]
        assert causes == [(rule.path, f"Forbidden: {rule.message}")]
    for patch in FREE.values():
        assert change(own_client, patch).code == 200


def test_without_a_run_everything_may_change(own_client: Client) -> None:
    start(own_client, run=False)
    for name, patch in (CHANGES | GUARDED).items():
        assert change(own_client, patch).code == 200, name
        assert change(own_client, {key: spec({}).get(key) for key in patch}).code == 200


@pytest.mark.parametrize("name", CHANGES | GUARDED)
def test_with_a_new_rerun_token_everything_may_change(name: str, own_client: Client) -> None:
    start(own_client)
    answer = change(own_client, {"rerun": "again", **(CHANGES | GUARDED)[name]})
    assert answer.code == 200, answer.message


def test_a_refused_change_names_every_field_that_is_fixed(own_client: Client) -> None:
    start(own_client)
    [cause] = change(own_client, {"nodes": 2, "suspend": True, "dpo": {"beta": 0.2}}).causes
    assert cause["field"] == "spec"
    assert "fixed while a run exists: dpo, nodes, unless spec.rerun changes too" in cause["message"]


@pytest.mark.parametrize("before", [{}, {"phase": "Running"}, {"phase": "Running", "progress": {"step": 1}}])
def test_the_spec_stays_fixed_whatever_status_says(before: Json, own_client: Client) -> None:
    start(own_client, **before)
    assert change(own_client, {"nodes": 2}).code == 422


def test_while_a_new_run_is_pending_the_spec_may_still_be_mended(own_client: Client) -> None:
    start(own_client)
    assert change(own_client, {"rerun": "again", "dpo": {"beta": 0.2}}).code == 200
    assert change(own_client, {"dpo": {"beta": 0.3}}).code == 200
    own_client.put_status("case", {"jobName": "case-r2", "run": 2, "rerun": "again"})
    assert change(own_client, {"dpo": {"beta": 0.4}}).code == 422


def test_a_pending_token_cannot_be_taken_back(own_client: Client) -> None:
    start(own_client, {"rerun": "one"}, rerun="one")
    assert change(own_client, {"rerun": "two", "dpo": {"beta": 0.2}}).code == 200
    answer = change(own_client, {"rerun": "one"})
    assert answer.code == 422
    [cause] = answer.causes
    assert cause["field"] == "spec"
    assert "already has this rerun token" in cause["message"]


def test_while_suspended_the_queue_may_change(own_client: Client) -> None:
    start(own_client, {"queueName": "a", "suspend": True})
    assert change(own_client, {"queueName": "b", "workloadPriorityClass": "high"}).code == 200
    assert change(own_client, {"suspend": False}).code == 200
    assert change(own_client, {"queueName": "a"}).code == 422


def test_a_priority_class_is_exchanged_at_any_time(own_client: Client) -> None:
    start(own_client, {"queueName": "a", "workloadPriorityClass": "low"})
    assert change(own_client, {"workloadPriorityClass": "high"}).code == 200
    assert change(own_client, {"workloadPriorityClass": None}).code == 422


def test_status_writes_pass_the_root_rules(own_client: Client) -> None:
    start(own_client)
    for second in (1, 2):
        progress = {"step": second, "lastReportTime": f"2026-01-01T00:00:0{second}Z"}
        assert own_client.put_status("case", {"phase": "Running", "progress": progress}).code == 200
