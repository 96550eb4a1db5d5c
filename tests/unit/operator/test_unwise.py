"""status.warnings: what is legal and yet unwise, each with the field to change; a sound spec has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alignment_operator.overlay import digest
from alignment_operator.settings import Settings
from alignment_operator.unwise import warnings
from alignment_operator.views import Observed
from tests.unit.operator.builders import CLAIM, Job, alignment_job

SOUND: dict[str, Any] = {
    "model": {"modelNameOrPath": "/cache/model", "dtype": "bfloat16"},
    "training": {"saveTotalLimit": 2},
    "gpusPerNode": 1,
}


def found(**spec: Any) -> list[str]:
    merged = {
        name: {**SOUND.get(name, {}), **value} if isinstance(value, dict) else value for name, value in spec.items()
    }
    return warnings(alignment_job(**{**SOUND, **merged}), Observed(), Settings())


def test_a_sound_spec_is_not_warned_about() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"model": {"loadIn4bit": True, "dtype": "float32"}}, "float32", id="4-bit-with-fp32-compute"),
        pytest.param({"model": {"dtype": None}}, "spec.model.dtype", id="full-precision-by-default"),
        pytest.param({"training": {"saveTotalLimit": None}}, "spec.training.saveTotalLimit", id="checkpoints-pile-up"),
        pytest.param({"training": {"saveStrategy": "no"}}, "spec.training.saveStrategy", id="nothing-to-resume-from"),
        pytest.param({"terminationGracePeriodSeconds": 5}, "spec.terminationGracePeriodSeconds", id="short-grace"),
        pytest.param({"model": {"loraR": 8}}, "spec.model.loraR has no effect", id="lora-without-peft"),
        pytest.param(
            {"model": {"bnb4bitQuantType": "nf4"}}, "spec.model.bnb4bitQuantType", id="4-bit-words-without-4-bit"
        ),
        pytest.param({"dpo": {"paddingFree": True}}, "spec.dpo.paddingFree", id="ignored-by-trl"),
        pytest.param(
            {"model": {"usePeft": True}, "referenceModel": {"strategy": "Resident"}},
            "spec.referenceModel.strategy",
            id="reference-twice",
        ),
        pytest.param({"model": {"trustRemoteCode": True}}, "spec.model.modelRevision", id="code-that-may-change"),
        pytest.param({"nodes": 2}, "spec.hangTimeoutSeconds", id="hang-for-ever"),
        pytest.param({"model": {"modelNameOrPath": "org/name"}}, "spec.cache.volume", id="downloads-again"),
        pytest.param({"queueName": "q"}, "spec.resources.requests", id="queue-counts-nothing"),
    ],
)
def test_what_is_unwise_is_told_with_its_field(spec: dict[str, Any], words: str) -> None:
    (warning,) = found(**spec)
    assert words in warning
    assert warning.endswith(".")


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"dtype": None}, "gpusPerNode": 0},
        {"model": {"usePeft": True, "loraR": 8}},
        {"model": {"trustRemoteCode": True, "modelRevision": "a" * 40}},
        {"model": {"modelNameOrPath": "org/name"}, "cache": {"volume": CLAIM}},
        {"queueName": "q", "resources": {"requests": {"cpu": 1}}},
        {"nodes": 2, "hangTimeoutSeconds": 600},
    ],
)
def test_what_mends_it_silences_it(spec: dict[str, Any]) -> None:
    assert found(**spec) == []


def test_a_changed_pod_template_is_said_to_act_from_the_next_run() -> None:
    template = {"spec": {"nodeSelector": {"pool": "a"}}}
    job = alignment_job(**SOUND, podTemplate=template)
    child = replace(Job().view(), template_digest=digest(job.spec.pod_template))
    assert warnings(job, Observed(child), Settings()) == []
    changed = alignment_job(**SOUND, podTemplate={"spec": {"nodeSelector": {"pool": "b"}}})
    (warning,) = warnings(changed, Observed(child), Settings())
    assert "spec.rerun" in warning
