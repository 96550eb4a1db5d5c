"""The node's address on a bridge, routes that keep every packet of the cluster on this machine, and their removal."""

import contextlib
import json
import re
import subprocess
from pathlib import Path

from .layout import CLUSTER_CIDR, MACHINE, NODE_ADDRESS, NODE_LINK, POD_CIDR, SERVICE_CIDR
from .report import step

_MARK = "alignment-cluster"
# Pods have no default route; this holds even for one that may make itself a route.
_FENCE = ["-s", POD_CIDR, "!", "-d", CLUSTER_CIDR, "-m", "comment", "--comment", _MARK, "-j", "REJECT"]
# What kubelet, kube-proxy and the CNI plugins change; put back by `remove`.
_SYSCTLS = (
    *("net/ipv4/ip_forward", "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/netfilter/nf_conntrack_max"),
)


def ensure() -> None:
    """Brings up link, routes and fence; what is there already stays."""
    _save_sysctls()
    if not _link_is_up():
        with step(f"network: node address {NODE_ADDRESS} on the bridge {NODE_LINK}"):
            _ip("link", "add", NODE_LINK, "type", "bridge", check=False)
            _ip("link", "set", NODE_LINK, "up")
            _ip("address", "replace", f"{NODE_ADDRESS}/32", "dev", NODE_LINK)
    # A packet to a service without endpoints, or to a pod that is gone, would else follow the machine's default route.
    _ip("route", "replace", SERVICE_CIDR, "dev", NODE_LINK)
    _ip("route", "replace", "unreachable", POD_CIDR)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    if _run("iptables", "-w", "-C", "FORWARD", *_FENCE).returncode != 0:
        _run("iptables", "-w", "-I", "FORWARD", *_FENCE, check=True)


def remove() -> None:
    """Takes away links, routes, iptables rules and sysctl changes of the cluster, whichever clone made them."""
    for device in _pod_links():
        _ip("link", "delete", device, check=False)
    _ip("route", "delete", "unreachable", POD_CIDR, check=False)
    _ip("route", "delete", SERVICE_CIDR, "dev", NODE_LINK, check=False)
    _ip("link", "delete", NODE_LINK, check=False)
    for family in ("iptables", "ip6tables"):
        _remove_rules(family)
    _restore_sysctls()


def remains() -> list[str]:
    """What of the cluster's network is still on the machine."""
    found = [NODE_LINK] if _run("ip", "link", "show", NODE_LINK).returncode == 0 else []
    found += _pod_links()
    routes = _run("ip", "route", "show").stdout
    found += [cidr for cidr in (POD_CIDR, SERVICE_CIDR) if cidr in routes]
    for family in ("iptables", "ip6tables"):
        found += [line for line in _run(f"{family}-save").stdout.splitlines() if _is_ours(line)]
    return found


def _link_is_up() -> bool:
    shown = _run("ip", "-j", "address", "show", "dev", NODE_LINK)
    if shown.returncode != 0:
        return False
    (link,) = json.loads(shown.stdout)
    return "UP" in link["flags"] and any(address.get("local") == NODE_ADDRESS for address in link["addr_info"])


def _pod_links() -> list[str]:
    """Host ends of pods' links: each holds the route to one pod's address."""
    routes = json.loads(_run("ip", "-j", "route", "show", "root", POD_CIDR).stdout or "[]")
    return sorted({route["dev"] for route in routes if route.get("dev", "").startswith("veth")})


_CHAIN = re.compile(r"\b(KUBE-[A-Z0-9-]+|CNI-[A-Za-z0-9-]+)\b")


def _is_ours(line: str) -> bool:
    return line.startswith(("-A", ":")) and (_CHAIN.search(line) is not None or _MARK in line)


def _remove_rules(family: str) -> None:
    """Deletes our chains and every rule that names one, in one transaction per table."""
    changes: list[str] = []
    chains: list[str] = []
    for line in _run(f"{family}-save").stdout.splitlines():
        if line.startswith("*"):
            changes.append(line)
            chains = []
        elif line == "COMMIT":
            changes += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains] + [line]
        elif line.startswith(":") and _CHAIN.match(line[1:]):
            chains.append(line[1:].split()[0])
        elif _is_ours(line) and not _CHAIN.match(line[3:]):
            changes.append("-D" + line[2:])
    if len(changes) > 2 and any(change.startswith(("-D", "-X")) for change in changes):
        subprocess.run([f"{family}-restore", "--noflush", "-w"], input="\n".join(changes) + "\n", text=True, check=True)


def _save_sysctls() -> None:
    saved = MACHINE / "sysctls.json"
    if not saved.exists():
        MACHINE.mkdir(parents=True, exist_ok=True)
        there = {name: Path("/proc/sys", name) for name in _SYSCTLS if Path("/proc/sys", name).exists()}
        saved.write_text(json.dumps({name: path.read_text().strip() for name, path in there.items()}))


def _restore_sysctls() -> None:
    saved = MACHINE / "sysctls.json"
    if saved.exists():
        for name, value in json.loads(saved.read_text()).items():
            with contextlib.suppress(OSError):
                Path("/proc/sys", name).write_text(value)
        saved.unlink()


def _ip(*arguments: str, check: bool = True) -> None:
    _run("ip", *arguments, check=check)


def _run(*argv: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done
