"""A real API server takes every golden manifest, and its Pod Security admission their pods at level `restricted`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.apiserver import ApiServer
from tests.unit.operator.manifests import CASES, children, job_of

RESTRICTED = ("pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest")
CLUSTER_OBJECTS = [
    {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "research"}, "value": 1},
    {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"},
]


@pytest.fixture
def restricted(apiserver: ApiServer, namespace: str) -> Iterator[str]:
    """A namespace in which only restricted pods are made, with what the golden pods refer to."""
    apiserver.kubectl("label", "namespace", namespace, *RESTRICTED)
    for obj in CLUSTER_OBJECTS:
        apiserver.kubectl("apply", "-f", "-", input=json.dumps(obj))
    yield namespace
    for obj in CLUSTER_OBJECTS:
        apiserver.kubectl("delete", "-f", "-", input=json.dumps(obj))


def in_namespace(manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def strictly(apiserver: ApiServer, manifest: dict[str, Any]) -> dict[str, Any]:
    """What the API server would store; a field that it does not know fails the test."""
    done = apiserver.kubectl(
        "create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", input=json.dumps(manifest)
    )
    stored: dict[str, Any] = json.loads(done.stdout)
    return stored


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_takes_the_children(apiserver: ApiServer, restricted: str, case: str) -> None:
    for manifest in children(job_of(case), CASES[case][1]).values():
        stored = strictly(apiserver, in_namespace(manifest, restricted))
        assert stored["metadata"]["name"] == manifest["metadata"]["name"]


@pytest.mark.parametrize("case", [case for case in CASES if case != "pod-template"])
def test_pod_security_restricted_takes_the_pods(apiserver: ApiServer, restricted: str, case: str) -> None:
    template = children(job_of(case), CASES[case][1])["Job"]["spec"]["template"]
    # no admission plugin of this server fills the service account in
    spec = {"serviceAccountName": "default", **template["spec"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial", "namespace": restricted}, "spec": spec}
    assert strictly(apiserver, pod)["spec"]["containers"][0]["name"] == "trainer"


def test_the_namespace_really_refuses_what_is_not_restricted(apiserver: ApiServer, restricted: str) -> None:
    container = {"name": "a", "image": "a"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial", "namespace": restricted}}
    pod |= {"spec": {"containers": [container]}}
    done = apiserver.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(pod), check=False)
    assert "violates PodSecurity" in done.stderr
