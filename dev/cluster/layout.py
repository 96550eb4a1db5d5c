"""Where everything of the local cluster is: addresses, versions, and paths of one clone and of the machine."""

import os
from dataclasses import dataclass
from pathlib import Path

KUBERNETES_VERSION = "v1.35.4"

NODE_NAME = "local"
NODE_LINK = "kube0"
NODE_ADDRESS = "10.240.0.1"
POD_CIDR = "10.241.0.0/16"
SERVICE_CIDR = "10.242.0.0/16"
CLUSTER_CIDR = "10.240.0.0/14"  # holds the three above: what lies outside is outside the machine
API_SERVICE_ADDRESS = "10.242.0.1"
CLUSTER_DOMAIN = "cluster.local"
API_SERVER = f"https://{NODE_ADDRESS}:6443"
ETCD_SERVER = f"https://{NODE_ADDRESS}:2379"
REGISTRY = "localhost:5000"
REGISTRY_ADDRESS = "127.0.0.1:5000"

# One cluster at a time can hold the addresses above, so its sockets and the name of its clone belong to the machine.
# Short, because a Unix socket's path has 107 bytes at most and a clone may lie deep.
MACHINE = Path("/run/alignment-cluster")
OWNER = MACHINE / "owner"
RECORDS = MACHINE / "processes"  # pid and start time of each; here, so that they outlive a clone that was deleted
LONGEST_ROOT = 60  # characters of a clone's path
CONTAINERD_SOCKET = MACHINE / "containerd.sock"
CONTAINERD_STATE = MACHINE / "containerd"


@dataclass(frozen=True)
class Layout:
    """The paths of one clone's cluster, all under `ROOT/.cluster`."""

    root: Path

    @property
    def base(self) -> Path:
        return self.root / ".cluster"

    @property
    def bin(self) -> Path:
        return self.base / "bin"

    @property
    def log(self) -> Path:
        return self.base / "log"

    @property
    def pki(self) -> Path:
        return self.base / "pki"

    @property
    def config(self) -> Path:
        return self.base / "config"

    @property
    def etcd(self) -> Path:
        return self.base / "etcd"

    @property
    def kubelet(self) -> Path:
        return self.base / "kubelet"

    @property
    def volumes(self) -> Path:
        return self.base / "volumes"

    @property
    def containerd(self) -> Path:
        """Image store: survives `down`, so that gigabytes of images need not be pulled again."""
        return self.base / "containerd"

    @property
    def kubeconfig(self) -> Path:
        return self.base / "kubeconfig"

    def kubeconfig_of(self, user: str) -> Path:
        return self.config / f"{user}.kubeconfig"

    def certificate(self, name: str) -> str:
        return str(self.pki / f"{name}.crt")

    def key(self, name: str) -> str:
        return str(self.pki / f"{name}.key")


def here() -> Layout:
    """The layout of the clone that this file lies in."""
    return Layout(Path(__file__).resolve().parents[2])


def cache() -> Path:
    """What all clones of this user share: built binaries and the registry's blobs, both addressed by content."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alignment-operator"
