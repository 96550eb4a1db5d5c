"""The AlignmentJobs behind the golden manifests: one for each shape of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml

from alignment_operator import jobs
from alignment_operator.api.alignmentjob import AlignmentJob
from alignment_operator.observed import UpstreamView
from alignment_operator.recipe import build
from alignment_operator.settings import PodSettings, ProgressSettings, Settings
from tests.unit.operator.builders import CLAIM, alignment_job

SETTINGS = Settings(
    pods=PodSettings(
        image="registry.example/trainer:1",
        tolerations=({"key": "nvidia.com/gpu", "operator": "Exists"},),
        cache_volume={"persistentVolumeClaim": {"claimName": "cache"}},
    ),
    progress=ProgressSettings(url="https://alignment-operator.alignment-operator.svc:8443"),
)
PLAIN = Settings()
OPENSHIFT = replace(PLAIN, pods=replace(PLAIN.pods, run_as_user=None, fs_group=None))
UPSTREAM = UpstreamView(
    name="first",
    exists=True,
    complete=True,
    output_path="/output/team-a/first/abc-r1",
    volume={"persistentVolumeClaim": {"claimName": "first"}},
    artifacts={"merged": "merged"},
)
QLORA = {
    "modelNameOrPath": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "dtype": "bfloat16",
    "loadIn4bit": True,
    "usePeft": True,
}
OVERLAY = {
    "metadata": {"annotations": {"example.com/cost": "42"}},
    "spec": {
        "serviceAccountName": "trainer",
        "runtimeClassName": "nvidia",
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "nodeSelector": {"pool": "a100"},
        "imagePullSecrets": [{"name": "registry"}],
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "shared-gpu"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "initContainers": [{"name": "fetch", "image": "registry.example/fetch:1"}],
        "containers": [
            {
                "name": "trainer",
                "env": [{"name": "HF_HOME", "value": "/data/hf"}, {"name": "NCCL_DEBUG", "value": "INFO"}],
                "envFrom": [{"secretRef": {"name": "wandb"}}],
                "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
            }
        ],
    },
}

CASES: dict[str, tuple[dict[str, Any], Settings]] = {
    "one-pod-cpu": ({}, PLAIN),
    "eight-gpus": (
        {
            "gpusPerNode": 8,
            "model": QLORA,
            "resources": {"requests": {"cpu": 32, "memory": "256Gi"}, "limits": {"memory": "256Gi"}},
            "hub": {"secretName": "hub"},
            "priorityClassName": "research",
            "activeDeadlineSeconds": 86400,
        },
        SETTINGS,
    ),
    "two-nodes": ({"nodes": 2, "gpusPerNode": 8, "hangTimeoutSeconds": 1800}, SETTINGS),
    "queued": ({"queueName": "gpus", "workloadPriorityClass": "high", "gpusPerNode": 1}, SETTINGS),
    "pod-template": ({"podTemplate": OVERLAY, "gpusPerNode": 1}, SETTINGS),
    "from-job-openshift": ({"model": {"fromJob": "first"}}, OPENSHIFT),
}


def job_of(case: str) -> AlignmentJob:
    return alignment_job(**CASES[case][0])


def children(job: AlignmentJob, settings: Settings, ca_pem: str = "-----BEGIN CERTIFICATE-----\n") -> dict[str, Any]:
    """ConfigMap, Service (if any) and Job of run 1, by kind."""
    recipe = build(job, 1, settings, UPSTREAM)
    made = [
        jobs.config_map(job, recipe, 1, settings, ca_pem),
        jobs.service(job, 1, settings),
        jobs.job(job, recipe, 1, settings, UPSTREAM),
    ]
    return {manifest["kind"]: manifest for manifest in made if manifest}


def pod_of(settings: Settings = PLAIN, **spec: Any) -> dict[str, Any]:
    """The pod spec that a spec leads to."""
    found: dict[str, Any] = children(alignment_job(**spec), settings)["Job"]["spec"]["template"]["spec"]
    return found


class _Readable(yaml.SafeDumper):
    """Texts of several lines as blocks."""


_Readable.add_representer(
    str, lambda d, text: d.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)


def rendered(case: str) -> str:
    """All children as one YAML stream."""
    made = children(job_of(case), CASES[case][1]).values()
    return yaml.dump_all(made, Dumper=_Readable, sort_keys=False, width=120)


__all__ = ["CASES", "CLAIM", "SETTINGS", "children", "job_of", "pod_of", "rendered"]
