"""What goes into an image, and the tag that follows from it: equal content gives an equal tag, on any clone."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("operator", "trainer")
SOURCES = {"operator": "operator/alignment_operator", "trainer": "trainer/alignment_trainer"}
LOCKED = ("Dockerfile", "uv.lock")
# `uv export` reads pyproject.toml too, but uv.lock repeats what it decides: a change of lint settings builds nothing.
STAGED = (*LOCKED, "pyproject.toml")
# Builders that know a COPY by its files' times as well (buildah) shall see the same times in every clone.
FIXED_TIME = 1_700_000_000


@dataclass(frozen=True)
class Inputs:
    """The files of one target, relative to the root, and the key of the base image."""

    target: str
    base: str

    @property
    def tag(self) -> str:
        """12 hexadecimal digits over the base image, the lock, the Dockerfile and the target's code."""
        digest = hashlib.sha256(self.base.encode())
        for path in [*LOCKED, *source_files(self.target)]:
            digest.update(f"\0{path}\0".encode() + (ROOT / path).read_bytes())
        return digest.hexdigest()[:12]

    def stage(self, folder: Path) -> None:
        """Copies the target's files into `folder`, with times that do not depend on the clone."""
        for path in [*STAGED, *source_files(self.target)]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)
            (folder / path).chmod(0o644)
        for other in TARGETS:  # every COPY of the Dockerfile finds its folder
            (folder / SOURCES[other]).mkdir(parents=True, exist_ok=True)
        for entry in [folder, *folder.rglob("*")]:
            os.utime(entry, (FIXED_TIME, FIXED_TIME))


def source_files(target: str) -> list[str]:
    """The target's files in a fixed order, without compiled and hidden ones."""
    found = (ROOT / SOURCES[target]).rglob("*")
    names = (path.relative_to(ROOT) for path in found if path.is_file())
    return sorted(str(name) for name in names if not any(part.startswith((".", "__pycache__")) for part in name.parts))
