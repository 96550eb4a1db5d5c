"""The operator's rights: each has a reason, none is without one, and the real operator needs no more.

`list` and `watch` cannot be limited to a name, `create` neither; every other right on a single object is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART, NAMESPACE, RELEASE, Objects, find, render
from tests.integration.apiserver import ApiServer

WATCH = "kopf watches it: the store is fed by LIST and WATCH"
WORKLOAD_RIGHTS: dict[tuple[str, str, str], str] = {
    ("alignment-operator.io", "alignmentjobs", "list"): WATCH,
    ("alignment-operator.io", "alignmentjobs", "watch"): WATCH,
    ("alignment-operator.io", "alignmentjobs", "get"): "read live before a run is made again: the store may lag",
    ("alignment-operator.io", "alignmentjobs/status", "patch"): "status, and the progress endpoint's part of it",
    ("alignment-operator.io", "alignmentjobs/finalizers", "update"): "OpenShift asks it of who sets blockOwnerDeletion",
    ("batch", "jobs", "list"): WATCH,
    ("batch", "jobs", "watch"): WATCH,
    ("batch", "jobs", "create"): "a run",
    ("batch", "jobs", "get"): "whose is the Job that has our name already?",
    ("batch", "jobs", "patch"): "suspend, backoffLimit, activeDeadlineSeconds, the queue's labels",
    ("batch", "jobs", "delete"): "after its terminal status is stored, and when rerun stops a live run",
    ("", "configmaps", "create"): "recipe.yaml and run.yaml",
    ("", "configmaps", "get"): "a run that started goes on with the recipe that it started with",
    ("", "configmaps", "delete"): "immutable: that of a refused start is made anew",
    ("", "services", "create"): "headless Service of a run with several nodes",
    ("", "services", "get"): "whose is the Service that has our name already?",
    ("", "pods", "list"): WATCH,
    ("", "pods", "watch"): WATCH,
    ("", "persistentvolumeclaims", "get"): "may the claim be mounted by several nodes?",
    ("", "events", "list"): "FailedCreate of a Job: the only place where quota and Pod Security are told",
    ("", "events", "watch"): "the same, as it happens",
    ("", "events", "create"): "transitions, for `kubectl describe`",
    ("kueue.x-k8s.io", "workloads", "list"): "the Workload of a Job, found by its label",
    ("kueue.x-k8s.io", "workloads", "watch"): "admitted, evicted, deactivated",
    ("kueue.x-k8s.io", "workloads", "patch"): "spec.active: suspend of a queued job",
}
# (group, resource, verb, name)
OWN_RIGHTS: dict[tuple[str, str, str, str], str] = {
    ("coordination.k8s.io", "leases", "get", RELEASE): "leader election",
    ("coordination.k8s.io", "leases", "update", RELEASE): "leader election",
    ("", "secrets", "get", f"{RELEASE}-tls"): "certificate of the progress endpoint",
    ("", "secrets", "update", f"{RELEASE}-tls"): "its rotation",
}


NETWORK_RIGHTS: dict[tuple[str, str, str], str] = {
    ("networking.k8s.io", "networkpolicies", "create"): "that of a run",
    ("networking.k8s.io", "networkpolicies", "get"): "whose is the NetworkPolicy that has our name already?",
}
KUEUE = "kueue.x-k8s.io"
RBAC_KINDS = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount")


def rights(role: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every (group, resource, verb), with the name where the rule has names."""
    return [
        (group, resource, verb, *([name] if name else []))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    ]


def test_every_right_in_the_cluster_has_a_reason_and_stands_once() -> None:
    assert sorted(rights(find(render(), "ClusterRole", RELEASE))) == sorted(WORKLOAD_RIGHTS)


def test_every_right_in_its_own_namespace_has_a_reason_and_a_name() -> None:
    assert sorted(rights(find(render(), "Role"))) == sorted(OWN_RIGHTS)


def test_a_role_in_a_namespace_gives_what_the_cluster_role_gives() -> None:
    objects = render("--set=watchNamespaces={team-a,team-b}")
    roles = [o for o in objects if o["kind"] == "Role" and o["metadata"]["name"] == RELEASE]
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "team-b"]
    assert all(sorted(rights(role)) == sorted(WORKLOAD_RIGHTS) for role in roles)
    assert not [o for o in objects if o["kind"] == "ClusterRole" and o["metadata"]["name"] == RELEASE]


