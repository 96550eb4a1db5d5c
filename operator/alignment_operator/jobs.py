"""AlignmentJob -> child manifests: an immutable ConfigMap, a headless Service for several nodes, one Indexed Job.

The run's NetworkPolicy is in networkpolicy.py.
"""

from __future__ import annotations

from typing import Any

from . import labels, overlay, pods
from .api.alignmentjob import AlignmentJob, Spec
from .api.constants import PRIORITY_CLASS_LABEL, QUEUE_LABEL, TEMPLATE_ANNOTATION
from .failures import pod_failure_policy
from .recipe import Recipe
from .recipe import child_name as child_name
from .settings import Settings
from .views import UpstreamView

Json = dict[str, Any]


def config_map(job: AlignmentJob, recipe: Recipe, run: int, settings: Settings, ca_pem: str) -> Json:
    """What the pods find in /etc/alignment. `ca_pem`: the CA of the progress endpoint; empty: none yet, no reports."""
    data = {"recipe.yaml": recipe.recipe_yaml, "run.yaml": recipe.run_yaml}
    if ca_pem:
        data["ca.crt"] = ca_pem
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": labels.metadata(job, run),
        "immutable": True,
        "data": data,
    }


def service(job: AlignmentJob, run: int, settings: Settings) -> Json | None:
    """Headless Service by which the pods of a run find each other; None with one node."""
    if job.spec.nodes == 1:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": labels.metadata(job, run),
        "spec": {
            "clusterIP": "None",
            # rank 0 is looked up before any pod is ready
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": child_name(job.metadata.name, run)},
            "ports": [{"name": "rendezvous", "port": settings.master_port, "protocol": "TCP"}],
        },
    }


def job(job: AlignmentJob, recipe: Recipe, run: int, settings: Settings, upstream: UpstreamView | None = None) -> Json:
    """The Job of a run; `upstream`: the job that `spec.model.fromJob` names. Raises SpecProblem as `pods.template`."""
    metadata = labels.metadata(job, run)
    metadata["labels"] |= queue_labels(job.spec)
    metadata["annotations"] = {TEMPLATE_ANNOTATION: overlay.digest(job.spec.pod_template)}
    spec = {
        "completionMode": "Indexed",
        "completions": job.spec.nodes,
        "parallelism": job.spec.nodes,
        "backoffLimit": job.spec.backoff_limit,
        "podFailurePolicy": pod_failure_policy(),
        # a replacement starts only when its predecessor has ended: two would write one folder
        "podReplacementPolicy": "Failed",
        "suspend": bool(job.spec.queue_name) or job.spec.suspend,
        "template": pods.template(job, run, settings, upstream),
    }
    if job.spec.nodes > 1:
        # index 0 saves, merges and pushes; the others may be stopped then
        spec["successPolicy"] = {"rules": [{"succeededIndexes": "0"}]}
    if job.spec.active_deadline_seconds:
        spec["activeDeadlineSeconds"] = job.spec.active_deadline_seconds
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def queue_labels(spec: Spec) -> dict[str, str]:
    """Kueue's labels, which belong on the child Job and never on the AlignmentJob."""
    if not spec.queue_name:
        return {}
    found = {QUEUE_LABEL: spec.queue_name}
    return found | ({PRIORITY_CLASS_LABEL: spec.workload_priority_class} if spec.workload_priority_class else {})
