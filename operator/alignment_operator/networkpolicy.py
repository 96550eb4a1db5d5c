"""The NetworkPolicy of a run (settings.job_network): its pods reach each other, and outside only what they need.

It is an allow-list: what another policy of the namespace adds is added, and what none names is closed.
"""

from __future__ import annotations

from typing import Any

from . import labels
from .api.alignmentjob import AlignmentJob
from .problems import SpecProblem
from .recipe import child_name
from .settings import Settings

Json = dict[str, Any]

DNS = ({"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"})
NAMESPACE_LABEL = "kubernetes.io/metadata.name"  # Kubernetes sets it on every namespace


def network_policy(job: AlignmentJob, run: int, settings: Settings) -> Json | None:
    """The policy of run `run`; None when the settings want none.

    Raises SpecProblem for pods in the node's network, which no NetworkPolicy holds.
    """
    if not settings.job_network.enabled:
        return None
    _check_network(job)
    # the Job controller's label; podTemplate may not set it
    pods = {"podSelector": {"matchLabels": {"batch.kubernetes.io/job-name": child_name(job.metadata.name, run)}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": labels.metadata(job, run),
        "spec": {
            **pods,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [pods]}],
            "egress": [{"to": [pods]}, _dns(settings), *_progress(settings), *map(dict, settings.job_network.egress)],
        },
    }


def _dns(settings: Settings) -> Json:
    ports: Json = {"ports": [dict(port) for port in DNS]}
    return ports | ({"to": [dict(peer) for peer in settings.job_network.dns]} if settings.job_network.dns else {})


def _progress(settings: Settings) -> list[Json]:
    """The operator's pods, behind their Service: a policy judges the address and port that a Service stands for."""
    if not settings.progress.url:
        return []
    operator: Json = {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: settings.namespace}}}
    if settings.job_network.operator_labels:
        operator["podSelector"] = {"matchLabels": dict(settings.job_network.operator_labels)}
    return [{"to": [operator], "ports": [{"port": settings.progress.port, "protocol": "TCP"}]}]


def _check_network(job: AlignmentJob) -> None:
    template = job.spec.pod_template
    if template and template.spec and (template.spec.model_extra or {}).get("hostNetwork"):
        raise SpecProblem(
            "spec.podTemplate.spec.hostNetwork",
            "The operator keeps jobs to their own network (settings.job_network.enabled); remove it.",
        )