def test_without_kueue_there_is_no_right_on_its_workloads() -> None:
    groups = {right[0] for right in rights(find(render("--set=rbac.kueue=false"), "ClusterRole", RELEASE))}
    assert "kueue.x-k8s.io" not in groups


def test_rights_on_network_policies_are_given_only_where_they_are_made() -> None:
    role = find(render("--set=settings.job_network.enabled=true"), "ClusterRole", RELEASE)
    assert sorted(rights(role)) == sorted({**WORKLOAD_RIGHTS, **NETWORK_RIGHTS})


def test_who_installs_for_a_namespace_holds_what_the_operator_gets_there() -> None:
    role = find(render("--set=rbac.installerRole=true"), "ClusterRole", f"{RELEASE}-installer")
    assert sorted(rights(role)) == sorted(WORKLOAD_RIGHTS)
    assert "labels" not in role.get("aggregationRule", {})
    assert not [name for name in role["metadata"]["labels"] if name.startswith("rbac.authorization.k8s.io/aggregate")]


def bound(objects: Objects) -> set[tuple[str, str]]:
    return {(s["name"], s["namespace"]) for o in objects if "subjects" in o for s in o["subjects"]}


@pytest.mark.parametrize("name", ["default", "full", "tenant"])
def test_roles_are_bound_to_the_operators_account_alone(name: str) -> None:
    assert bound(render(f"--values={CHART / 'ci' / f'{name}-values.yaml'}")) == {(RELEASE, NAMESPACE)}


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "why"),
    [
        ("list", "secrets", "team-a", "hub tokens of every team"),
        ("get", "secrets", "team-a", "hub tokens of every team"),
        ("list", "secrets", NAMESPACE, "other programs' keys beside ours"),
        ("get", "secrets=another", NAMESPACE, "only its own certificate"),
        ("create", "secrets", NAMESPACE, "the chart ships it empty"),
        ("create", "leases.coordination.k8s.io", NAMESPACE, "the chart ships it empty"),
        ("create", "pods", "team-a", "only Jobs make pods"),
        ("create", "pods/exec", "team-a", "nothing runs in a user's pod"),
        ("get", "pods/log", "team-a", "a trainer's log may hold a user's data"),
        ("delete", "pods", "team-a", "a lost node's pods are the control plane's"),
        ("update", "alignmentjobs.alignment-operator.io", "team-a", "the spec is the user's"),
        ("patch", "alignmentjobs.alignment-operator.io", "team-a", "no annotation, no finalizer on a user's object"),
        ("delete", "alignmentjobs.alignment-operator.io", "team-a", "the object is the user's"),
        ("delete", "persistentvolumeclaims", "team-a", "the output is the user's"),
        ("create", "serviceaccounts/token", "team-a", "it impersonates nobody"),
        ("update", "roles.rbac.authorization.k8s.io", "team-a", "it grants nothing"),
        ("update", "customresourcedefinitions.apiextensions.k8s.io", "", "Helm's business"),
        ("list", "nodes", "", "not needed"),
        ("list", "namespaces", "", "kopf's scanning is off"),
    ],
)
def test_the_operator_may_not(verb: str, resource: str, namespace: str, why: str, rbac_server: ApiServer) -> None:
    assert not may(rbac_server, verb, resource, namespace), why


@pytest.mark.parametrize(
    ("verb", "resource", "namespace"),
    [
        ("create", "jobs.batch", "team-a"),
        ("patch", "alignmentjobs.alignment-operator.io/status", "team-a"),
        ("update", f"leases.coordination.k8s.io={RELEASE}", NAMESPACE),
        ("update", f"secrets={RELEASE}-tls", NAMESPACE),
        ("get", "/openid/v1/jwks", ""),
    ],
)
def test_the_operator_may(verb: str, resource: str, namespace: str, rbac_server: ApiServer) -> None:
    assert may(rbac_server, verb, resource, namespace)


# values, rights in team-a, rights in every other namespace
WITH_NETWORK = {**WORKLOAD_RIGHTS, **NETWORK_RIGHTS}
MATRIX: dict[str, tuple[list[str], dict, dict]] = {
    "cluster": ([], WORKLOAD_RIGHTS, WORKLOAD_RIGHTS),
    "namespaces": (["--set=watchNamespaces={team-a}"], WORKLOAD_RIGHTS, {}),
    "tenant": (
        [f"--values={CHART / 'ci/tenant-values.yaml'}", "--set=watchNamespaces={team-a}"],
        {right: why for right, why in WORKLOAD_RIGHTS.items() if right[0] != KUEUE},
        {},
    ),
    "network": (["--set=settings.job_network.enabled=true"], WITH_NETWORK, WITH_NETWORK),
}


