"""Folders of pinned Go modules that hold more than Go: charts, CRDs."""

import json
import os
import subprocess
from pathlib import Path

from .layout import Layout
from .report import ClusterError


def download(layout: Layout, pin: str, module: str) -> tuple[Path, str]:
    """Folder and version of a module that `dev/go/PIN/go.mod` requires.

    Raises:
        ClusterError: it cannot be had, or is not what go.sum says.
    """
    command = ["go", "mod", "download", "-json", module]
    environment = os.environ | {"GOWORK": "off"}
    done = subprocess.run(command, cwd=layout.root / "dev/go" / pin, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    found = json.loads(done.stdout)
    return Path(found["Dir"]), found["Version"]
