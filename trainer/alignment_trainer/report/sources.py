"""What a run was made from: which weights, which rows."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model_identity import file_hashes, model_identity

if TYPE_CHECKING:
    from ..config import Config

logger = logging.getLogger(__name__)

HASH_LIMIT_BYTES = 1 << 30  # a larger local dataset is told by its fingerprint and its files' sizes alone
_DATA_FILES = (".json", ".jsonl", ".parquet", ".csv", ".arrow")
_COMMIT = re.compile(r"@([0-9a-f]{40})/")


def model(
    name: str, revision: str | None, commit: str | None = None, config_file: str = "config.json"
) -> dict[str, Any]:
    """`name` as the recipe has it, with the commit of a repository or the SHA-256 of a folder's files.

    commit: of the weights that were loaded, where the loader tells; a branch may have moved since.
    """
    described: dict[str, Any] = {"name": name}
    if not os.path.isdir(os.path.expanduser(name)):
        described |= {"revision": revision, "commit": commit}
        if commit:
            return described
    try:
        return described | model_identity(name, revision, config_file)
    except Exception as error:  # the hub may be out of reach by now: a finished run does not fail for that
        logger.warning("Which content %s had is not known: %s", name, error)
        return described


def models(config: Config, commit: str | None = None) -> dict[str, Any]:
    """The policy's base, the adapter that it starts from, and the reference's own model, as far as there are such."""
    args, own = config.model_args, config.run.referenceModel.model
    found = {"model": model(str(args.model_name_or_path), args.model_revision, commit)}
    if config.run.adapterNameOrPath:
        found["adapter"] = model(config.run.adapterNameOrPath, None, config_file="adapter_config.json")
    if config.method.has_reference:
        found["referenceModel"] = {"strategy": config.run.referenceModel.strategy}
        if name := own.get("model_name_or_path"):
            found["referenceModel"] |= model(name, own.get("model_revision", "main"))
    return found


def dataset(config: Config, train: Any) -> dict[str, Any]:
    """The train split (`train`: as it was read): where it is from, its commit (hub) or its files' digests (local)."""
    script, mixture = config.script_args, config.mixture_args
    if mixture.datasets:
        described: dict[str, Any] = {"mixture": [_part(part) for part in mixture.datasets]}
    else:
        name = str(script.dataset_name)
        described = {"name": name, "split": script.dataset_train_split, **_files(name)}
        if script.dataset_config:
            described["config"] = script.dataset_config
    if fingerprint := getattr(train, "_fingerprint", None):
        described["fingerprint"] = fingerprint
    if commits := hub_commits(train):
        described["commits"] = commits
    return described


def hub_commits(train: Any) -> list[str]:
    """Commits of the hub repositories that the rows came from, as `datasets` notes them beside what it downloads."""
    checksums = getattr(getattr(train, "info", None), "download_checksums", None) or {}
    return sorted({found.group(1) for url in checksums if (found := _COMMIT.search(url))})


def _part(part: Any) -> dict[str, Any]:
    """One dataset of a mixture, in TRL's words."""
    named = {"name": part.path, "config": part.name, "split": part.split}
    return {key: value for key, value in named.items() if value is not None} | _files(part.path)


def _files(name: str) -> dict[str, Any]:
    """Sizes and digests of a local dataset's files, by their path below it."""
    root = Path(name).expanduser()
    if not root.exists():
        return {}
    paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.suffix in _DATA_FILES)
    sizes = {_name(path, root): path.stat().st_size for path in paths}
    if sum(sizes.values()) > HASH_LIMIT_BYTES:
        return {"sizes": sizes}
    return {"files": {_name(path, root): next(iter(file_hashes([path]).values())) for path in paths}}


def _name(path: Path, root: Path) -> str:
    return path.name if path == root else str(path.relative_to(root))
