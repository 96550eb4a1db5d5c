"""Debian packages that the node and some tests need: installs those that are missing."""

import os
import shutil
import subprocess

from .report import ClusterError, step

CNI_PLUGINS = "/usr/lib/cni"

# The file whose presence shows that the package, or another build of the same program, is there.
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "containernetworking-plugins": f"{CNI_PLUGINS}/ptp",
    "iptables": "iptables",
    "iproute2": "ip",
    "conntrack": "conntrack",
    "mount": "mount",
    "procps": "sysctl",
    "openssl": "openssl",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "busybox-static": "/usr/share/doc/busybox-static",
}

# Not part of the cluster: installed when a test asks for them by name.
OPTIONAL = {"prometheus": "promtool"}


def missing(packages: dict[str, str]) -> list[str]:
    return [package for package, file in packages.items() if not _present(file)]


def _present(file: str) -> bool:
    return os.path.exists(file) if file.startswith("/") else shutil.which(file) is not None


def install(wanted: dict[str, str] = NEEDED) -> None:
    """Installs what is missing with apt-get. `wanted`: package -> the file that shows that it is there.

    Raises:
        ClusterError: not on a Debian-like machine, not root, or apt-get failed.
    """
    packages = missing(wanted)
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"install these first: {' '.join(packages)} (there is no apt-get here to do it)")
    with step(f"install Debian packages: {' '.join(packages)}"):
        _apt("update", "-q")
        _apt("install", "-y", "-q", "--no-install-recommends", *packages)
    still = missing(wanted)
    if still:
        raise ClusterError(f"apt-get installed {' '.join(packages)}, but the files of these are not there: {still}")


def _apt(*arguments: str) -> None:
    # A package that starts a service on installation (containerd does) must not do so: our cluster runs its own.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    done = subprocess.run(
        ["apt-get", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise ClusterError(f"apt-get {arguments[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")
