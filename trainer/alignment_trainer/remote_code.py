"""Python code that ships with models: from the commits that the operator allows, and from nowhere else.

`trust_remote_code` alone runs what a config.json's `auto_map` names: a module beside it, or of any other repository, at
its branch `main`. All such code passes one function of transformers (tests/contract/test_remote_code.py counts its
callers), which is guarded here: the code's own repository must be listed, it is read at the listed commit whatever
revision was asked for, and it is fetched from the hub, because a cache volume holds what its other writers left there.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .exits import UserError

FIELD = "spec.model.trustRemoteCode"
_FUNCTION = "get_cached_module_file"
_IMPORTED_BY = "transformers.generation.utils"  # by name, so it keeps the function that it found

Commits = Mapping[str, frozenset[str]]


def restrict(allowed: Iterable[str] | None) -> None:
    """Run code of these REPOSITORY@COMMIT only, in this process and for good; None: leave transformers as it is."""
    if allowed is None:
        return
    from transformers import dynamic_module_utils

    # Of this process alone: its folder is on sys.path, and is not overwritten where a file is there already
    private = tempfile.mkdtemp(prefix="remote-code-")
    dynamic_module_utils.HF_MODULES_CACHE = os.path.join(private, "modules")
    guard = guarded(dynamic_module_utils.get_cached_module_file, by_repository(allowed), os.path.join(private, "hub"))
    for module in (dynamic_module_utils, sys.modules.get(_IMPORTED_BY)):
        if module is not None and hasattr(module, _FUNCTION):
            setattr(module, _FUNCTION, guard)


def by_repository(allowed: Iterable[str]) -> Commits:
    """REPOSITORY@COMMIT, any number of them, as repository -> commits."""
    found: dict[str, set[str]] = {}
    for entry in allowed:
        repository, _, commit = entry.rpartition("@")
        found.setdefault(repository, set()).add(commit)
    return {repository: frozenset(commits) for repository, commits in found.items()}


def guarded(load: Callable[..., str], commits: Commits, cache: str) -> Callable[..., str]:
    """`load` (transformers' get_cached_module_file) for listed code, with a cache of its own. Raises UserError."""
    signature = inspect.signature(load)

    @functools.wraps(load)
    def checked(*args: Any, **kwargs: Any) -> str:
        call = signature.bind(*args, **kwargs).arguments
        more = call.pop("deprecated_kwargs", {})
        repository = str(call["pretrained_model_name_or_path"])
        commit = commit_of(repository, call.get("revision"), call.get("repo_type"), commits)
        path = load(**{**call, **more, "revision": commit, "cache_dir": cache, "local_files_only": False})
        if commit not in Path(path).parts:
            raise _refused(repository, f"the hub answered with another commit than {commit}")
        return path

    return checked


def commit_of(repository: str, revision: Any, repo_type: str | None, commits: Commits) -> str:
    """The listed commit to read code of `repository` from. Raises UserError: none, or several to choose from."""
    from huggingface_hub import is_offline_mode

    if os.path.isdir(repository):
        raise _refused(repository, "it is a folder, whose content anybody may have written")
    listed = commits.get(repository, frozenset()) if repo_type in (None, "model") else frozenset()
    if not listed:
        raise _refused(repository, "it is not on the operator's list")
    if is_offline_mode():
        raise _refused(repository, "this pod is offline, and a cache volume cannot prove what a commit holds")
    if str(revision) in listed:
        return str(revision)
    if len(listed) > 1:
        raise _refused(repository, f"revision {revision or 'main'} is not on the operator's list, which has several")
    return next(iter(listed))


def _refused(repository: str, why: str) -> UserError:
    return UserError(
        f"{FIELD}: code of {repository} is not run: {why}.",
        cure="Use a model whose code is in settings.allowed.remote_code of the operator (REPOSITORY@COMMIT), also the "
        "code that its auto_map takes from other repositories; or have those commits added.",
    )
