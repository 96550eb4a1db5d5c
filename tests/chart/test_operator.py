"""The real operator as the chart's service account, with the chart's settings file: its rights and settings suffice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import CHART, NAMESPACE, RELEASE, Helm, get
from tests.integration.apiserver import ApiServer, free_port

SECONDS = 60.0
JOB = {
    "apiVersion": "alignment-operator.io/v1alpha1",
    "kind": "AlignmentJob",
    "metadata": {"namespace": "team-a", "name": "demo"},
    "spec": {
        "model": {"modelNameOrPath": "/models/tiny"},
        "dataset": {"datasetName": "/data/pairs"},
        "dpo": {"beta": 0.1},
        "gpusPerNode": 0,
        "nodes": 2,
        "output": {"volume": {"persistentVolumeClaim": {"claimName": "out"}}},
    },
}

# The operator reads it, since several pods need more than ReadWriteOnce.
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"namespace": "team-a", "name": "out"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}


def until(what: Callable[[], Any], log: Path) -> Any:
    """The first true answer; fails with the operator's log after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if answer := what():
            return answer
        time.sleep(0.2)
    return pytest.fail(f"not in {SECONDS} s\n{log.read_text()[-4000:]}")


def as_operator(server: ApiServer, folder: Path) -> ApiServer:
    """The same API server, with a token of the chart's service account and nothing else."""
    token = server.kubectl("create", "token", RELEASE, "-n", NAMESPACE).stdout.strip()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig.read_text().replace(server.token, token))
    return replace(server, token=token, kubeconfig=kubeconfig)


@contextmanager
def operator(server: ApiServer, folder: Path) -> Iterator[Path]:
    """The operator's process, ready; gives its log."""
    settings, log, port = folder / "settings.yaml", folder / "operator.log", free_port()
    config = get(server, "configmap", f"{RELEASE}-settings")
    assert config is not None
    settings.write_text(config["data"]["settings.yaml"])
    command = [sys.executable, "-m", "alignment_operator", "run", f"--settings={settings}", "--bind=127.0.0.1"]
    command += [f"--kubeconfig={as_operator(server, folder).kubeconfig}"]
    command += [f"--health-port={port}", f"--progress-port={free_port()}"]  # several may run on this machine
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "POD_NAME": "operator-0"})
    try:
        until(lambda: process.poll() is not None or ready(port), log)
        assert process.poll() is None, log.read_text()[-4000:]
        yield log
    finally:
        process.terminate()
        process.wait(30)


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


NAMESPACED = ("--set=watchNamespaces={team-a,team-b}", "--set=settings.job_network.enabled=true")


@pytest.mark.parametrize("values", [(), NAMESPACED], ids=["cluster", "namespaces-network"])
def test_the_charts_rights_suffice(values: tuple[str, ...], server: ApiServer, helm: Helm, tmp_path: Path) -> None:
    helm("install", RELEASE, str(CHART), *values)
    try:
        server.kubectl("wait", "--for=condition=Established", "crd/alignmentjobs.alignment-operator.io")
        with operator(server, tmp_path) as log:
            live_a_life(server, log)
        assert bool(get(server, "networkpolicy", "demo-r1", "team-a")) is (values == NAMESPACED)
        told = log.read_text()
        assert "forbidden" not in told.lower(), told
    finally:
        helm("uninstall", RELEASE)
        server.kubectl("delete", "crd", "alignmentjobs.alignment-operator.io", "--timeout=60s")
        server.kubectl(
            "delete", "jobs,services,configmaps,networkpolicies,events", "--all", "-n", "team-a", "--wait=false"
        )


def live_a_life(server: ApiServer, log: Path) -> None:
    """Every kind of write once: status, ConfigMap, Service, Job, Event; a patch of the Job, its deletion by a rerun."""

    def change(**spec: Any) -> None:
        patch = json.dumps({"spec": spec})
        server.kubectl("patch", "alignmentjob", "demo", "-n", "team-a", "--type=merge", "-p", patch)

    def child(run: int) -> dict[str, Any]:
        return get(server, "job", f"demo-r{run}", "team-a") or {}

    server.kubectl("apply", "-f", "-", input=json.dumps(CLAIM))
    server.kubectl("create", "-f", "-", input=json.dumps(JOB))
    until(lambda: child(1), log)
    assert get(server, "service", "demo-r1", "team-a")
    assert get(server, "configmap", "demo-r1", "team-a")
    change(backoffLimit=7)
    until(lambda: child(1)["spec"]["backoffLimit"] == 7, log)
    change(suspend=True)
    until(lambda: child(1)["spec"]["suspend"], log)
    change(suspend=False, rerun="again")
    until(lambda: child(2), log)
    events = server.kubectl("get", "events", "-n", "team-a", "-o", "json").stdout
    assert any(event["involvedObject"]["name"] == "demo" for event in json.loads(events)["items"])
    secret, lease = get(server, "secret", f"{RELEASE}-tls"), get(server, "lease", RELEASE)
    assert secret is not None
    assert lease is not None
    assert set(secret["data"]) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
    assert lease["spec"]["holderIdentity"].startswith("operator-0")
