"""spec -> recipe.yaml (pure TRL: `trl dpo --config recipe.yaml` runs it) and run.yaml (what TRL has no words for).

The recipe holds what the user wrote and nothing else, so that TRL's own defaults, which differ per method, apply.
docs/contract/run.schema.json describes run.yaml.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from .api.alignmentjob import AlignmentJob, Spec
from .api.constants import Method, ReferenceStrategy
from .fromjob import FromJob, resolve
from .observed import UpstreamView
from .problems import SpecProblem as SpecProblem
from .settings import Settings

CONTRACT_VERSION = 1
OUTPUT_MOUNT = "/output"
WITH_REFERENCE = (Method.DPO, Method.KTO)
WITH_SCRIPT = (Method.DPO, Method.SFT, Method.KTO, Method.REWARD)
NOT_TRL = ("trust_remote_code", "adapter_name_or_path", "from_job")

# May differ between two starts of the same training: names, paths, and how a run is watched. The rest is hashed.
NOT_HASHED = frozenset(
    {
        "output_dir",
        "outputPath",
        "job",
        "masterAddress",
        "masterPort",
        "hangTimeoutSeconds",
        "terminationGracePeriodSeconds",
        "progressIntervalSeconds",
        "maxAttemptsWithoutProgress",
        "memoryCheck",
        "optimizations",
        "outOfMemoryLadder",
        "remoteCode",
    }
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Both files of a run. `digest`: 12 hex digits over both less paths; `head`: the comment above recipe.yaml.

    They are put into words when they are asked for: by then the status that says that the run begins is on its way.
    """

    recipe: dict[str, Any]
    run: dict[str, Any]
    digest: str
    output_path: str
    head: str = ""

    @property
    def recipe_yaml(self) -> str:
        """The text of recipe.yaml."""
        return self.head + _yaml(self.recipe)

    @property
    def run_yaml(self) -> str:
        """The text of run.yaml."""
        return _yaml(self.run)


def build(job: AlignmentJob, run: int, settings: Settings, upstream: UpstreamView | None = None) -> Recipe:
    """Both files of run `run`. `upstream`: the complete job that `spec.model.fromJob` names.

    Raises SpecProblem for an object that predates a rule, or an upstream that left nothing to start from.
    """
    method = method_of(job.spec)
    base = resolve(job.spec.model.from_job, upstream) if job.spec.model.from_job else None
    recipe = _recipe(job.spec, method, base)
    runfile = _run(job, run, settings, method, base)
    digest = _digest(recipe, runfile)
    path = _output_path(job, run, digest)
    recipe["output_dir"] = runfile["outputPath"] = path
    return Recipe(recipe, runfile, digest, path, _head(job.spec, method))


def method_of(spec: Spec) -> Method:
    """The one method that is set. Raises SpecProblem when none or several are."""
    methods = [method for method in Method if getattr(spec, method.value) is not None]
    if len(methods) != 1:
        found = "none" if not methods else " and ".join(methods)
        raise SpecProblem("spec", f"Exactly one of {', '.join(Method)} must be set; found {found}.")
    return methods[0]


def child_name(job_name: str, run: int) -> str:
    """Name of the ConfigMap, Service and Job of a run."""
    return f"{job_name}-r{run}"


def _recipe(spec: Spec, method: Method, base: FromJob | None) -> dict[str, Any]:
    """TRL's names and values, in the order of the spec."""
    model = spec.model.written()
    recipe = {name: value for name, value in model.items() if name not in NOT_TRL}
    if base:
        recipe = {**base.model, **recipe}
    if spec.model.trust_remote_code:
        recipe["trust_remote_code"] = True
    recipe |= spec.dataset.written()
    recipe["output_dir"] = ""  # holds its place; known once the rest is hashed
    recipe |= spec.training.written() if spec.training else {}
    recipe |= spec.method_config.written()
    if spec.gpus_per_node == 0:
        recipe["use_cpu"] = True
    _translate(spec, method, recipe)
    return whole(recipe)


def _translate(spec: Spec, method: Method, recipe: dict[str, Any]) -> None:
    """Where the API's word is not TRL's."""
    if recipe.get("max_length") == -1:
        recipe["max_length"] = None
    if method is Method.REWARD and spec.model.use_peft and "lora_task_type" not in recipe:
        recipe["lora_task_type"] = "SEQ_CLS"
    if method in WITH_REFERENCE and strategy(spec) is ReferenceStrategy.PRECOMPUTED:
        recipe["precompute_ref_log_probs"] = True
    modules = recipe.get("lora_target_modules")
    if modules and len(modules) == 1:
        recipe["lora_target_modules"] = _one_module(modules[0])


def _one_module(name: str) -> str:
    """TRL unwraps a list of one; PEFT takes a text for a pattern of the whole path, and a bare name matches nothing."""
    if name == "all-linear" or not re.fullmatch(r"[\w.]+", name):
        return name
    return rf"(.*\.)?{re.escape(name)}"


