"""`spec.model.fromJob`: what another AlignmentJob left, as the policy to start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from .api.trl import SNAKE
from .observed import UpstreamView
from .problems import SpecProblem

FROM_JOB_MOUNT = "/from-job"
PATH = "spec.model.fromJob"
# of the upstream's base model, when its output is an adapter
BASE_FIELDS = ("modelNameOrPath", "modelRevision")


@dataclass(frozen=True, slots=True)
class FromJob:
    """`model`: TRL's fields of the policy's weights; `adapter`: path of the adapter on top, if that was left."""

    model: dict[str, Any]
    adapter: str | None = None


def resolve(name: str, upstream: UpstreamView | None) -> FromJob:
    """Merged weights if the job has them, else a whole model, else its base model with its adapter.

    Raises SpecProblem when the job is not complete or left only an adapter whose base model is not named.
    """
    if upstream is None or not upstream.complete:
        raise SpecProblem(PATH, f"AlignmentJob {name} is not complete; this job starts when it is.")
    artifacts = upstream.artifacts or _expected(upstream)
    for kind in ("merged", "model"):
        if kind in artifacts:
            return FromJob({"model_name_or_path": _path(upstream, artifacts[kind])})
    if "adapter" not in artifacts:
        raise SpecProblem(PATH, f"AlignmentJob {name} left neither a model nor an adapter.")
    return FromJob(_base(name, upstream), _path(upstream, artifacts["adapter"]))


def volume(name: str, upstream: UpstreamView | None) -> Mapping[str, Any]:
    """The volume that holds the job's output. Raises SpecProblem when the job is gone."""
    if upstream is None or upstream.volume is None:
        raise SpecProblem(PATH, f"AlignmentJob {name} does not exist, so the volume of its output is not known.")
    return upstream.volume


def _expected(upstream: UpstreamView) -> Mapping[str, str]:
    """What the trainer leaves (docs/contract/README.md), for a result that does not list it."""
    if upstream.merged:
        return {"merged": "merged"}
    return {"adapter": "."} if upstream.adapter else {"model": "."}


def _base(name: str, upstream: UpstreamView) -> dict[str, Any]:
    base = {SNAKE[key]: value for key, value in (upstream.model or {}).items() if key in BASE_FIELDS}
    if "model_name_or_path" not in base:  # it came from a job itself, whose volume is not mounted here
        raise SpecProblem(
            PATH, f"AlignmentJob {name} left only an adapter; set its spec.output.merge and run it again."
        )
    return base


def _path(upstream: UpstreamView, artifact: str) -> str:
    """The upstream's /output is our /from-job."""
    below = PurePosixPath(upstream.output_path).relative_to("/output")
    return str(PurePosixPath(FROM_JOB_MOUNT) / below / artifact)
