"""A deferred package is executed by its first use, and looks like any other afterwards."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alignment_trainer import imports

PACKAGE = "deferred_package_of_a_test"
INIT = "import deferred_package_of_a_test.part\nVALUE = 1\n__version__ = '2'\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with one submodule on the path; forgotten after the test."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text(INIT)
    (folder / "part.py").write_text("NAME = 'part'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in (PACKAGE, f"{PACKAGE}.part"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield folder
    for name in (PACKAGE, f"{PACKAGE}.part"):
        sys.modules.pop(name, None)


def is_executed() -> bool:
    return f"{PACKAGE}.part" in sys.modules


def test_importing_a_deferred_package_does_not_execute_it(package: Path) -> None:
    imports.defer(PACKAGE)
    importlib.import_module(PACKAGE)
    assert importlib.util.find_spec(PACKAGE) is not None
    assert not is_executed()


USES = {
    "an attribute": lambda: importlib.import_module(PACKAGE).VALUE == 1,
    "its version": lambda: importlib.import_module(PACKAGE).__version__ == "2",
    "a submodule": lambda: importlib.import_module(f"{PACKAGE}.part").NAME == "part",
    "whether it has a name": lambda: not hasattr(importlib.import_module(PACKAGE), "missing"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_its_first_use_executes_it(package: Path, use: Callable[[], bool]) -> None:
    imports.defer(PACKAGE)
    assert use()
    assert is_executed()
    assert sys.modules[PACKAGE].VALUE == 1
    assert sys.modules[PACKAGE].part is sys.modules[f"{PACKAGE}.part"]


def test_a_package_that_cannot_be_executed_says_so_each_time(package: Path) -> None:
    (package / "__init__.py").write_text("raise ImportError('no kernel for this machine')\n")
    imports.defer(PACKAGE)
    module = importlib.import_module(PACKAGE)
    with pytest.raises(ImportError, match="no kernel"):
        _ = module.VALUE
    with pytest.raises(ImportError, match="no kernel"):
        importlib.import_module(PACKAGE)


def test_what_is_imported_already_stays(package: Path) -> None:
    before = importlib.import_module(PACKAGE)
    imports.defer(PACKAGE)
    assert importlib.import_module(PACKAGE) is before


def test_a_missing_package_stays_missing() -> None:
    imports.defer("no_package_of_this_name")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_package_of_this_name")


def test_what_is_done_without_looks_as_if_it_were_not_installed(package: Path) -> None:
    imports.do_without(PACKAGE)
    assert importlib.util.find_spec(PACKAGE) is None
    with pytest.raises(ImportError):
        importlib.import_module(PACKAGE)
    with pytest.raises(ImportError):
        importlib.import_module(f"{PACKAGE}.part")


def test_what_is_imported_already_is_left_alone(package: Path) -> None:
    module = importlib.import_module(PACKAGE)
    imports.do_without(PACKAGE)
    assert importlib.import_module(PACKAGE) is module
