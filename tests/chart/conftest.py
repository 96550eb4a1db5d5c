"""Fixtures of the chart's tests: `helm`, and a real API server on which the chart is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.apiserver import BIN, ROOT, ApiServer, api_server

CHART = ROOT / "charts" / "alignment-operator"
RELEASE = "alignment-operator"
NAMESPACE = "ops"
# Rendering without a cluster: what the rendered objects may count on.
OFFLINE = ("--kube-version=1.35.4", "--api-versions=monitoring.coreos.com/v1")
VALUES_FILES = sorted((CHART / "ci").glob("*-values.yaml"))

Helm = Callable[..., subprocess.CompletedProcess[str]]
Objects = list[dict[str, Any]]


def tool(name: str) -> str:
    """Path of a program that `make cluster` or `make chart-tools` builds, or that is on PATH."""
    built = BIN / name
    found = str(built) if built.exists() else shutil.which(name)
    if not found:
        pytest.fail(f"{name} not built: run `python3 -m dev.cluster build {name}`")
    return found


def run(*command: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program; an unexpected failure is the test's, with what the program said."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=300)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def render(*args: str) -> Objects:
    """The objects that `helm template` prints."""
    return [doc for doc in yaml.load_all(_template(args), yaml.CSafeLoader) if doc]


@lru_cache
def _template(args: tuple[str, ...]) -> str:
    return run(tool("helm"), "template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", *OFFLINE, *args).stdout


def find(objects: Objects, kind: str, name: str | None = None) -> dict[str, Any]:
    """The one object of this kind (and name)."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind} named {name}"
    return found[0]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server with the namespaces that the values files name, and nothing of ours.

    It enforces what OpenShift does: who sets blockOwnerDeletion must have the right on the owner's finalizers.
    """
    for name in ("etcd", "kube-apiserver", "kubectl"):
        tool(name)
    enforce = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
    with api_server(tmp_path_factory.mktemp("chart"), enforce) as running:
        for namespace in (NAMESPACE, "team-a", "team-b"):
            running.kubectl("create", "namespace", namespace)
        yield running


@pytest.fixture(scope="session")
def helm(server: ApiServer) -> Helm:
    """`helm(*args, check=True)` against the API server, in the operator's namespace."""

    def call(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(tool("helm"), f"--kubeconfig={server.kubeconfig}", f"--namespace={NAMESPACE}", *args, check=check)

    return call


@pytest.fixture
def installed(server: ApiServer, helm: Helm) -> Iterator[ApiServer]:
    """The API server with the chart installed by its defaults; uninstalled afterwards, definition included."""
    helm("install", RELEASE, str(CHART))
    yield server
    helm("uninstall", RELEASE, "--ignore-not-found")
    server.kubectl("delete", "crd", "alignmentjobs.alignment-operator.io", "--ignore-not-found", "--timeout=60s")


def get(server: ApiServer, kind: str, name: str, namespace: str | None = NAMESPACE) -> dict[str, Any] | None:
    """The object as JSON; None when there is none."""
    where = ("-n", namespace) if namespace else ()
    text = server.kubectl("get", kind, name, *where, "-o", "json", "--ignore-not-found").stdout
    return json.loads(text) if text.strip() else None


@pytest.fixture(params=VALUES_FILES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def values_file(request: pytest.FixtureRequest) -> Path:
    """Each file in the chart's ci folder."""
    path: Path = request.param
    return path
