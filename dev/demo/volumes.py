"""Puts the model and the data onto the cluster's volume, as a user without access to its nodes would: through a pod."""

import subprocess
from pathlib import Path

from dev.cluster.report import ClusterError, say, step

from . import manifests
from .fetch import SUMS
from .kubectl import apply, get, kubectl
from .manifests import FILES, NAMESPACE


def prepare(image: str) -> None:
    """Makes the namespace, the claims and the pod that mounts them."""
    apply("default", manifests.namespace())
    apply(NAMESPACE, manifests.claim(manifests.MODELS), manifests.claim(manifests.OUTPUT))
    pod = get(NAMESPACE, "pod", FILES)
    if pod and (pod["status"].get("phase") != "Running" or pod["spec"]["containers"][0]["image"] != image):
        kubectl("-n", NAMESPACE, "delete", "pod", FILES, "--wait=true")
        pod = None
    if not pod:
        apply(NAMESPACE, manifests.files_pod(image))
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", f"pod/{FILES}", "--timeout=120s")


def fill(folder: Path) -> None:
    """Copies the folder's content to /cache unless the same content is there.

    Raises:
        ClusterError: the pod's tar failed, for example because the volume is full.
    """
    if _copied(folder):
        say(f"         claim {manifests.MODELS} holds the model and the data")
        return
    with step(f"copy the model and the data onto claim {manifests.MODELS}"):
        # Owners of this machine mean nothing on the volume; the checksums come last, so they prove the rest.
        names = [path.name for path in sorted(folder.iterdir()) if path.name != SUMS]
        pack = ["tar", "--owner=0", "--group=0", "--mode=u=rwX,go=rX", "-C", str(folder), "-c", *names, SUMS]
        with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
            unpack = ["tar", "--no-same-owner", "--no-same-permissions", "--touch", "-C", "/cache", "-x"]
            kubectl("-n", NAMESPACE, "exec", "-i", FILES, "--", *unpack, pipe=packing.stdout)
        if packing.returncode != 0:
            raise ClusterError(f"tar of {folder} ended with {packing.returncode}")


def _copied(folder: Path) -> bool:
    try:
        there = kubectl("-n", NAMESPACE, "exec", FILES, "--", "cat", f"/cache/{SUMS}")
    except ClusterError:
        return False
    return there == (folder / SUMS).read_text()
