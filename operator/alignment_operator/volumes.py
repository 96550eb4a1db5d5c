"""Whether the claims that a spec names can carry the run; the spec alone cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .api.alignmentjob import AlignmentJob
from .api.constants import Reason
from .problems import SpecProblem

PATH = "spec.output.volume.persistentVolumeClaim.claimName"
SHARED = {"ReadWriteMany"}


def output_claim(job: AlignmentJob) -> str | None:
    """Name of the claim that has to be read for `output_problem`: only several pods need more than any claim gives."""
    claim = job.spec.output.volume.persistent_volume_claim
    return claim.claim_name if claim and job.spec.nodes > 1 else None


def output_problem(job: AlignmentJob, claim: Mapping[str, Any] | None) -> SpecProblem | None:
    """`claim`: the PersistentVolumeClaim of that name as JSON, None if there is none."""
    name = output_claim(job)
    if name is None:
        return None
    if claim is None:
        message = f"PersistentVolumeClaim {name} does not exist: create it, or name another one."
        return SpecProblem(PATH, message, Reason.VOLUME_NOT_FOUND)
    modes = claim.get("spec", {}).get("accessModes") or []
    if SHARED & set(modes):
        return None
    message = (
        f"{job.spec.nodes} nodes write to PersistentVolumeClaim {name}, which is {', '.join(modes)}: "
        "name one that is ReadWriteMany, or set spec.nodes to 1."
    )
    return SpecProblem(PATH, message, Reason.VOLUME_NOT_SHARED)
