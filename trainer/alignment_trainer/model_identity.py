"""Which weights exactly: what names a model's content, so that results computed from it can be found again.

A hub repository is named by the commit that its revision stands for now; a folder by the SHA-256 of each file that
loading reads. Files are hashed once: the digest is remembered on the cache volume with what changes when the file does.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import durable

_WEIGHTS = (".safetensors", ".bin")
_NOT_WEIGHTS = frozenset({"training_args.bin"})
SETTLED_NS = 2_000_000_000  # a file changed later than so before the look may change again within one clock tick


def cache_folder(name: str) -> Path:
    """A folder of ours on the volume that jobs share, beside the hub's own cache (HF_HOME)."""
    return Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser() / name


def model_identity(name_or_path: str, revision: str | None = None, config_file: str = "config.json") -> dict[str, Any]:
    """What names the content of a model or (config_file: adapter_config.json) an adapter, as plain JSON.

    A folder: `files`, name -> SHA-256. Else `repository` and `commit`; asks the hub as loading does, and raises what
    huggingface_hub raises.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return {"files": file_hashes(content_files(path))}
    from huggingface_hub import hf_hub_download

    config = Path(hf_hub_download(name_or_path, config_file, revision=revision))
    return {"repository": name_or_path, "commit": config.parent.name}  # .../snapshots/COMMIT/config.json


def content_files(folder: Path) -> list[Path]:
    """What `from_pretrained` may read: configuration, code, and the weights, of safetensors and .bin the former."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name not in _NOT_WEIGHTS]
    named = [file for file in files if file.name in ("config.json", "adapter_config.json")]
    named += [file for file in files if file.name.endswith((".index.json", ".py"))]
    for kind in _WEIGHTS:
        if weights := [file for file in files if file.suffix == kind]:
            return named + weights
    return named


def file_hashes(files: list[Path]) -> dict[str, str]:
    """File name -> SHA-256 in hex. hashlib lets go of the GIL: shards are hashed side by side. Raises OSError."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return dict(zip((file.name for file in files), pool.map(remembered_sha256, files), strict=True))


def remembered_sha256(file: Path) -> str:
    """SHA-256 of the file in hex; not read again while its inode, size and times (ctime cannot be set) are the same."""
    note = cache_folder("file-hashes") / f"{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:32]}.json"
    before = _stamp(file)
    try:
        known = json.loads(note.read_bytes())
        if known["stamp"] == before:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = sha256(file)
    if before == _stamp(file):
        _remember(note, before, digest)
    return digest


def sha256(file: Path) -> str:
    """SHA-256 of the file's content in hex. Raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _remember(note: Path, stamp: list[int], digest: str) -> None:
    if time.time_ns() - max(stamp[2:]) < SETTLED_NS:
        return
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        durable.write_file(note, json.dumps({"stamp": stamp, "sha256": digest}).encode(), shared=True)
    except OSError:
        return  # it is hashed again next time
