"""Changing a spec: free until a run exists, then only what a run can follow, unless `rerun` asks for a new one."""

import pytest

from alignment_operator.api.rules import CHANGE_RULES
from tests.integration.api.server import Answer, Client, Json, manifest
from tests.rule_cases import spec

RUN = {"jobName": "case-r1", "run": 1}

# rule -> (a spec patch that breaks it once a run exists)
FIXED: dict[str, Json] = {
    "fixed-model": {"model": {"modelNameOrPath": "other"}},
    "fixed-referenceModel": {"referenceModel": {"strategy": "Resident"}},
    "fixed-dataset": {"dataset": {"datasetName": "other"}},
    "fixed-training": {"training": {"learningRate": 1e-5}},
    "fixed-dpo": {"dpo": {"beta": 0.2}},
    "fixed-sft": {"dpo": None, "sft": {}},
    "fixed-orpo": {"dpo": None, "orpo": {}},
    "fixed-cpo": {"dpo": None, "cpo": {}},
    "fixed-kto": {"dpo": None, "kto": {}},
    "fixed-reward": {"dpo": None, "reward": {}},
    "fixed-nodes": {"nodes": 2},
    "fixed-gpusPerNode": {"gpusPerNode": 1},
    "fixed-processesPerNode": {"processesPerNode": 2},
    "fixed-gpuResource": {"gpuResource": "amd.com/gpu"},
    "fixed-resources": {"resources": {"limits": {"cpu": "2"}}},
    "fixed-output": {"output": {"subPath": "other"}},
    "fixed-cache": {"cache": {"volume": {"persistentVolumeClaim": {"claimName": "cache"}}}},
    "fixed-priorityClassName": {"priorityClassName": "high"},
    "fixed-terminationGracePeriodSeconds": {"terminationGracePeriodSeconds": 60},
    "fixed-hangTimeoutSeconds": {"hangTimeoutSeconds": 60},
    "fixed-stopOnUnhealthy": {"stopOnUnhealthy": True},
    "fixed-health": {"health": {"windowSteps": 50}},
    "fixed-memoryCheck": {"memoryCheck": False},
    "fixed-outOfMemoryLadder": {"outOfMemoryLadder": True},
    "fixed-optimizations": {"optimizations": {"packedPairs": False}},
    "fixed-hub": {"hub": {"secretName": "token"}},
    "fixed-image": {"image": "other"},
    "fixed-imagePullPolicy": {"imagePullPolicy": "Never"},
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


def test_the_table_names_every_change_rule() -> None:
    assert {*FIXED, "rerun-token-back"} == {rule.id for rule in CHANGE_RULES}


def test_with_a_run_only_free_fields_change(own_client: Client) -> None:
    start(own_client)
    rules = {rule.id: rule for rule in CHANGE_RULES}
    for rule_id, patch in FIXED.items():
        answer = change(own_client, patch)
        assert answer.code == 422, rule_id
        rule = rules[rule_id]
        assert (rule.path, f"Forbidden: {rule.message}") in [(c["field"], c["message"]) for c in answer.causes]
    for patch in FREE.values():
        assert change(own_client, patch).code == 200


def test_without_a_run_everything_may_change(own_client: Client) -> None:
    start(own_client, run=False)
    for rule_id, patch in FIXED.items():
        assert change(own_client, patch).code == 200, rule_id
        assert change(own_client, {key: spec({}).get(key) for key in patch}).code == 200


@pytest.mark.parametrize("rule_id", FIXED)
def test_with_a_new_rerun_token_everything_may_change(rule_id: str, own_client: Client) -> None:
    start(own_client)
    answer = change(own_client, {"rerun": "again", **FIXED[rule_id]})
    assert answer.code == 200, answer.message


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
    assert [cause["field"] for cause in answer.causes] == ["spec.rerun"]


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
    assert own_client.put_status("case", {"phase": "Running", "progress": {"step": 3}}).code == 200
