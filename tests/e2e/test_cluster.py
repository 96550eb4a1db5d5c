"""What `make cluster` promises, seen from inside pods of the running cluster.

Everything else in this folder stands on these: a failure here explains failures there.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from dev.cluster import layout, node, processes
from tests.e2e.kube import ROOT, kubectl

NAMESPACE = "cluster-probe"
OUTSIDE = "198.51.100.1"  # TEST-NET-2: nobody has this address


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: None) -> Iterator[None]:
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=90)
    kubectl("create", "namespace", NAMESPACE)
    yield
    kubectl("delete", "namespace", NAMESPACE, timeout=90)


def pod(name: str, script: str, image: str = node.SHELL_IMAGE, **container: Any) -> dict[str, Any]:
    claims = container.pop("claims", [])
    mounts = [{"name": claim, "mountPath": f"/{claim}"} for claim in claims]
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    # Without a request a pod has next to no share of a busy machine's cores.
    main = {"name": "main", "image": image, "args": ["-c", script], "volumeMounts": mounts}
    main |= {"resources": {"requests": {"cpu": "100m"}}} | container
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [main], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def claim(name: str, mode: str, storage_class: str | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": [mode], "resources": {"requests": {"storage": "1Mi"}}}
    spec |= {"storageClassName": storage_class} if storage_class else {}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def apply(*objects: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", namespace=NAMESPACE, stdin={"apiVersion": "v1", "kind": "List", "items": objects})


def ended(name: str) -> tuple[str, dict[str, Any]]:
    """Log and `terminated` state of a pod, once it has ended."""
    deadline = time.monotonic() + 180  # the machine may be busy with trainings
    while time.monotonic() < deadline:
        status = json.loads(kubectl("get", "pod", name, "-o", "json", namespace=NAMESPACE))["status"]
        if status["phase"] in ("Succeeded", "Failed"):
            return kubectl("logs", name, namespace=NAMESPACE), status["containerStatuses"][0]["state"]["terminated"]
        time.sleep(0.5)
    raise AssertionError(kubectl("describe", "pod", name, namespace=NAMESPACE))


def test_a_job_writes_to_a_volume_of_the_default_class() -> None:
    template = pod("writer", "echo kept > /data/file && cat /data/file", claims=["data"])["spec"]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "writer"},
        "spec": {"backoffLimit": 0, "template": {"spec": template}},
    }
    apply(claim("data", "ReadWriteOnce"), job)
    kubectl("wait", "--for=condition=Complete", "job/writer", "--timeout=60s", namespace=NAMESPACE, timeout=70)
    assert kubectl("logs", "job/writer", namespace=NAMESPACE) == "kept\n"
    apply(pod("reader", "cat /data/file", claims=["data"]))
    assert ended("reader")[0] == "kept\n"


def test_several_pods_write_to_one_shared_claim() -> None:
    meet = "touch /shared/$(hostname); until [ -e /shared/left ] && [ -e /shared/right ]; do sleep 0.2; done; echo met"
    apply(
        claim("shared", "ReadWriteMany", "local-path-shared"),
        *(pod(n, meet, claims=["shared"]) for n in ("left", "right")),
    )
    assert [ended(name)[0] for name in ("left", "right")] == ["met\n", "met\n"]


def test_a_pod_reaches_the_api_server_by_name_with_its_token_and_may_read_nothing() -> None:
    mounted = "/var/run/secrets/kubernetes.io/serviceaccount"
    identity = f"--certificate-authority={mounted}/ca.crt --token=$(cat {mounted}/token)"
    flags = f"--server=https://kubernetes.default.svc {identity}"
    apply(pod("api", f"kubectl {flags} get --raw /version; kubectl {flags} get secrets 2>&1", node.KUBECTL_IMAGE))
    log, _ = ended("api")
    assert f'"gitVersion": "{layout.KUBERNETES_VERSION}"' in log
    assert f'"system:serviceaccount:{NAMESPACE}:default" cannot list resource "secrets"' in log


def test_a_pod_reaches_a_service_by_name_also_when_it_is_behind_it_itself() -> None:
    service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    serve = "mkdir /tmp/www; echo hello > /tmp/www/index.html; httpd -f -p 8080 -h /tmp/www"
    apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service},
        pod("web", serve, readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}),
    )
    kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s", namespace=NAMESPACE)
    apply(pod("client", "until wget -q -O - http://web; do sleep 0.2; done"))
    assert ended("client")[0].endswith("hello\n")
    itself = f"http://web.{NAMESPACE}"  # its short name is the pod's own host name
    assert kubectl("exec", "web", "--", "wget", "-q", "-O", "-", itself, namespace=NAMESPACE) == "hello\n"


def test_nothing_outside_can_be_reached_nor_named() -> None:
    try_it = f"nc -w 3 {OUTSIDE} 80 2>&1 && echo reached"
    break_out = "ip route add default via 10.241.0.1"
    apply(
        pod("inside", f"{try_it}; nslookup example.com 2>&1"),
        pod("rebel", f"{break_out} && {try_it}", securityContext={"capabilities": {"add": ["NET_ADMIN"]}}),
    )
    inside, rebel = ended("inside")[0], ended("rebel")[0]
    assert "Network is unreachable" in inside
    assert "NXDOMAIN" in inside
    assert "Connection refused" in rebel
    assert "reached\n" not in inside + rebel


def test_a_memory_limit_kills_and_says_so() -> None:
    apply(pod("greedy", "tail /dev/zero", resources={"limits": {"memory": "32Mi"}}))
    _, terminated = ended("greedy")
    assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)


def test_nobody_is_anonymous() -> None:
    trusting = ssl.create_default_context(cafile=layout.here().certificate("ca"))
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(*handlers).open(f"{layout.API_SERVER}/readyz", timeout=5)
    assert refused.value.code == 401


def _cluster(*arguments: str) -> str:
    command = [sys.executable, "-m", "dev.cluster", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_fake_gpus_are_scheduled_and_run_out() -> None:
    _cluster("gpus", "2")
    try:
        wants = {name: {"limits": {"nvidia.com/gpu": str(count)}} for name, count in (("fits", 2), ("too-many", 3))}
        apply(*(pod(name, "true", resources=resources) for name, resources in wants.items()))
        assert ended("fits")[1]["exitCode"] == 0
        message = "{.status.conditions[?(@.type=='PodScheduled')].message}"
        assert "Insufficient nvidia.com/gpu" in kubectl(
            "get", "pod", "too-many", "-o", f"jsonpath={message}", namespace=NAMESPACE
        )
    finally:
        _cluster("gpus", "0")


def test_up_brings_back_what_was_killed_and_pods_live_on() -> None:
    apply(pod("survivor", "sleep 1000"))
    kubectl("wait", "--for=condition=Ready", "pod/survivor", "--timeout=30s", namespace=NAMESPACE)
    for name in ("etcd", "containerd", "kube-scheduler"):
        os.kill(json.loads((layout.RECORDS / f"{name}.json").read_text())["pid"], 9)
    said = _cluster("up")
    assert {line.split()[-1] for line in said.splitlines() if " start " in line} >= {"etcd", "containerd"}
    assert processes.is_running("kube-scheduler")
    apply(pod("late", "true"))
    assert ended("late")[1]["exitCode"] == 0
    survivor = json.loads(kubectl("get", "pod", "survivor", "-o", "json", namespace=NAMESPACE))["status"]
    assert survivor["containerStatuses"][0]["restartCount"] == 0
