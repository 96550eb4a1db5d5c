"""DPO in every form that the issue names, on the real cluster: each ends Complete with an adapter or a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alignment_operator.api.constants import JOB_LABEL
from tests.e2e.kube import Job, items, kubectl


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("lora", {}, id="lora"),
        pytest.param("int8", {"model": {"loadIn8bit": True}}, id="8-bit"),
        pytest.param("dora", {"model": {"useDora": True}, "output": {"merge": True}}, id="dora-merged"),
    ],
)
def test_dpo_completes_and_says_where_its_result_lies(
    apply: Callable[..., Job], name: str, changes: dict[str, Any]
) -> None:
    job = apply(name, **changes)
    status = job.complete()
    assert status["method"] == "DPO"
    assert status["progress"]["step"] == status["progress"]["totalSteps"] == 6
    assert status["progress"]["percentage"] == 100
    assert status["result"]["artifacts"]["adapter"]
    assert ("merged" in status["result"]["artifacts"]) == changes.get("output", {}).get("merge", False)
    assert f"/{job.namespace}/{job.name}/" in status["outputPath"]
    metrics = {m["name"]: float(m["value"]) for m in status["metrics"]}
    assert 0 < metrics["loss"] < 2
    assert "rewards/margins" in metrics
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions["Complete"] == conditions["Ready"] == conditions["Accepted"] == "True"
    assert "Reconciling" not in conditions
    assert "Stalled" not in conditions


@pytest.mark.parametrize(
    ("method", "fields", "changes", "metric"),
    [
        pytest.param("kto", {"beta": 0.1, "maxLength": 128}, {}, "kl", id="kto"),
        pytest.param(
            "cpo",
            {"lossType": "simpo", "cpoAlpha": 0, "simpoGamma": 0.5, "maxLength": 128},
            {},
            "rewards/margins",
            id="simpo",
        ),
        pytest.param("reward", {"maxLength": 128}, {"model": {"loraTaskType": "SEQ_CLS"}}, "accuracy", id="reward"),
    ],
)
def test_every_other_method_completes(
    apply: Callable[..., Job], method: str, fields: dict[str, Any], changes: dict[str, Any], metric: str
) -> None:
    """SFT and ORPO: test_examples.py."""
    status = apply(f"method-{method}", **{"dpo": None, method: fields, **changes}).complete()
    assert status["method"].lower() == method
    assert status["result"]["artifacts"]["adapter"]
    metrics = {m["name"]: float(m["value"]) for m in status["metrics"]}
    assert {"loss", metric} <= metrics.keys()


def test_two_pods_of_one_process_train_together(apply: Callable[..., Job]) -> None:
    job = apply(
        "two-pods",
        nodes=2,
        training={"maxSteps": 4},
        output={"volume": {"persistentVolumeClaim": {"claimName": "output-shared"}}},
    )
    status = job.complete(timeout=300)
    assert status["result"]["step"] == 4
    service = items("services", job.namespace, f"{JOB_LABEL}={job.name}")
    assert [s["spec"]["clusterIP"] for s in service] == ["None"]


def test_progress_is_seen_while_it_runs_and_events_read_as_sentences(apply: Callable[..., Job]) -> None:
    job = apply("watched", training={"maxSteps": 150, "saveSteps": 50})
    seen = job.wait("progress", lambda s: 0 < s.get("progress", {}).get("step", 0) < 150, timeout=240)
    assert seen["phase"] == "Running"
    assert {m["name"] for m in seen["metrics"]} >= {"loss", "rewards/margins", "rewards/accuracies"}
    job.complete()
    table = kubectl("get", "aj", job.name, namespace=job.namespace)
    assert "Complete" in table
    assert "100" in table
    described = kubectl("describe", "aj", job.name, namespace=job.namespace)
    assert "Events:" in described
    messages = [e["message"] for e in items("events", job.namespace) if e["involvedObject"]["kind"] == "AlignmentJob"]
    assert messages
    assert all(m.endswith(".") for m in messages), messages


def test_pods_hold_no_api_credentials(apply: Callable[..., Job]) -> None:
    job = apply("credentials")
    job.wait("pod", lambda s: job.pods(), timeout=60)
    (pod,) = job.pods()
    assert pod["spec"]["automountServiceAccountToken"] is False
    tokens = [
        s["serviceAccountToken"]["audience"]
        for v in pod["spec"]["volumes"]
        for s in v.get("projected", {}).get("sources", [])
        if "serviceAccountToken" in s
    ]
    assert tokens == ["alignment-operator.io"]
    job.complete()
