"""The tag of an image follows its inputs, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dev.images import inputs
from dev.images.inputs import Inputs

CODE = {"operator": "operator/alignment_operator/status.py", "trainer": "trainer/alignment_trainer/train.py"}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*inputs.STAGED, *CODE.values(), "docs/status.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"first content of {name}")
    monkeypatch.setattr(inputs, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "operator", "trainer"),
    [
        pytest.param("Dockerfile", True, True, id="dockerfile"),
        pytest.param("uv.lock", True, True, id="lock"),
        pytest.param(CODE["operator"], True, False, id="operator-code"),
        pytest.param(CODE["trainer"], False, True, id="trainer-code"),
        pytest.param("trainer/alignment_trainer/new.py", False, True, id="new-file"),
        pytest.param("pyproject.toml", False, False, id="lint-settings"),
        pytest.param("docs/status.md", False, False, id="docs"),
        pytest.param("trainer/alignment_trainer/__pycache__/train.pyc", False, False, id="bytecode"),
        pytest.param("trainer/alignment_trainer/.train.py.swp", False, False, id="hidden-file"),
    ],
)
def test_a_change_makes_new_tags_of_the_images_that_it_is_in(
    clone: Path, changed: str, operator: bool, trainer: bool
) -> None:
    before = {target: Inputs(target, "base").tag for target in inputs.TARGETS}
    (clone / changed).parent.mkdir(parents=True, exist_ok=True)
    (clone / changed).write_text("other content")
    after = {target: Inputs(target, "base").tag for target in inputs.TARGETS}
    assert {target: after[target] != before[target] for target in inputs.TARGETS} == {
        "operator": operator,
        "trainer": trainer,
    }


def test_another_base_image_makes_another_tag(clone: Path) -> None:
    assert Inputs("trainer", "base").tag != Inputs("trainer", "other").tag


def test_a_renamed_file_makes_another_tag(clone: Path) -> None:
    before = Inputs("trainer", "base").tag
    (clone / CODE["trainer"]).rename(clone / "trainer/alignment_trainer/renamed.py")
    assert Inputs("trainer", "base").tag != before


def test_what_is_staged_has_the_same_times_and_modes_in_every_clone(
    clone: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (clone / CODE["trainer"]).chmod(0o600)
    stage = tmp_path_factory.mktemp("stage")
    Inputs("trainer", "base").stage(stage)
    staged = {str(path.relative_to(stage)): path.stat() for path in stage.rglob("*")}
    assert CODE["trainer"] in staged
    assert CODE["operator"] not in staged
    assert {stat.st_mtime for stat in staged.values()} == {inputs.FIXED_TIME}
    assert oct(staged[CODE["trainer"]].st_mode & 0o777) == "0o644"
    assert os.path.isdir(stage / inputs.SOURCES["operator"])
