"""The NetworkPolicy of a run, enforced by sigs.k8s.io/kube-network-policies between real pods of the real cluster.

Every connection is tried before the policies are enforced, too: there all of them succeed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignment_operator.networkpolicy import network_policy
from alignment_operator.settings import load
from tests.e2e import enforcement
from tests.e2e.conftest import OPERATOR_NAMESPACE, RELEASE, RESTRICTED
from tests.e2e.kube import items, kubectl
from tests.unit.operator.builders import alignment_job

PORT = 29500
SERVE = f"""
import http.server, threading
for port in ({PORT}, 8080):
    server = http.server.ThreadingHTTPServer(("", port), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever).start()
"""
# Connects to every HOST PORT of its arguments at once; prints 1 or 0 for each.
CONNECT = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def reached(target):
    try:
        socket.create_connection(target, 3).close()
        return 1
    except OSError:
        return 0
targets = list(zip(sys.argv[1::2], map(int, sys.argv[2::2])))
print(*ThreadPoolExecutor(len(targets)).map(reached, targets))
"""
RESOLVE = "import socket, sys; socket.getaddrinfo(sys.argv[1], 443)"
OPERATOR = f"{RELEASE}.{OPERATOR_NAMESPACE}.svc"
LABELS = {"app.kubernetes.io/name": "alignment-operator", "app.kubernetes.io/instance": RELEASE}


def job(name: str, image: str, pods: int) -> dict[str, Any]:
    """A Job as the operator names it, whose pods listen instead of training."""
    container = {
        "name": "trainer",
        "image": image,
        "command": ["python", "-c", SERVE],
        "securityContext": RESTRICTED,
        "resources": {"requests": {"cpu": "10m"}},
    }
    template = {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}}
    spec = {"completionMode": "Indexed", "completions": pods, "parallelism": pods, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


class Place:
    """A namespace with the pods of two runs and of one stranger, by name, and their addresses."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.pods: dict[str, str] = {}
        self.addresses: dict[str, str] = {}

    def find(self) -> None:
        for pod in items("pods", self.namespace):
            labels = pod["metadata"]["labels"]
            key = f"{labels['batch.kubernetes.io/job-name']}-{labels['batch.kubernetes.io/job-completion-index']}"
            self.pods[key], self.addresses[key] = pod["metadata"]["name"], pod["status"]["podIP"]

    def run(self, pod: str, script: str, *args: str) -> str:
        """What the script prints in that pod."""
        return kubectl("exec", self.pods[pod], "--", "python", "-c", script, *args, namespace=self.namespace)

    def reached(self) -> list[bool]:
        """For each of CONNECTIONS, whether it is made within 3 s."""
        answers: dict[tuple[str, str, int], bool] = {}
        for pod in dict.fromkeys(pod for pod, *_ in CONNECTIONS):
            targets = [(target, port) for one, target, port, _ in CONNECTIONS if one == pod]
            words = [word for target, port in targets for word in (self.addresses.get(target, target), str(port))]
            said = self.run(pod, CONNECT, *words).split()
            answers |= {(pod, *target): word == "1" for target, word in zip(targets, said, strict=True)}
        return [answers[pod, target, port] for pod, target, port, _ in CONNECTIONS]


@pytest.fixture(scope="module")
def place(operator: str, images: dict[str, str]) -> Iterator[Place]:
    namespace = f"e2e-network-{int(time.time())}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl("apply", "-f", "-", stdin=_object("v1", "Namespace", name=namespace, labels=labels))
    for name, pods in (("demo-r1", 2), ("other-r1", 1), ("stranger-r1", 1)):
        kubectl("apply", "-f", "-", namespace=namespace, stdin=job(name, images["operator"], pods))
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s", namespace=namespace, timeout=130)
    made = Place(namespace)
    made.find()
    yield made
    kubectl("delete", "namespace", namespace, "--wait=false")


def _object(api: str, kind: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def policy(place: Place) -> dict[str, Any]:
    """That of `demo`, run 1; `stranger` stands for a network that the administrator opens."""
    opened = {"to": [{"ipBlock": {"cidr": f"{place.addresses['stranger-r1-0']}/32"}}], "ports": [{"port": PORT}]}
    network = {"enabled": True, "operator_labels": LABELS, "egress": [opened]}
    settings = {"namespace": OPERATOR_NAMESPACE, "job_network": network}
    of = load(overrides=settings | {"progress": {"url": f"https://{OPERATOR}:8443", "port": 8443}})
    made = network_policy(alignment_job(), 1, of)
    assert made is not None
    del made["metadata"]["ownerReferences"]
    made["metadata"]["namespace"] = place.namespace
    return made


# pod, target, port, whether the policy lets it through
CONNECTIONS = [
    ("demo-r1-0", "demo-r1-1", PORT, True),
    ("demo-r1-1", "demo-r1-0", 8080, True),
    ("demo-r1-0", OPERATOR, 8443, True),
    ("demo-r1-0", "stranger-r1-0", PORT, True),
    ("other-r1-0", "stranger-r1-0", PORT, True),
    ("demo-r1-0", "stranger-r1-0", 8080, False),
    ("demo-r1-0", "other-r1-0", PORT, False),
    ("other-r1-0", "demo-r1-0", PORT, False),
    ("stranger-r1-0", "demo-r1-1", PORT, False),
    ("demo-r1-0", "kubernetes.default.svc", 443, False),
    ("demo-r1-1", "operator-health", 8080, False),
]


def test_a_run_is_closed_but_for_what_it_needs(place: Place, tmp_path: Path) -> None:
    enforcement.build()
    own = [*place.addresses.values()]
    place.addresses["operator-health"] = operator_address()
    place.run("demo-r1-0", RESOLVE, "kubernetes.default.svc")
    assert place.reached() == [True] * len(CONNECTIONS)

    kubectl("apply", "-f", "-", stdin=policy(place))
    allowed = [through for *_, through in CONNECTIONS]
    with enforcement.enforced(place.namespace, own, tmp_path / "enforcement.log"):
        until(lambda: place.reached() == allowed)
        place.run("demo-r1-0", RESOLVE, "kubernetes.default.svc")

    assert place.reached() == [True] * len(CONNECTIONS)  # nothing of it is left on the machine


def operator_address() -> str:
    """Of a pod of the operator: its port for probes and metrics is not for jobs."""
    selector = ",".join(f"{name}={value}" for name, value in LABELS.items())
    return json.loads(kubectl("get", "pods", "-l", selector, "-o", "json", namespace=OPERATOR_NAMESPACE))["items"][0][
        "status"
    ]["podIP"]


def until(what: Any, seconds: float = 30) -> None:
    """Wait until it holds: the enforcement hears of the policy by a watch."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not in {seconds} s"
