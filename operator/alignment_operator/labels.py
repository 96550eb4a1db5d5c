"""Labels and owner of every child: what the watches select by, and what the garbage collector follows."""

from __future__ import annotations

from typing import Any

from .api.alignmentjob import AlignmentJob
from .api.constants import API_VERSION, JOB_LABEL, KIND, MANAGED_BY_LABEL, MANAGER, METHOD_LABEL, RUN_LABEL
from .recipe import child_name, method_of


def of_run(job: AlignmentJob, run: int) -> dict[str, str]:
    """Labels of a run's ConfigMap, Service, Job and pods."""
    return {
        MANAGED_BY_LABEL: MANAGER,
        JOB_LABEL: job.metadata.name,
        RUN_LABEL: str(run),
        METHOD_LABEL: method_of(job.spec).value,
    }


def metadata(job: AlignmentJob, run: int) -> dict[str, Any]:
    """`metadata` of a child. blockOwnerDeletion: a foreground deletion waits until the pods have gone."""
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": job.metadata.name, "uid": job.metadata.uid}
    return {
        "name": child_name(job.metadata.name, run),
        "namespace": job.metadata.namespace,
        "labels": of_run(job, run),
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }
