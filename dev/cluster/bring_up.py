"""From whatever is there to a ready cluster by the same steps every time; what is done already is not done again."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import (
    addons,
    api,
    binaries,
    control_plane,
    gpus,
    images,
    network,
    node,
    packages,
    pki,
    processes,
    teardown,
    tools,
)
from .layout import CONTAINERD_SOCKET, LONGEST_ROOT, MACHINE, OWNER, REGISTRY_ADDRESS, Layout
from .processes import Daemon, answers
from .report import ClusterError, say, step, wait_for

_LOCK = Path("/run/alignment-cluster.lock")


def up(layout: Layout) -> None:
    """Brings the cluster up, or back up.

    Raises:
        ClusterError: with the cure, or the end of the log of what died.
    """
    begun = time.monotonic()
    _check(layout)
    with alone():
        packages.install()
        binaries.provide(layout, tools.CORE)
        _take_over(layout)
        try:
            _start(layout)
        except DataLostError as lost:
            teardown.stop_everything()
            aside = teardown.set_aside(layout)
            teardown.erase(layout)
            say(f"  etcd's data did not survive ({lost}): starting empty; data and volumes are kept in {aside}")
            _take_over(layout)
            _start(layout)
    say(f"cluster is ready after {time.monotonic() - begun:.1f} s: export KUBECONFIG={layout.kubeconfig}")


def _check(layout: Layout) -> None:
    if os.geteuid() != 0:
        raise ClusterError("the cluster runs containers and changes routes: run this as root")
    if len(str(layout.root)) > LONGEST_ROOT:
        raise ClusterError(
            f"the clone's path has {len(str(layout.root))} characters, kubelet's sockets bear {LONGEST_ROOT}: "
            "clone to a shorter path"
        )


def down(layout: Layout, keep: bool) -> None:
    """Removes the cluster from the machine; without `keep` its objects and volumes too."""
    with alone():
        if OWNER.exists() and teardown.owner() != layout:
            say(f"the running cluster belongs to {teardown.owner().root}: stopping it, its state stays")
        teardown.stop_everything()
        if not keep:
            with step("delete the cluster's objects and volumes"):
                teardown.erase(layout)


class DataLostError(ClusterError):
    """etcd cannot start from the files that it finds."""


@contextmanager
def alone() -> Iterator[None]:
    """One start or stop at a time on this machine."""
    with open(_LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another start or stop of the cluster is under way: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _take_over(layout: Layout) -> None:
    """The addresses belong to one clone at a time; a cluster of another one is stopped, its state kept."""
    if OWNER.exists() and teardown.owner() != layout:
        say(f"a cluster of another clone holds the addresses: {teardown.owner().root}; stopping it (its state stays)")
        teardown.stop_everything()
    MACHINE.mkdir(parents=True, exist_ok=True)
    OWNER.write_text(str(layout.root))


def _start(layout: Layout) -> None:
    fresh = not layout.etcd.exists()
    pki.ensure(layout)
    network.ensure()
    _run(layout, node.registry(layout))
    _run(layout, node.containerd(layout))
    _start_etcd(layout)
    _run(layout, control_plane.api_server(layout))
    _wait(layout, "registry", lambda: answers(f"http://{REGISTRY_ADDRESS}/v2/"), 20)
    images.ensure(layout)
    with step("wait for the API server"):
        _wait(layout, "kube-apiserver", lambda: api.is_ready(layout), 90)
    api.apply(layout, addons.objects())
    _await_containerd(layout)
    if fresh:
        _forget_containers(layout)
    for daemon in _needs_api_server(layout):
        _run(layout, daemon)
    with step("wait for the node to be ready"):
        _wait(layout, "kubelet", lambda: api.node_is_ready(layout, processes.started_at("kubelet")), 60)
    _run(layout, node.kube_proxy(layout))  # it asks once for the node's address, so the node must be registered
    with step("wait for services and names"):
        _wait(layout, "kube-proxy", lambda: answers(node.PROXY_HEALTH), 30)
        _wait(layout, "coredns", lambda: answers(node.DNS_HEALTH), 30)
    gpus.restore(layout)


def _needs_api_server(layout: Layout) -> list[Daemon]:
    return [
        control_plane.controller_manager(layout),
        control_plane.scheduler(layout),
        node.kubelet(layout),
        node.coredns(layout),
        node.storage_provisioner(layout),
    ]


def _start_etcd(layout: Layout) -> None:
    had_data = (layout.etcd / "member").exists()
    if _run(layout, control_plane.etcd(layout)) and had_data:
        time.sleep(1)  # a damaged database ends etcd at once
        if not processes.is_running("etcd"):
            raise DataLostError("etcd ended at once, see .cluster/log/etcd.log")


def _run(layout: Layout, daemon: Daemon) -> bool:
    started = processes.start(daemon, layout.log)
    if started:
        say(f"         start {daemon.name}")
    return started


def _wait(layout: Layout, name: str, ready, seconds: float) -> None:
    def ready_or_dead() -> bool:
        processes.check_alive(name, layout.log)
        return ready()

    wait_for(name, ready_or_dead, seconds)


def _containers(*arguments: str) -> subprocess.CompletedProcess[str]:
    ctr = [shutil.which("ctr") or "/usr/bin/ctr", "--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io"]
    return subprocess.run([*ctr, "containers", *arguments], capture_output=True, text=True)


def _await_containerd(layout: Layout) -> None:
    _wait(layout, "containerd", lambda: _containers("list", "-q").returncode == 0, 20)


def _forget_containers(layout: Layout) -> None:
    """Containers of an earlier cluster in the image store that outlived it: no kubelet would know them."""
    old = _containers("list", "-q").stdout.split()
    if old:
        _containers("remove", *old)
        processes.stop("containerd")  # its CRI plugin keeps its own list of them until it starts anew
        _run(layout, node.containerd(layout))
        _await_containerd(layout)
