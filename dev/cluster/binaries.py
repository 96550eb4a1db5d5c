"""Puts programs into `.cluster/bin`: one from PATH that fits, else from the user's cache, else built."""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from .layout import Layout, cache
from .report import ClusterError, step
from .tools import Tool

_BUILD = ("-trimpath", "-buildvcs=false", "-mod=readonly")


def provide(layout: Layout, tools: tuple[Tool, ...]) -> None:
    """Makes `.cluster/bin/NAME` a link to each tool.

    Raises:
        ClusterError: Go is missing or too old, or a build failed; the message ends with the compiler's.
    """
    layout.bin.mkdir(parents=True, exist_ok=True)
    for tool in tools:
        _link(layout.bin / tool.name, _on_path(tool) or _built(layout, tool))


def _built(layout: Layout, tool: Tool) -> Path:
    source = layout.root / "dev" / "go" / tool.module
    target = cache() / "bin" / _key(source, tool) / tool.name
    if not target.exists():
        with step(f"build {tool.name} from Go modules"):
            _compile(source, tool, target)
    return target


def _key(source: Path, tool: Tool) -> str:
    """Changes with whatever changes the program: sources, pinned modules, flags, machine."""
    digest = hashlib.sha256(json.dumps([tool.package, tool.link, _BUILD, platform.machine()]).encode())
    for path in sorted(source.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _compile(source: Path, tool: Tool, target: Path) -> None:
    go = shutil.which("go") or _fail("Go is needed to build the cluster: install Go 1.26 or newer and put `go` on PATH")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{tool.name}.{os.getpid()}")
    command = [go, "build", *_BUILD, "-ldflags", f"-s -w {tool.link}".strip(), "-o", str(unfinished), tool.package]
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    done = subprocess.run(["nice", *command], cwd=source, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"building {tool.name} failed; {_by_hand(source, command)}\n{done.stderr[-3000:]}")
    unfinished.rename(target)  # at once: another clone may be building the same


def _by_hand(source: Path, command: list[str]) -> str:
    return f"in {source}: CGO_ENABLED=0 {' '.join(command[:3])} ... {command[-1]}"


def _fail(message: str) -> str:
    raise ClusterError(message)


def _on_path(tool: Tool) -> Path | None:
    """The program on PATH when the version that it prints fits."""
    found = shutil.which(tool.name)
    if found is None or not tool.fits:
        return None
    try:
        done = subprocess.run([found, *tool.version], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"v?(\d+\.\d+\.\d+)(\S*)", done.stdout + done.stderr)
    # A tail such as `-dispatcher` or `-beta.1` says that this is not the release that the number names.
    fitting = version and not version[2].startswith("-") and _matches(version[1], tool.fits)
    return Path(found) if fitting else None


def _matches(version: str, prefixes: tuple[str, ...]) -> bool:
    return any((version + ".").startswith(prefix.rstrip(".") + ".") for prefix in prefixes)


def _link(link: Path, target: Path) -> None:
    """Replaces the link at once: a program may be looking for it."""
    if link.is_symlink() and os.readlink(link) == str(target):
        return
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)
