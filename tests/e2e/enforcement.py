"""NetworkPolicies enforced on the cluster, for as long as a block lasts: sigs.k8s.io/kube-network-policies, unchanged.

The cluster's network plugin enforces none. This one judges the first packet of every connection that the kernel puts
into its queue. Its own rules for that need nftables' queue, which not every kernel has; here iptables' NFQUEUE does it,
and only for the addresses of the test's pods, so that no other test is touched. If it dies, packets pass.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from dev.simulated.processes import end
from tests.e2e.kube import BIN, KUBECONFIG, ROOT, kubectl

NAME = "kube-network-policies"
ACCOUNT_FOLDER = "/run/secrets/kubernetes.io/serviceaccount"
SECONDS = 60
QUEUE = "137"
SYNCED = "Syncing nftables rules"  # what it does last before it opens the queue
# It reads its credentials from where a pod has them: here a folder that only this process sees.
START = f"""
mount -t tmpfs none /run && mkdir -p {ACCOUNT_FOLDER} && printf %s "$TOKEN" > {ACCOUNT_FOLDER}/token &&
printf %s "$AUTHORITY" > {ACCOUNT_FOLDER}/ca.crt && unset TOKEN AUTHORITY && exec "$0" "$@"
"""
RIGHTS = [{"apiGroups": [""], "resources": ["pods", "namespaces", "nodes"], "verbs": ["list", "watch"]}]
RIGHTS += [{"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "watch"]}]


def build() -> None:
    """Put the program into .cluster/bin."""
    command = [sys.executable, "-m", "dev.cluster", "build", NAME]
    subprocess.run(command, cwd=ROOT, check=True, timeout=900)


@contextmanager
def enforced(namespace: str, addresses: Iterable[str], log: Path) -> Iterator[None]:
    """Policies are enforced on these addresses within the block. `namespace`: a test's own, for the service account."""
    environment = _credentials(namespace)
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", START, str(BIN / NAME)]
    command += [f"--hostname-override={_node()}", "--fail-open", f"--nfqueue-id={QUEUE}"]
    command += ["--metrics-bind-address=127.0.0.1:0"]
    command += ["--netfilter-bug-1766-fix=false", "-v=2"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    rules = [rule for address in addresses for rule in _rules(address)]
    try:
        _wait_until_it_judges(process, log)
        for rule in rules:
            subprocess.run(["iptables", "-w", "-t", "mangle", "-I", *rule], check=True)
        yield
    finally:
        for rule in rules:
            subprocess.run(["iptables", "-w", "-t", "mangle", "-D", *rule], capture_output=True, check=False)
        end(process)
        kubectl("delete", "clusterrole,clusterrolebinding", f"{namespace}-{NAME}", "--ignore-not-found")


def _credentials(namespace: str) -> dict[str, str]:
    """The program's environment: a token of an account that may read what it needs, and where the API server is."""
    name = f"{namespace}-{NAME}"
    kubectl("create", "serviceaccount", NAME, namespace=namespace)
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
    kubectl("apply", "-f", "-", stdin=role | {"rules": RIGHTS})
    account = f"--serviceaccount={namespace}:{NAME}"
    kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", account)
    server = urlsplit(_cluster()["server"])
    return {
        "PATH": os.environ["PATH"],
        "TOKEN": kubectl("create", "token", NAME, namespace=namespace).strip(),
        "AUTHORITY": _authority(),
        "KUBERNETES_SERVICE_HOST": server.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(server.port or 443),
    }


def _cluster() -> dict[str, str]:
    view = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    cluster: dict[str, str] = view["clusters"][0]["cluster"]
    return cluster


def _authority() -> str:
    cluster = _cluster()
    if path := cluster.get("certificate-authority"):
        return (KUBECONFIG.parent / path).read_text()
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


def _node() -> str:
    return kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").strip()


def _rules(address: str) -> list[list[str]]:
    """After Services have been resolved; the mark is that by which `make down` would find what a killed test left."""
    new = ["-m", "conntrack", "--ctstate", "NEW", "-m", "comment", "--comment", "alignment-cluster"]
    queue = ["-j", "NFQUEUE", "--queue-num", QUEUE, "--queue-bypass"]
    between_pods = [["POSTROUTING", direction, address, *new, *queue] for direction in ("-s", "-d")]
    return [*between_pods, ["INPUT", "-s", address, *new, *queue]]  # the API server is on the node itself


def _wait_until_it_judges(process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while SYNCED not in log.read_text():
        assert process.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.2)
