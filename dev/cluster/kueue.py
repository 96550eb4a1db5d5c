"""Kueue on the cluster: its own chart from its Go module's folder, its controller built from the same module, as a pod.

It goes with the cluster's objects (`down`). Namespaces take part by the label `kueue-managed: "true"`: only there do
its webhooks stand between a client and the API server, so that nothing else waits for it.
"""

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from . import binaries, images, modules, teardown, tools
from .files import write_json
from .layout import MACHINE, OWNER, REGISTRY, Layout
from .report import ClusterError, step

NAMESPACE = "kueue-system"
NAMESPACE_LABEL = {"kueue-managed": "true"}
_MODULE = "sigs.k8s.io/kueue"
_PROGRAM = "/manager"  # where the chart's Deployment expects it
_WAIT = "240s"  # the controller makes its certificates first, and the kubelet brings them to the pod within a minute


def install(layout: Layout) -> None:
    """Installs Kueue, or brings what is installed up to date; returns when it answers.

    Raises:
        ClusterError: no cluster of this clone runs, the build failed, or helm did.
    """
    if not OWNER.exists() or teardown.owner() != layout:
        raise ClusterError("no cluster of this clone runs: start it first (`make cluster`)")
    with open(MACHINE / "kueue.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        binaries.provide(layout, (tools.BY_NAME["kueue"],))
        program = Path(os.path.realpath(layout.bin / "kueue"))
        folder, version = module(layout)
        image = (
            f"{REGISTRY}/kueue:{version}-{program.parent.name}"  # the folder is named after all that the build takes
        )
        images.ensure_program(image, program, _PROGRAM)
        values = write_json(layout.config / "kueue.json", _values(image))
        with step(f"install Kueue {version}"):
            _helm(layout, "upgrade", "--install", "kueue", str(folder / "charts" / "kueue"), "--values", str(values))


def module(layout: Layout) -> tuple[Path, str]:
    """Folder and version of the module that `dev/go/kueue` pins; its chart and its CRDs lie there."""
    return modules.download(layout, "kueue", _MODULE)


def _values(image: str) -> dict[str, Any]:
    """Values of Kueue's chart: the smallest that works on a small node, one replica that needs no election."""
    repository, _, tag = image.rpartition(":")
    config = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": ":8081"},
        "metrics": {"bindAddress": ":8443"},
        "webhook": {"port": 9443},
        "leaderElection": {"leaderElect": False},
        "managedJobsNamespaceSelector": {"matchLabels": NAMESPACE_LABEL},
        "integrations": {"frameworks": ["batch/job"]},
    }
    manager = {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "podSecurityContext": {"runAsUser": 65532},  # the image names no user, and the chart wants none to be root
    }
    return {
        "controllerManager": {"manager": manager, "readinessProbe": {"initialDelaySeconds": 1}},
        "managerConfig": {"controllerManagerConfigYaml": json.dumps(config, indent=2)},  # JSON is YAML
    }


def _helm(layout: Layout, *arguments: str) -> None:
    command = [str(layout.bin / "helm"), f"--kubeconfig={layout.kubeconfig}", *arguments]
    command += ["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", _WAIT]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"helm {arguments[0]} kueue: {done.stderr.strip()}")
