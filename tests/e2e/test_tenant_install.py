"""A release for one namespace, installed by that namespace's own administrator, who has no right in the cluster.

What is cluster-wide (definition, admission policies, the installer's role) an administrator of the cluster has applied
once, from the chart's own rendering.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.allowed_cases import ALL_LISTS
from tests.e2e.conftest import helm
from tests.e2e.kube import ROOT, KubectlError, kubectl

CHART = str(ROOT / "charts" / "alignment-operator")
TENANT, RELEASE = "tenant-admin", "own"
AS = f"--as={TENANT}"


def once_per_cluster(namespace: str) -> list[dict[str, Any]]:
    """What docs/security.md tells the cluster's administrator to apply, for this test under a name of its own."""
    only = ("admission-policies", "installer-role")
    arguments = [*(f"--show-only=templates/{name}.yaml" for name in only), "--set=rbac.installerRole=true"]
    arguments += ["--set=rbac.kueue=false", f"--set=watchNamespaces={{{namespace}}}"]
    arguments += [f"--set-json=settings.allowed={json.dumps(ALL_LISTS)}", f"--set=fullnameOverride={namespace}"]
    text = helm("template", RELEASE, CHART, f"--namespace={namespace}", *arguments)
    return [obj for obj in yaml.safe_load_all(text) if obj]


@pytest.fixture(scope="module")
def namespace(operator: str) -> Iterator[str]:
    """A namespace that enforces Pod Security `restricted` and belongs to the tenant."""
    name = f"e2e-tenant-{int(time.time())}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl(
        "apply",
        "-f",
        "-",
        stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
    )
    shared = yaml.safe_dump_all(once_per_cluster(name))
    kubectl("apply", "-f", "-", stdin=shared)
    for role in ("admin", f"{name}-installer"):
        kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={TENANT}", namespace=name)
    yield name
    helm("uninstall", RELEASE, "--namespace", name, "--ignore-not-found", "--wait")
    kubectl("delete", "-f", "-", "--ignore-not-found", stdin=shared)
    kubectl("delete", "namespace", name, "--wait=false")


def install(namespace: str, images: dict[str, str]) -> None:
    repository, _, tag = images["operator"].rpartition(":")
    helm(
        *(
            "install",
            RELEASE,
            CHART,
            "--namespace",
            namespace,
            "--wait",
            "--timeout",
            "150s",
            f"--kube-as-user={TENANT}",
        ),
        *("--values", f"{CHART}/ci/tenant-values.yaml", f"--set=watchNamespaces={{{namespace}}}"),
        *("--set-string", f"image.repository={repository},image.tag={tag}"),
    )


def may(*question: str) -> bool:
    try:
        return kubectl("auth", "can-i", *question, AS).strip() == "yes"
    except KubectlError:
        return False


def test_the_tenant_installs_alone_and_his_operator_serves(namespace: str, images: dict[str, str]) -> None:
    for question in (("create", "customresourcedefinitions"), ("create", "clusterroles"), ("get", "nodes"), ("*", "*")):
        assert not may(*question), question
    assert not may("list", "secrets", "--namespace=kube-system")

    install(namespace, images)

    deployment = json.loads(
        kubectl("get", "deployment", f"{RELEASE}-alignment-operator", "-o", "json", namespace=namespace)
    )
    assert deployment["status"]["readyReplicas"] == 1
    told = kubectl("logs", "-l", f"app.kubernetes.io/instance={RELEASE}", "--tail=-1", namespace=namespace)
    assert "forbidden" not in told.lower()
    bound = kubectl("get", "clusterrolebindings", "-o", "json")
    assert f'"namespace": "{namespace}"' not in bound


def test_the_policies_that_the_administrator_applied_bind_the_tenant(namespace: str) -> None:
    metadata = {"name": "own-image", "namespace": namespace}
    job = {"apiVersion": "alignment-operator.io/v1alpha1", "kind": "AlignmentJob", "metadata": metadata}
    job["spec"] = {
        "model": {"modelNameOrPath": "/m"},
        "dataset": {"datasetName": "d"},
        "dpo": {},
        "image": "busybox",
        "gpusPerNode": 0,
        "output": {"volume": {"persistentVolumeClaim": {"claimName": "c"}}},
    }
    with pytest.raises(KubectlError, match=r"settings\.allowed\.images"):
        kubectl("create", "--dry-run=server", "-f", "-", AS, stdin=job)
    assert not may("delete", "validatingadmissionpolicies")


def test_the_api_server_finds_no_fault_with_the_policies_expressions(namespace: str) -> None:
    """A controller of the cluster checks them against the definition's schema, and writes down what it finds."""
    deadline = time.monotonic() + 60
    while True:
        found = json.loads(kubectl("get", "validatingadmissionpolicies", "-o", "json"))["items"]
        ours = [o for o in found if o["metadata"]["name"].startswith(namespace)]
        checked = [o["status"] for o in ours if o.get("status", {}).get("observedGeneration")]
        if len(checked) == 2:
            break
        assert time.monotonic() < deadline, ours
        time.sleep(0.5)
    assert [status.get("typeChecking", {}).get("expressionWarnings") for status in checked] == [None, None]
