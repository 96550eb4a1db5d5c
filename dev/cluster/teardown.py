"""Takes the cluster off the machine: processes, containers, mounts, cgroups, links, routes, rules.

It works from what the machine shows and from /run, so that the cluster of a clone that was deleted goes too.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from . import network, processes
from .layout import CONTAINERD_SOCKET, MACHINE, OWNER, RECORDS, Layout
from .report import ClusterError, step

_NODE_FIRST = ("kubelet", "local-path-provisioner", "coredns", "kube-proxy")
_POD_GROUP = "kubepods"


def stop_everything() -> None:
    """Leaves the state on disk of whichever clone owns the cluster; everything that runs or is mounted goes."""
    base = owner().base if OWNER.exists() else None
    with step("stop the node's processes"):
        for name in _NODE_FIRST:
            processes.stop(name)
    with step("stop pods"):
        _kill_pods()
        processes.stop("containerd")
    with step("stop the control plane"):
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd", "registry", *_others()):
            processes.stop(name)
    with step("remove mounts, cgroups, links, routes and iptables rules"):
        _unmount(base)
        _remove_groups()
        network.remove()
        _remove_traces(base)
    left = remains(base)
    if left:
        raise ClusterError("still on this machine, remove by hand:\n  " + "\n  ".join(left))
    shutil.rmtree(MACHINE, ignore_errors=True)


def set_aside(layout: Layout) -> Path:
    """Moves what cannot be made again, etcd's data and the volumes, where `erase` does not reach; returns where."""
    aside = layout.base / f"lost-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.mkdir()
    for path in (layout.etcd, layout.volumes):
        if path.exists():
            path.rename(aside / path.name)
    return aside


def erase(layout: Layout) -> None:
    """Deletes the cluster's state; programs and the image store stay, the logs until the next time."""
    if layout.log.exists():
        previous = layout.base / "log.previous"
        shutil.rmtree(previous, ignore_errors=True)
        layout.log.rename(previous)
    for path in (layout.etcd, layout.kubelet, layout.volumes, layout.pki, layout.config, layout.base / "cni"):
        shutil.rmtree(path, ignore_errors=True)
    layout.kubeconfig.unlink(missing_ok=True)


def owner() -> Layout:
    return Layout(Path(OWNER.read_text().strip()))


def remains(base: Path | None) -> list[str]:
    found = [f"process {pid}" for pid in _pod_processes() | _shims()]
    found += [f"mount {path}" for path in _mounts(base)]
    found += [f"cgroup {path}" for path in _groups()]
    return found + network.remains()


def _others() -> list[str]:
    """Whatever else has a record: a version of this program that had other processes."""
    return [path.stem for path in RECORDS.glob("*.json")]


def _kill_pods() -> None:
    """Kills the shims and all that is in a pod's cgroup, until nothing is left to fork."""
    deadline = time.monotonic() + 10
    while pids := _shims() | _pod_processes():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _shims() -> set[int]:
    """containerd's shims outlive it; ours carry our socket in their command line."""
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_shim(path)}


def _is_shim(process: Path) -> bool:
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"containerd-shim" in arguments[0] and str(CONTAINERD_SOCKET).encode() in arguments


def _pod_processes() -> set[int]:
    pids: set[int] = set()
    for group in _groups():
        for directory, _, _ in os.walk(group):  # which, unlike rglob, lets directories vanish under it
            with contextlib.suppress(OSError):
                pids.update(int(pid) for pid in (Path(directory) / "cgroup.procs").read_text().split())
    return pids


def _groups() -> list[Path]:
    """The pods' root in every hierarchy, of cgroup v1, v2, or both."""
    return [
        path / _POD_GROUP for path, kind in _mount_table() if kind.startswith("cgroup") and (path / _POD_GROUP).is_dir()
    ]


def _remove_groups() -> None:
    for group in _groups():
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)


def _mount_table() -> list[tuple[Path, str]]:
    """Mount point and file system type of every mount, oldest first."""
    rows = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [(Path(row[4].encode().decode("unicode_escape")), row[row.index("-") + 1]) for row in rows]


def _mounts(base: Path | None) -> list[Path]:
    places = [place for place in (MACHINE, base) if place is not None]
    return [path for path, _ in _mount_table() if any(path.is_relative_to(place) for place in places)]


def _unmount(base: Path | None) -> None:
    for path in reversed(_mounts(base)):
        subprocess.run(["umount", "-l", str(path)], capture_output=True)


def _remove_traces(base: Path | None) -> None:
    """Files that kubelet and the CNI library leave in places of the machine."""
    for link in Path("/var/log/containers").glob("*.log") if base else ():
        if link.is_symlink() and os.readlink(link).startswith(str(base)):
            link.unlink()
    for result in Path("/var/lib/cni/results").glob("alignment-cluster-*"):
        result.unlink()