def strategy(spec: Spec) -> ReferenceStrategy:
    """The reference strategy of dpo and kto; `precomputeRefLogProbs: true` beside Auto means Precomputed."""
    written = spec.reference_model.strategy if spec.reference_model else ReferenceStrategy.AUTO
    if written is ReferenceStrategy.AUTO and getattr(spec.method_config, "precompute_ref_log_probs", None):
        return ReferenceStrategy.PRECOMPUTED
    return written


def _run(job: AlignmentJob, run: int, settings: Settings, method: Method, base: FromJob | None) -> dict[str, Any]:
    spec, meta = job.spec, job.metadata
    runfile: dict[str, Any] = {
        "contractVersion": CONTRACT_VERSION,
        "method": method.value,
        "job": {"namespace": meta.namespace, "name": meta.name, "run": run},
        "outputPath": "",
        "device": "gpu" if spec.gpus_per_node else "cpu",
        "nodes": spec.nodes,
        "processesPerNode": spec.processes,
    }
    if meta.uid:
        runfile["job"]["uid"] = meta.uid
    if spec.nodes > 1:
        child = child_name(meta.name, run)
        runfile |= {"masterAddress": f"{child}-0.{child}", "masterPort": settings.master_port}
    adapter = spec.model.adapter_name_or_path or (base.adapter if base else None)
    if adapter:
        runfile["adapterNameOrPath"] = adapter
    if method in WITH_REFERENCE:
        runfile["referenceModel"] = _reference(spec)
    return whole(runfile | _switches(spec, settings))


def _reference(spec: Spec) -> dict[str, Any]:
    reference: dict[str, Any] = {"strategy": strategy(spec).value}
    if spec.reference_model and spec.reference_model.model:
        reference["model"] = spec.reference_model.model.written()
        if spec.model.trust_remote_code:  # allowed for the whole job, as `kubectl explain` says
            reference["model"]["trust_remote_code"] = True
    return reference


def _switches(spec: Spec, settings: Settings) -> dict[str, Any]:
    switches: dict[str, Any] = {}
    if spec.output.merge:
        switches["merge"] = True
    if spec.output.push:
        switches["push"] = {"repository": spec.output.push.repository, "private": spec.output.push.private is not False}
    if health := _health(spec):
        switches["health"] = health
    if spec.memory_check is not None:
        switches["memoryCheck"] = spec.memory_check
    if spec.out_of_memory_ladder:
        switches["outOfMemoryLadder"] = True
    if spec.optimizations:
        switches["optimizations"] = spec.optimizations.model_dump(by_alias=True, exclude_none=True)
    if spec.hang_timeout_seconds:
        switches["hangTimeoutSeconds"] = spec.hang_timeout_seconds
    if settings.allowed.remote_code is not None:
        switches["remoteCode"] = list(settings.allowed.remote_code)
    switches["terminationGracePeriodSeconds"] = spec.termination_grace_period_seconds
    switches["progressIntervalSeconds"] = settings.progress.report_seconds
    switches["maxAttemptsWithoutProgress"] = settings.max_attempts_without_progress
    return switches


def _health(spec: Spec) -> dict[str, Any]:
    stop = {"stopOnUnhealthy": True} if spec.stop_on_unhealthy else {}
    return stop | (spec.health.model_dump(by_alias=True, exclude_none=True) if spec.health else {})


def whole(value: Any) -> Any:
    """JSON has one kind of number: a whole one is written as an integer, which TRL takes wherever it wants a float."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(recipe: Mapping[str, Any], runfile: Mapping[str, Any]) -> str:
    hashed = [{key: value for key, value in part.items() if key not in NOT_HASHED} for part in (recipe, runfile)]
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:12]


def _output_path(job: AlignmentJob, run: int, digest: str) -> str:
    """`<volume>/<subPath>/<namespace>/<name>/<hash>-rN`.

    A run that has begun keeps its folder, whatever a newer operator would hash.
    """
    if job.status.run == run and job.status.job_name and job.status.output_path:
        return job.status.output_path
    sub_path = PurePosixPath((job.spec.output.sub_path or "").strip("/"))
    if ".." in sub_path.parts:
        raise SpecProblem("spec.output.subPath", "It may not lead out of the volume: remove `..`.")
    return str(PurePosixPath(OUTPUT_MOUNT) / sub_path / job.metadata.namespace / job.metadata.name / f"{digest}-r{run}")


def _head(spec: Spec, method: Method) -> str:
    text = ""
    if method in WITH_SCRIPT:
        text += f"# Pure TRL: trl {method.value} --config recipe.yaml\n"
    if spec.reference_model and spec.reference_model.model:
        text += "# The reference model of the spec is in run.yaml; stock TRL would use the policy's own.\n"
    return text


def _yaml(content: Mapping[str, Any]) -> str:
    # The C dumper: in Python this was 40 % of a reconcile that makes a Job
    return str(yaml.dump(dict(content), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=120))
