"""Runs a command in an image as a restricted pod would: no network, no capabilities, read-only root, writable /tmp."""

import json
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from . import buildah

_TMP = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}


def run(
    image: str, command: list[str], uid: int, folders: Mapping[Path, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a container of the image; its working directory is the image's code.

    Args:
        image: in buildah's store.
        command: found on the image's PATH.
        uid: user and group of the process; no entry in the image's passwd is needed.
        folders: folders of the host and where they appear, writable, in the container.
    """
    container = buildah.run("buildah", "from", "--pull-never", image).split()[-1]
    try:
        root = buildah.run("buildah", "mount", container).strip()
        environment = json.loads(buildah.run("buildah", "inspect", container))["OCIv1"]["config"]["Env"]
        process = {"user": {"uid": uid, "gid": uid}, "args": command, "env": environment, "cwd": "/app"}
        mounts = [_TMP, *(_bind(source, place) for source, place in (folders or {}).items())]
        return _runc({"root": {"path": root, "readonly": True}}, process, mounts)
    finally:
        buildah.run("buildah", "rm", container)


def _bind(source: Path, place: str) -> dict:
    return {"destination": place, "type": "bind", "source": str(source.resolve()), "options": ["rbind", "rw"]}


def _runc(changes: dict, process: dict, mounts: list[dict]) -> subprocess.CompletedProcess[str]:
    """Fills runc's default specification in as Pod Security `restricted` asks for, and runs it."""
    with tempfile.TemporaryDirectory(prefix="alignment-container-") as bundle:
        subprocess.run(["runc", "spec", "--bundle", bundle], check=True)
        path = Path(bundle) / "config.json"
        spec = json.loads(path.read_text()) | changes
        spec["process"] |= process | {"terminal": False, "noNewPrivileges": True, "capabilities": {}}
        spec["mounts"] += mounts
        path.write_text(json.dumps(spec))
        name = f"alignment-{uuid.uuid4().hex[:8]}"
        return subprocess.run(
            ["runc", "run", "--bundle", bundle, name], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