@pytest.mark.parametrize("name", MATRIX)
def test_kubectl_auth_can_i_lists_these_rights_and_no_other(name: str, server: ApiServer) -> None:
    """Every verb on every resource: what is not listed here must not be, in any kind of namespace."""
    values, served, elsewhere = MATRIX[name]
    objects = [o for o in render(*values) if o["kind"] in RBAC_KINDS]
    server.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(objects))
    try:
        assert can_i(server, "team-a") == set(served)
        assert can_i(server, "team-b") == set(elsewhere)
        assert can_i(server, NAMESPACE) == set(OWN_RIGHTS) | set(elsewhere)
    finally:
        server.kubectl("delete", "-f", "-", "--ignore-not-found", input=yaml.safe_dump_all(objects))


def can_i(server: ApiServer, namespace: str) -> set[tuple[str, ...]]:
    """(group, resource, verb), with the name where there is one, less what every service account may."""
    return listed(server, namespace, RELEASE) - listed(server, namespace, "somebody-else")


def listed(server: ApiServer, namespace: str, account: str) -> set[tuple[str, ...]]:
    """What `kubectl auth can-i --list` says about a service account of the operator's namespace."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated")
    who = [f"--as=system:serviceaccount:{NAMESPACE}:{account}", *(f"--as-group={group}" for group in groups)]
    text = server.kubectl("auth", "can-i", "--list", "--no-headers", f"--namespace={namespace}", *who).stdout
    rows = (re.match(r"(\S*)\s+\[(.*?)\]\s+\[(.*?)\]\s+\[(.*?)\]$", line.strip()) for line in text.splitlines())
    found = set()
    for resource, urls, names, verbs in (row.groups() for row in rows if row):
        # `RESOURCE.GROUP/SUBRESOURCE`
        whole, _, subresource = resource.partition("/")
        plural, _, group = whole.partition(".")
        plural += f"/{subresource}" if subresource else ""
        for verb in verbs.split():
            found |= {(group or urls, plural, verb, *([name] if name else [])) for name in names.split() or [""]}
    return found


@pytest.mark.parametrize(
    ("role", "verb", "resource", "expected"),
    [
        ("view", "get", "alignmentjobs", True),
        ("view", "create", "alignmentjobs", False),
        ("edit", "create", "alignmentjobs", True),
        ("edit", "delete", "alignmentjobs", True),
        ("edit", "patch", "alignmentjobs/status", False),
    ],
)
def test_people_may_by_our_roles(role: str, verb: str, resource: str, expected: bool) -> None:
    # A controller, which runs on a cluster only, aggregates them into the built-in roles by this label.
    label = f"rbac.authorization.k8s.io/aggregate-to-{role}"
    given = {
        right
        for o in render()
        if o["kind"] == "ClusterRole" and o["metadata"]["labels"].get(label) == "true"
        for right in rights(o)
    }
    assert (("alignment-operator.io", resource, verb) in given) is expected


@pytest.fixture(scope="module")
def rbac_server(server: ApiServer) -> Iterator[ApiServer]:
    """The API server with the default roles and bindings, and the definition."""
    objects = [o for o in render() if o["kind"] in {*RBAC_KINDS, "CustomResourceDefinition"}]
    server.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(objects))
    yield server
    server.kubectl("delete", "-f", "-", "--ignore-not-found", input=yaml.safe_dump_all(objects))


def may(server: ApiServer, verb: str, resource: str, namespace: str) -> bool:
    """What the API server's authorizer says about the operator's service account."""
    spec: dict[str, Any] = {"user": f"system:serviceaccount:{NAMESPACE}:{RELEASE}", "groups": ["system:authenticated"]}
    if resource.startswith("/"):
        spec["nonResourceAttributes"] = {"verb": verb, "path": resource}
    else:
        spec["resourceAttributes"] = {"verb": verb, "namespace": namespace} | _attributes(resource)
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = server.kubectl("create", "-f", "-", "-o", "json", "--validate=false", input=json.dumps(review)).stdout
    return bool(json.loads(answer)["status"]["allowed"])


def _attributes(resource: str) -> dict[str, str]:
    """`RESOURCE[.GROUP][/SUBRESOURCE]` or `RESOURCE=NAME`, as the authorizer wants it."""
    resource, _, name = resource.partition("=")
    resource, _, subresource = resource.partition("/")
    resource, _, group = resource.partition(".")
    return {"resource": resource, "group": group, "subresource": subresource, "name": name}
