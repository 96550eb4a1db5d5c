"""A stand-in for `python:3.11-slim` where no image registry can be reached: Debian 12 with its own Python 3.11."""

import hashlib
import os
from pathlib import Path

from dev.cluster import layout
from dev.cluster.report import step

from . import buildah

SUITE = "bookworm"
# The headers and the certificates are in python:3.11-slim too; Triton compiles against the first.
PACKAGES = ("python3", "python3-venv", "libpython3.11-dev", "ca-certificates")
COMMAND = ("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE)
KEY = hashlib.sha256("\0".join(COMMAND).encode()).hexdigest()[:12]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IMAGE = f"localhost/alignment-base:{KEY}"


def ensure() -> str:
    """Makes the base image unless this machine has it; returns its name."""
    if not buildah.exists(IMAGE):
        archive = _archive()
        with step(f"base image {IMAGE} from {archive.name}"):
            _import(archive)
    return IMAGE


def _archive() -> Path:
    """The root file system as a tar file in the cache; a part-written one never has the final name."""
    archive = layout.cache() / f"base-{KEY}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        partial = archive.with_name(f"partial-{os.getpid()}-{archive.name}")
        with step(f"Debian {SUITE} with Python 3.11 from packages (mmdebstrap)"):
            buildah.run(*COMMAND, str(partial))
            partial.rename(archive)
    return archive


def _import(archive: Path) -> None:
    container = buildah.run("buildah", "from", "scratch").strip()
    try:
        buildah.run("buildah", "add", container, str(archive), "/")
        buildah.run("buildah", "config", "--env", f"PATH={PATH}", container)
        buildah.run("buildah", "commit", container, IMAGE)
    finally:
        buildah.run("buildah", "rm", container)
