"""Writing configuration files only when they change: kube-proxy ends itself when its file is touched, others reload."""

import json
from collections.abc import Mapping
from pathlib import Path


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    """Makes the file hold `text`; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.touch(mode=mode)
        path.write_text(text)
    return path


def write_json(path: Path, content: Mapping[str, object], mode: int = 0o644) -> Path:
    """JSON is YAML, which all programs of the cluster read."""
    return write(path, json.dumps(content, indent=1), mode)
