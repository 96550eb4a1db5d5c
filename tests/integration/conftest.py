"""Fixtures of tests against a real API server: `apiserver`, `kubectl`, `namespace`; the CRD is installed once."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alignment_operator.api.crd import crd
from tests.integration.apiserver import BIN, ApiServer, api_server

Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def bare_apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server without our CRD."""
    missing = [name for name in ("etcd", "kube-apiserver", "kubectl") if not (BIN / name).exists()]
    if missing:
        pytest.fail(f"{', '.join(missing)} not built: run `make cluster` first (it builds them)")
    folder: Path = tmp_path_factory.mktemp("apiserver")
    with api_server(folder) as server:
        yield server


@pytest.fixture(scope="session")
def apiserver(bare_apiserver: ApiServer) -> ApiServer:
    """A real API server that serves AlignmentJobs: `.url`, `.token`, `.ca_cert`, `.kubeconfig`."""
    bare_apiserver.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(crd()))
    deadline = time.monotonic() + 60
    while bare_apiserver.kubectl("get", "alignmentjobs", "-A", check=False).returncode:
        assert time.monotonic() < deadline, "the API server does not serve AlignmentJobs"
        time.sleep(0.2)
    return bare_apiserver


@pytest.fixture
def kubectl(apiserver: ApiServer) -> Kubectl:
    """`kubectl(*args, input=None)` as the administrator: returns standard output, fails the test on an error."""

    def run(*args: str, input: str | None = None) -> str:
        return apiserver.kubectl(*args, input=input).stdout

    return run


@pytest.fixture
def namespace(apiserver: ApiServer) -> Iterator[str]:
    """A fresh namespace for one test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    apiserver.kubectl("create", "namespace", name)
    yield name
    # Nothing empties a namespace here (no controllers): delete what a test may count on the next list.
    apiserver.kubectl("delete", "alignmentjobs,jobs,pods,configmaps,services", "--all", "-n", name, "--wait=false")
