"""Specs that are legal and unwise, with words of the warning, and what mends them: for status and for admission."""

from __future__ import annotations

import copy
from typing import Any

from tests.rule_cases import Json, merge

CLAIM: Json = {"persistentVolumeClaim": {"claimName": "models"}}
# Nothing to warn about.
SOUND: Json = {
    "model": {"modelNameOrPath": "/cache/model", "dtype": "bfloat16"},
    "dataset": {"datasetName": "pairs"},
    "training": {"saveTotalLimit": 2},
    "dpo": {"beta": 0.1},
    "gpusPerNode": 1,
    "output": {"volume": CLAIM},
}

UNWISE: dict[str, tuple[Json, str]] = {
    "4-bit-with-fp32-compute": (
        {"model": {"loadIn4bit": True, "usePeft": True, "dtype": "float32"}},
        "float32",
    ),
    "4-bit-without-a-dtype": ({"model": {"loadIn4bit": True, "usePeft": True, "dtype": None}}, "float32"),
    "full-precision-by-default": ({"model": {"dtype": None}}, "spec.model.dtype"),
    "checkpoints-pile-up": ({"training": {"saveTotalLimit": None}}, "spec.training.saveTotalLimit"),
    "checkpoints-pile-up-by-default": ({"training": None}, "spec.training.saveTotalLimit"),
    "nothing-to-resume-from": ({"training": {"saveStrategy": "no"}}, "spec.training.saveStrategy"),
    "short-grace": ({"terminationGracePeriodSeconds": 5}, "spec.terminationGracePeriodSeconds"),
    "goes-with-trl-2": ({"dpo": {"truncationMode": "keep_end"}}, "spec.dpo.truncationMode"),
    "goes-with-trl-2-too": ({"dpo": None, "sft": {"truncationMode": "keep_end"}}, "spec.sft.truncationMode"),
    "reference-twice": (
        {"model": {"usePeft": True}, "referenceModel": {"strategy": "Resident"}},
        "spec.referenceModel.strategy",
    ),
    "reference-beside-parameters": (
        {"model": {"usePeft": True, "loraTargetParameters": ["experts.gate_up_proj"], "loraDropout": 0}},
        "spec.model.loraTargetParameters",
    ),
    "code-that-may-change": ({"model": {"trustRemoteCode": True}}, "spec.model.modelRevision"),
    "code-of-a-branch": ({"model": {"trustRemoteCode": True, "modelRevision": "main"}}, "spec.model.modelRevision"),
    "hang-for-ever": ({"nodes": 2}, "spec.hangTimeoutSeconds"),
    "downloads-again": ({"model": {"modelNameOrPath": "org/name"}}, "spec.cache.volume"),
    "queue-counts-nothing": ({"queueName": "q"}, "spec.resources.requests"),
    "queue-counts-nothing-of-an-empty-section": ({"queueName": "q", "resources": {}}, "spec.resources.requests"),
}
WISE: list[Json] = [
    {},
    {"model": {"dtype": None}, "gpusPerNode": 0},
    {"model": {"usePeft": True, "loraR": 8}},
    {"model": {"usePeft": True}, "referenceModel": {"strategy": "Resident", "model": {"modelNameOrPath": "/cache/r"}}},
    {"model": {"trustRemoteCode": True, "modelRevision": "a" * 40}},
    {"model": {"modelNameOrPath": "org/name"}, "cache": {"volume": CLAIM}},
    {"model": {"modelNameOrPath": None, "fromJob": "first"}},
    {"queueName": "q", "resources": {"requests": {"cpu": 1}}},
    {"queueName": "q", "resources": {"limits": {"cpu": 1}}},
    {"nodes": 2, "hangTimeoutSeconds": 600},
    {"terminationGracePeriodSeconds": 30},
    {"dpo": {"truncationMode": "keep_start"}},
]
# What the operator's settings give to every job: nothing, or a cache and resources.
BARE_PODS: dict[str, Any] = {}
GENEROUS_PODS: dict[str, Any] = {"cache_volume": CLAIM, "resources": {"requests": {"cpu": "4"}}}


def spec(patch: Json) -> Json:
    """SOUND with the patch merged in; None removes a key."""
    return merge(copy.deepcopy(SOUND), patch)
