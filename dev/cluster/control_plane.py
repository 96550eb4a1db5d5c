"""Command lines of etcd, the API server, the controller manager and the scheduler."""

import os
from pathlib import Path

from .files import write_json
from .layout import CLUSTER_DOMAIN, ETCD_SERVER, NODE_ADDRESS, POD_CIDR, SERVICE_CIDR, Layout
from .pki import FRONT_PROXY
from .processes import Daemon

_ETCD_PEER = f"https://{NODE_ADDRESS}:2380"
_NODE_PORTS = "30000-30999"


def etcd(layout: Layout) -> Daemon:
    server, key, authority = layout.certificate("etcd-server"), layout.key("etcd-server"), layout.certificate("etcd-ca")
    flags = {
        "name": "local",
        "data-dir": layout.etcd,
        "listen-client-urls": ETCD_SERVER,
        "advertise-client-urls": ETCD_SERVER,
        "listen-peer-urls": _ETCD_PEER,
        "initial-advertise-peer-urls": _ETCD_PEER,
        "initial-cluster": f"local={_ETCD_PEER}",
        "cert-file": server,
        "key-file": key,
        "client-cert-auth": "true",
        "trusted-ca-file": authority,
        "peer-cert-file": server,
        "peer-key-file": key,
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": authority,
        # A crash of the machine may cost this cluster its state; a write costs no disk flush.
        "unsafe-no-fsync": "true",
        "auto-compaction-retention": "1h",
        "log-level": "warn",
    }
    layout.etcd.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Daemon("etcd", _argv(layout, "etcd", flags), reads=_files(layout, "etcd-server", "etcd-ca"))


def api_server(layout: Layout) -> Daemon:
    policy = write_json(layout.config / "audit-policy.json", _AUDIT_POLICY)
    flags = {
        "bind-address": NODE_ADDRESS,
        "advertise-address": NODE_ADDRESS,  # pods reach it through the service `kubernetes`; loopback would refuse them
        "secure-port": "6443",
        "anonymous-auth": "false",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        **_served_to_clients(layout),
        **_spoken_to(layout),
        "service-account-issuer": f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "service-account-key-file": layout.pki / "service-account.pub",
        "service-account-signing-key-file": layout.key("service-account"),
        "service-cluster-ip-range": SERVICE_CIDR,
        "service-node-port-range": _NODE_PORTS,
        "allow-privileged": "true",
        "audit-policy-file": policy,
        "audit-log-path": layout.log / "audit.log",
        "audit-log-maxsize": "200",
        "audit-log-maxbackup": "1",
        "profiling": "false",
        # One API server: waiting for others to take over its requests only delays a stop.
        "shutdown-delay-duration": "0s",
    }
    reads = (*_files(layout, "apiserver", "ca", "apiserver-etcd-client"), policy)
    return Daemon("kube-apiserver", _argv(layout, "kube-apiserver", flags), reads=reads)


def _served_to_clients(layout: Layout) -> dict[str, object]:
    """How the API server proves itself, and how it knows who asks."""
    return {
        "client-ca-file": layout.certificate("ca"),
        "tls-cert-file": layout.certificate("apiserver"),
        "tls-private-key-file": layout.key("apiserver"),
        # Aggregated API servers (Kueue has one) take users' names from requests that carry this certificate.
        "requestheader-client-ca-file": layout.certificate("front-proxy-ca"),
        "requestheader-allowed-names": FRONT_PROXY,
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    }


def _spoken_to(layout: Layout) -> dict[str, object]:
    """What the API server itself asks, and as whom: aggregated API servers, kubelets, etcd."""
    return {
        "proxy-client-cert-file": layout.certificate("front-proxy-client"),
        "proxy-client-key-file": layout.key("front-proxy-client"),
        "kubelet-client-certificate": layout.certificate("apiserver-kubelet-client"),
        "kubelet-client-key": layout.key("apiserver-kubelet-client"),
        "kubelet-certificate-authority": layout.certificate("ca"),
        "kubelet-preferred-address-types": "InternalIP",
        "etcd-servers": ETCD_SERVER,
        "etcd-cafile": layout.certificate("etcd-ca"),
        "etcd-certfile": layout.certificate("apiserver-etcd-client"),
        "etcd-keyfile": layout.key("apiserver-etcd-client"),
    }


# Metadata of every request, without bodies: tests count an operator's requests with it.
_AUDIT_POLICY: dict[str, object] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def controller_manager(layout: Layout) -> Daemon:
    flags = {
        "bind-address": NODE_ADDRESS,
        "kubeconfig": layout.kubeconfig_of("kube-controller-manager"),
        "authentication-kubeconfig": layout.kubeconfig_of("kube-controller-manager"),
        "authorization-kubeconfig": layout.kubeconfig_of("kube-controller-manager"),
        "client-ca-file": layout.certificate("ca"),
        "cluster-name": "local",
        "cluster-cidr": POD_CIDR,
        "service-cluster-ip-range": SERVICE_CIDR,
        "allocate-node-cidrs": "false",
        "cluster-signing-cert-file": layout.certificate("ca"),
        "cluster-signing-key-file": layout.key("ca"),
        "root-ca-file": layout.certificate("ca"),
        "service-account-private-key-file": layout.key("service-account"),
        "use-service-account-credentials": "true",
        "leader-elect": "false",
    }
    return Daemon(
        "kube-controller-manager", _argv(layout, "kube-controller-manager", flags), reads=_files(layout, "ca")
    )


def scheduler(layout: Layout) -> Daemon:
    flags = {
        "bind-address": NODE_ADDRESS,
        "kubeconfig": layout.kubeconfig_of("kube-scheduler"),
        "authentication-kubeconfig": layout.kubeconfig_of("kube-scheduler"),
        "authorization-kubeconfig": layout.kubeconfig_of("kube-scheduler"),
        "client-ca-file": layout.certificate("ca"),
        "leader-elect": "false",
    }
    return Daemon("kube-scheduler", _argv(layout, "kube-scheduler", flags), reads=_files(layout, "ca"))


def _argv(layout: Layout, program: str, flags: dict[str, object]) -> list[str]:
    # The file behind the link, so that another version of the program means a restart.
    return [os.path.realpath(layout.bin / program), *(f"--{name}={value}" for name, value in flags.items())]


def _files(layout: Layout, *names: str) -> tuple[Path, ...]:
    return tuple(layout.pki / f"{name}.crt" for name in names)
