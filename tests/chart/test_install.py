"""Install, upgrade, uninstall on a real API server: what stays, what goes, whose data survives."""

import base64
import json
import shutil
from pathlib import Path

import pytest

from tests.chart.conftest import CHART, NAMESPACE, RELEASE, Helm, get
from tests.integration.apiserver import ApiServer

CRD = "alignmentjobs.alignment-operator.io"
CERTIFICATE = base64.b64encode(b"made by the operator").decode()


def patch(server: ApiServer, kind: str, name: str, body: dict) -> None:
    server.kubectl("patch", kind, name, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(body))


def short_names(server: ApiServer) -> list[str]:
    crd = get(server, "crd", CRD, None)
    assert crd is not None
    return list(crd["spec"]["names"]["shortNames"])


def test_an_upgrade_leaves_what_the_operator_wrote(installed: ApiServer, helm: Helm) -> None:
    patch(installed, "secret", f"{RELEASE}-tls", {"data": {"tls.crt": CERTIFICATE}})
    patch(installed, "lease", RELEASE, {"spec": {"holderIdentity": "pod-1", "leaseDurationSeconds": 15}})

    helm("upgrade", RELEASE, str(CHART), "--set=replicas=2,commonLabels.team=platform")

    secret, lease = get(installed, "secret", f"{RELEASE}-tls"), get(installed, "lease", RELEASE)
    assert secret is not None
    assert lease is not None
    assert secret["data"] == {"tls.crt": CERTIFICATE}
    assert lease["spec"] == {"holderIdentity": "pod-1", "leaseDurationSeconds": 15}
    assert secret["metadata"]["labels"]["team"] == "platform"  # so the upgrade did reach it
    assert get(installed, "deployment", RELEASE)["spec"]["replicas"] == 2  # type: ignore[index]


def test_an_upgrade_brings_the_definition_of_its_version(installed: ApiServer, helm: Helm, tmp_path: Path) -> None:
    older = shutil.copytree(CHART, tmp_path / "chart")
    file = older / "files" / "alignmentjobs.crd.yaml"
    file.write_text(file.read_text().replace("- aj\n", "- old\n"))
    helm("upgrade", RELEASE, str(older))
    assert short_names(installed) == ["old"]

    helm("upgrade", RELEASE, str(CHART))
    assert short_names(installed) == ["aj"]


def test_uninstalling_keeps_the_definition_and_nothing_else(installed: ApiServer, helm: Helm) -> None:
    helm("uninstall", RELEASE)

    assert get(installed, "crd", CRD, None) is not None
    kinds = "deployments,services,configmaps,secrets,leases,serviceaccounts,roles,rolebindings,networkpolicies"
    left = installed.kubectl("get", kinds, "-n", NAMESPACE, "-o", "name").stdout.split()
    assert [name for name in left if not name.endswith(("/kube-root-ca.crt", "/default"))] == []
    roles = installed.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name").stdout
    assert RELEASE not in roles


def test_installing_again_takes_the_kept_definition_over(installed: ApiServer, helm: Helm) -> None:
    helm("uninstall", RELEASE)
    helm("install", RELEASE, str(CHART))
    assert get(installed, "deployment", RELEASE) is not None


def test_uninstalling_removes_the_definition_when_told_so(installed: ApiServer, helm: Helm) -> None:
    helm("upgrade", RELEASE, str(CHART), "--set=crds.keep=false")
    helm("uninstall", RELEASE)
    installed.kubectl("wait", "--for=delete", f"crd/{CRD}", "--timeout=60s")  # fails when it stays


def test_a_rollback_restores_the_settings(installed: ApiServer, helm: Helm) -> None:
    def settings() -> str:
        config = get(installed, "configmap", f"{RELEASE}-settings")
        assert config is not None
        return str(config["data"]["settings.yaml"])

    first = settings()
    helm("upgrade", RELEASE, str(CHART), "--set=settings.workers=3")
    assert settings() != first
    helm("rollback", RELEASE)
    assert settings() == first


def test_the_notes_name_three_commands(installed: ApiServer, helm: Helm) -> None:
    notes = helm("get", "notes", RELEASE).stdout
    commands = [line.strip() for line in notes.splitlines() if line.strip().startswith("kubectl ")]
    assert len(commands) == 3
    assert commands[0] == f"kubectl -n {NAMESPACE} rollout status deployment/{RELEASE}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("replcas=2", "additional properties 'replcas' not allowed"),
        ("image.tag=1", "got number, want string"),
        ("settings.pods.gpuResource=x", "additional properties 'gpuResource' not allowed"),
        ("image.pullPolicy=Sometimes", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
        ("serviceAccount.create=false", "serviceAccount.name must name an existing account"),
        ("metrics.serviceMonitor.enabled=true", "this cluster has no API monitoring.coreos.com/v1"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_made(
    value: str, message: str, server: ApiServer, helm: Helm
) -> None:
    refused = helm("install", RELEASE, str(CHART), f"--set={value}", check=False)
    assert refused.returncode != 0
    assert message in refused.stderr
    assert get(server, "deployment", RELEASE) is None
