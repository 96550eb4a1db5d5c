"""Specs that are legal and unwise, with words of the warning, and what mends them: for status and for admission."""

from __future__ import annotations

import copy
from typing import Any

from tests.rule_cases import Json, merge

CLAIM: Json = {"persistentVolumeClaim": {"claimName": "models"}}
# Nothing to warn about.
SOUND: Json = {
    "model": {"modelNameOrPath": "/cache/model", "dtype": "bfloat16", "usePeft": True},
    "dataset": {"datasetName": "pairs"},
    "training": {"saveTotalLimit": 2, "learningRate": 0.00005},
    "dpo": {"beta": 0.1},
    "gpusPerNode": 1,
    "output": {"volume": CLAIM},
}

UNWISE: dict[str, tuple[Json, str]] = {
    "4-bit-with-fp32-compute": (
        {"model": {"loadIn4bit": True, "dtype": "float32"}},
        "float32",
    ),
    "4-bit-without-a-dtype": ({"model": {"loadIn4bit": True, "dtype": None}}, "float32"),
    "full-precision-by-default": ({"model": {"dtype": None}}, "spec.model.dtype"),
    "updates-that-round-to-nothing": (
        {"model": {"usePeft": None}, "training": {"learningRate": 0.000005}},
        "spec.model.dtype",
    ),
    "updates-that-round-to-nothing-by-default": (
        {"model": {"usePeft": None}, "training": {"learningRate": None}},
        "round to nothing",
    ),
    "adapter-learns-slowly": ({"training": {"learningRate": None}}, "spec.training.learningRate"),
    "adapter-learns-slowly-with-sft": (
        {"dpo": None, "sft": {}, "training": {"learningRate": None}},
        "spec.training.learningRate",
    ),
    "fsdp-without-gpus": (
        {"gpusPerNode": 0, "processesPerNode": 2, "training": {"fsdp": "full_shard"}},
        "spec.training.fsdp",
    ),
    "checkpoints-pile-up": ({"training": {"saveTotalLimit": None}}, "spec.training.saveTotalLimit"),
    "checkpoints-pile-up-by-default": (
        {"training": None, "model": {"usePeft": None, "dtype": None}},
        "spec.training.saveTotalLimit",
    ),
    "nothing-to-resume-from": ({"training": {"saveStrategy": "no"}}, "spec.training.saveStrategy"),
    "short-grace": ({"terminationGracePeriodSeconds": 5}, "spec.terminationGracePeriodSeconds"),
    "goes-with-trl-2": ({"dpo": {"truncationMode": "keep_end"}}, "spec.dpo.truncationMode"),
    "goes-with-trl-2-too": ({"dpo": None, "sft": {"truncationMode": "keep_end"}}, "spec.sft.truncationMode"),
    "reference-twice": (
        {"referenceModel": {"strategy": "Resident"}},
        "spec.referenceModel.strategy",
    ),
    "reference-beside-parameters": (
        {"model": {"loraTargetParameters": ["experts.gate_up_proj"], "loraDropout": 0}},
        "spec.model.loraTargetParameters",
    ),
    "code-that-may-change": ({"model": {"trustRemoteCode": True}}, "spec.model.modelRevision"),
    "code-of-a-branch": ({"model": {"trustRemoteCode": True, "modelRevision": "main"}}, "spec.model.modelRevision"),
    "hang-for-ever": ({"nodes": 2}, "spec.hangTimeoutSeconds"),
    "downloads-again": ({"model": {"modelNameOrPath": "org/name"}}, "spec.cache.volume"),
    "precomputes-again": ({"referenceModel": {"strategy": "Precomputed"}}, "spec.cache.volume"),
    "precomputes-again-in-trls-words": ({"dpo": {"precomputeRefLogProbs": True}}, "spec.cache.volume"),
    "output-of-one-node": (
        {"output": {"volume": {"persistentVolumeClaim": None, "hostPath": {"path": "/data"}}}},
        "spec.output.volume.hostPath",
    ),
    "queue-counts-nothing": ({"queueName": "q"}, "spec.resources.requests"),
    "queue-counts-nothing-of-an-empty-section": ({"queueName": "q", "resources": {}}, "spec.resources.requests"),
}
WISE: list[Json] = [
    {},
    {"model": {"dtype": None}, "gpusPerNode": 0},
    {"model": {"loraR": 8}},
    {"model": {"usePeft": None, "dtype": None}},
    {"model": {"usePeft": None, "dtype": "float32"}, "training": {"learningRate": 0.000001}},
    {"model": {"usePeft": None}, "dpo": None, "sft": {}, "training": {"learningRate": None}},
    {"dpo": None, "reward": {}, "training": {"learningRate": None}},
    {"gpusPerNode": 2, "training": {"fsdp": "full_shard"}},
    {"gpusPerNode": 2, "model": {"usePeft": None}, "training": {"fsdp": "full_shard", "learningRate": 0.000001}},
    {"referenceModel": {"strategy": "Precomputed"}, "cache": {"volume": CLAIM}},
    {"referenceModel": {"strategy": "Resident", "model": {"modelNameOrPath": "/cache/r"}}},
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
