"""Command lines of the simulated cluster's processes: everything on 127.0.0.1, state under one folder.

Tests that need no more run etcd and the API server alone (tests/integration/apiserver.py).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import audit, pods
from .credentials import Credentials

LOOPBACK = "127.0.0.1"
SERVICE_CIDR = "10.89.0.0/16"
# As fast as the machine lets it: with its default of 20 requests/s the Job controller would be all that is measured.
CONTROLLER_QPS, CONTROLLER_BURST, JOB_SYNCS = 200, 400, 20


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Ports:
    """One for each server."""

    etcd: int = field(default_factory=free_port)
    etcd_peer: int = field(default_factory=free_port)
    api: int = field(default_factory=free_port)
    controllers: int = field(default_factory=free_port)
    scheduler: int = field(default_factory=free_port)
    kwok: int = field(default_factory=free_port)


@dataclass(frozen=True)
class Layout:
    """What the command lines are made of. `bin` holds the programs."""

    bin: Path
    folder: Path
    ports: Ports
    credentials: Credentials

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def argv(self, program: str, flags: Mapping[str, object]) -> list[str]:
        return [str(self.bin / program), *(f"--{name}={value}" for name, value in flags.items())]


def etcd(layout: Layout) -> list[str]:
    client, peer = f"http://{LOOPBACK}:{layout.ports.etcd}", f"http://{LOOPBACK}:{layout.ports.etcd_peer}"
    return layout.argv(
        "etcd",
        {
            "data-dir": layout.folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",  # a killed process loses nothing; only a crash of the machine would
            "quota-backend-bytes": 8 << 30,
            "log-level": "warn",
        },
    )


def api_server(layout: Layout, more: Mapping[str, object]) -> list[str]:
    """`more`: flags beside these, or instead of them."""
    flags: dict[str, object] = {
        "etcd-servers": f"http://{LOOPBACK}:{layout.ports.etcd}",
        "bind-address": LOOPBACK,
        "advertise-address": LOOPBACK,
        "secure-port": layout.ports.api,
        "cert-dir": layout.credentials.certificates,
        "token-auth-file": layout.credentials.tokens,
        "service-account-key-file": layout.credentials.signing_key,
        "service-account-signing-key-file": layout.credentials.signing_key,
        "service-account-issuer": "https://kubernetes.default.svc",
        "authorization-mode": "RBAC",
        "anonymous-auth": "false",
        "allow-privileged": "true",
        "service-cluster-ip-range": SERVICE_CIDR,
        # Webhooks of processes on this machine: a Service's endpoints are dialled without a kube-proxy.
        "enable-aggregator-routing": "true",
        "endpoint-reconciler-type": "none",
        # Nodes are born with a taint that a controller takes away which does not run here.
        "disable-admission-plugins": "TaintNodesByCondition",
        "shutdown-delay-duration": "0s",
    }
    return layout.argv("kube-apiserver", {**flags, **more})


def audited(layout: Layout, bodies: tuple[str, ...]) -> dict[str, object]:
    """Flags of an API server with an audit log. `bodies`: API groups whose writes are in it with their objects."""
    policy = layout.folder / "audit-policy.json"
    policy.write_text(json.dumps(audit.policy(bodies)))
    return {"audit-policy-file": policy, "audit-log-path": layout.audit_log, "audit-log-maxsize": 100_000}


def controller_manager(layout: Layout, node_grace: int | None) -> list[str]:
    """`node_grace`: seconds without a heartbeat after which a node is lost; None: nobody looks."""
    kubeconfig = layout.credentials.kubeconfig_of("system:kube-controller-manager")
    return layout.argv(
        "kube-controller-manager",
        {
            "kubeconfig": kubeconfig,
            "authentication-kubeconfig": kubeconfig,
            "authorization-kubeconfig": kubeconfig,
            "bind-address": LOOPBACK,
            "secure-port": layout.ports.controllers,
            "cert-dir": layout.folder / "controller-manager",
            "service-account-private-key-file": layout.credentials.signing_key,
            "root-ca-file": layout.credentials.authority,
            "use-service-account-credentials": "true",
            "service-cluster-ip-range": SERVICE_CIDR,
            "leader-elect": "false",
            "kube-api-qps": CONTROLLER_QPS,
            "kube-api-burst": CONTROLLER_BURST,
            "concurrent-job-syncs": JOB_SYNCS,
            **_node_controllers(node_grace),
        },
    )


def _node_controllers(node_grace: int | None) -> dict[str, object]:
    if node_grace is None:
        return {"controllers": "*,-node-lifecycle-controller,-node-ipam-controller"}
    return {
        "controllers": "*,-node-ipam-controller",
        "node-monitor-grace-period": f"{node_grace}s",
        "node-monitor-period": "1s",
        "node-eviction-rate": 10,  # lost nodes in a second whose pods are told to go
    }


def scheduler(layout: Layout) -> list[str]:
    kubeconfig = layout.credentials.kubeconfig_of("system:kube-scheduler")
    return layout.argv(
        "kube-scheduler",
        {
            "kubeconfig": kubeconfig,
            "authentication-kubeconfig": kubeconfig,
            "authorization-kubeconfig": kubeconfig,
            "bind-address": LOOPBACK,
            "secure-port": layout.ports.scheduler,
            "cert-dir": layout.folder / "scheduler",
            "leader-elect": "false",
        },
    )


def kwok(layout: Layout, pod_seconds: float, message: str, node_grace: int | None) -> list[str]:
    """`node_grace`: as above. KWOK renews each node's Lease after a quarter of its life, as a kubelet does."""
    config = layout.folder / "kwok.yaml"
    config.write_text("\n---\n".join(json.dumps(stage) for stage in pods.stages(pod_seconds, message)))
    return layout.argv(
        "kwok",
        {
            "kubeconfig": layout.credentials.kubeconfig_of("kwok"),
            "config": config,
            "manage-all-nodes": "true",
            "node-lease-duration-seconds": node_grace or 0,
            "server-address": f"{LOOPBACK}:{layout.ports.kwok}",
        },
    )
