"""A second release beside the first, for one namespace: installed, upgraded and removed on the real cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import helm
from tests.e2e.kube import ROOT, kubectl

CHART = str(ROOT / "charts" / "alignment-operator")
NAMESPACE, RELEASE = "chart-tenant", "tenant"
NAME = f"{RELEASE}-alignment-operator"


def arguments(images: dict[str, str], *more: str) -> tuple[str, ...]:
    """Of `helm upgrade`: a tenant without cluster rights, with the images of this checkout."""
    repository, _, tag = images["operator"].rpartition(":")
    return (
        *(RELEASE, CHART, "--namespace", NAMESPACE, "--wait", "--timeout", "150s"),
        *("--values", f"{CHART}/ci/tenant-values.yaml", "--set", f"watchNamespaces={{{NAMESPACE}}}"),
        *("--set-string", f"image.repository={repository},image.tag={tag}", *more),
    )


@pytest.fixture
def tenant(operator: str, images: dict[str, str]) -> Iterator[str]:
    """A namespace of Pod Security level restricted with the release in it. `operator` has brought the definition."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    kubectl("apply", "-f", "-", stdin=namespace)
    helm("upgrade", "--install", *arguments(images))
    yield NAMESPACE
    helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    kubectl("delete", "namespace", NAMESPACE, timeout=120)


def data(kind: str, name: str, field: str) -> dict:
    found: dict = json.loads(kubectl("get", kind, name, "-o", "json", namespace=NAMESPACE))[field]
    return found


def names(kinds: str) -> list[str]:
    return kubectl("get", kinds, "-o", "name", namespace=NAMESPACE).split()


def test_an_upgrade_rolls_over_to_two_ready_replicas_and_keeps_the_certificate(
    tenant: str, images: dict[str, str]
) -> None:
    before = data("secret", f"{NAME}-tls", "data")
    assert set(before) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
    assert data("lease", NAME, "spec")["holderIdentity"].startswith(NAME)

    helm("upgrade", *arguments(images, "--set", "replicas=2,settings.workers=4"))

    assert data("deployment", NAME, "status")["readyReplicas"] == 2
    assert data("secret", f"{NAME}-tls", "data") == before
    assert names("poddisruptionbudgets") == [f"poddisruptionbudget.policy/{NAME}"]
    told = kubectl("logs", "-l", "app.kubernetes.io/instance=tenant", "--tail=-1", namespace=NAMESPACE)
    assert "forbidden" not in told.lower()


def test_uninstalling_leaves_nothing_in_the_namespace(tenant: str) -> None:
    helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--cascade", "foreground")
    kinds = "deployments,pods,services,configmaps,secrets,leases,serviceaccounts,roles,rolebindings"
    assert names(kinds) == ["configmap/kube-root-ca.crt", "serviceaccount/default"]
    assert kubectl("get", "crd", "alignmentjobs.alignment-operator.io", "-o", "name")
