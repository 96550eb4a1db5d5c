"""Which commit a model's code is read from. That nothing else runs is tests/contract/test_remote_code.py."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants
import pytest

from alignment_trainer.exits import UserError
from alignment_trainer.remote_code import by_repository, commit_of, guarded

ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40
LISTED = by_repository([f"org/single@{ONE}", f"org/double@{ONE}", f"org/double@{TWO}"])


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests of this folder run offline."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


def test_several_commits_of_a_repository_may_be_listed() -> None:
    assert dict(LISTED) == {"org/single": {ONE}, "org/double": {ONE, TWO}}


@pytest.mark.parametrize(
    ("repository", "revision", "commit"),
    [
        ("org/single", ONE, ONE),
        ("org/single", None, ONE),
        ("org/single", "main", ONE),
        ("org/single", THREE, ONE),
        ("org/double", ONE, ONE),
        ("org/double", TWO, TWO),
    ],
)
def test_code_is_read_at_a_listed_commit(repository: str, revision: str | None, commit: str) -> None:
    assert commit_of(repository, revision, None, LISTED) == commit


@pytest.mark.parametrize(
    ("repository", "revision", "repo_type", "why"),
    [
        ("org/other", ONE, None, "not on the operator's list"),
        ("org/Single", ONE, None, "not on the operator's list"),
        ("org/double", "main", None, "which has several"),
        ("org/double", THREE, None, "which has several"),
        ("org/single", ONE, "space", "not on the operator's list"),
        ("/", None, None, "it is a folder"),
    ],
)
def test_all_else_is_refused(repository: str, revision: str | None, repo_type: str | None, why: str) -> None:
    with pytest.raises(UserError, match=why) as refused:
        commit_of(repository, revision, repo_type, LISTED)
    assert "spec.model.trustRemoteCode" in refused.value.message


def test_a_folder_with_the_name_of_a_listed_repository_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org/single").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="it is a folder"):
        commit_of("org/single", ONE, None, LISTED)


def test_offline_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="offline"):
        commit_of("org/single", ONE, None, LISTED)


def test_a_hub_that_answers_with_another_commit_is_not_believed() -> None:
    def load(
        pretrained_model_name_or_path: str,
        module_file: str,
        cache_dir: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        repo_type: str | None = None,
    ) -> str:
        """As transformers does: the folder is named after the commit that the hub said."""
        return f"transformers_modules/{pretrained_model_name_or_path}/{answered}/{module_file}"

    checked = guarded(load, LISTED, "/tmp/cache")
    answered = ONE
    assert ONE in checked("org/single", "code.py", revision="main")
    answered = THREE
    with pytest.raises(UserError, match="another commit"):
        checked("org/single", "code.py", revision=ONE)
