"""The cluster's certificates and kubeconfigs: a CA each for Kubernetes, etcd and aggregated APIs.

Nobody is anonymous, and nobody has more than its role: components carry the names that Kubernetes' own RBAC knows.
"""

import shutil
import subprocess
from dataclasses import dataclass

from .files import write_json
from .layout import API_SERVER, API_SERVICE_ADDRESS, CLUSTER_DOMAIN, NODE_ADDRESS, NODE_NAME, Layout
from .report import ClusterError, step

DAYS = 365
AUTHORITIES = ("ca", "etcd-ca", "front-proxy-ca")
FRONT_PROXY = "front-proxy-client"
_RENEW_BELOW_SECONDS = 30 * 86400


@dataclass(frozen=True)
class Certificate:
    """One leaf: file name, issuing CA, subject, and for servers the names it is reached by."""

    name: str
    issuer: str
    common_name: str
    organization: str = ""
    names: tuple[str, ...] = ()

    def subject(self) -> str:
        return (f"/O={self.organization}" if self.organization else "") + f"/CN={self.common_name}"


_API_NAMES = (
    f"IP:{NODE_ADDRESS}",
    f"IP:{API_SERVICE_ADDRESS}",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    f"DNS:kubernetes.default.svc.{CLUSTER_DOMAIN}",
)
_NODE_USER = f"system:node:{NODE_NAME}"

# Clients with a kubeconfig; the last is the user's own.
USERS = (
    Certificate("kube-controller-manager", "ca", "system:kube-controller-manager"),
    Certificate("kube-scheduler", "ca", "system:kube-scheduler"),
    Certificate("kubelet", "ca", _NODE_USER, "system:nodes"),
    Certificate("kube-proxy", "ca", "system:kube-proxy"),
    Certificate("coredns", "ca", "system:coredns"),
    Certificate("local-path-provisioner", "ca", "local-path-provisioner"),
    Certificate("admin", "ca", "kubernetes-admin", "system:masters"),
)
OTHERS = (
    Certificate("apiserver", "ca", "kube-apiserver", names=_API_NAMES),
    Certificate("apiserver-kubelet-client", "ca", "kube-apiserver-kubelet-client"),
    Certificate("kubelet-server", "ca", _NODE_USER, "system:nodes", (f"IP:{NODE_ADDRESS}", f"DNS:{NODE_NAME}")),
    Certificate("front-proxy-client", "front-proxy-ca", FRONT_PROXY),
    Certificate("etcd-server", "etcd-ca", "etcd", names=(f"IP:{NODE_ADDRESS}",)),
    Certificate("apiserver-etcd-client", "etcd-ca", "kube-apiserver"),
)


def ensure(layout: Layout) -> None:
    """Makes all certificates and kubeconfigs unless they are there and valid for another month."""
    if not _complete(layout):
        with step("make certificates and kubeconfigs"):
            shutil.rmtree(layout.pki, ignore_errors=True)
            layout.pki.mkdir(parents=True, mode=0o700)
            for authority in AUTHORITIES:
                _make_authority(layout, authority)
            for certificate in USERS + OTHERS:
                _issue(layout, certificate)
            _openssl("genrsa", "-out", layout.key("service-account"), "2048")
            _openssl(
                "rsa", "-in", layout.key("service-account"), "-pubout", "-out", str(layout.pki / "service-account.pub")
            )
    for user in USERS:
        path = layout.kubeconfig if user.name == "admin" else layout.kubeconfig_of(user.name)
        write_json(path, _kubeconfig(layout, user), mode=0o600)


def _complete(layout: Layout) -> bool:
    if not (layout.pki / "service-account.pub").exists():
        return False
    last = layout.certificate(OTHERS[-1].name)
    check = ["openssl", "x509", "-checkend", str(_RENEW_BELOW_SECONDS), "-noout", "-in", last]
    return subprocess.run(check, capture_output=True).returncode == 0


def _make_authority(layout: Layout, name: str) -> None:
    _certify(layout, name, f"/CN=alignment-cluster-{name}", "keyUsage=critical,keyCertSign,cRLSign")


def _issue(layout: Layout, leaf: Certificate) -> None:
    extensions = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"]
    extensions += ["extendedKeyUsage=serverAuth,clientAuth"]
    extensions += [f"subjectAltName={','.join(leaf.names)}"] if leaf.names else []
    _certify(layout, leaf.name, leaf.subject(), *extensions, issuer=leaf.issuer)


def _certify(layout: Layout, name: str, subject: str, *extensions: str, issuer: str = "") -> None:
    """A new P-256 key and its certificate, signed by `issuer` or by itself."""
    signer = ("-CA", layout.certificate(issuer), "-CAkey", layout.key(issuer)) if issuer else ()
    _openssl(
        *("req", "-x509", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-subj", subject, "-days", str(DAYS), *signer),
        *(argument for extension in extensions for argument in ("-addext", extension)),
        *("-keyout", layout.key(name), "-out", layout.certificate(name)),
    )


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")


def _kubeconfig(layout: Layout, user: Certificate) -> dict[str, object]:
    cluster = {"server": API_SERVER, "certificate-authority": layout.certificate("ca")}
    identity = {"client-certificate": layout.certificate(user.name), "client-key": layout.key(user.name)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": user.name, "user": identity}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": user.name}}],
        "current-context": "local",
    }
