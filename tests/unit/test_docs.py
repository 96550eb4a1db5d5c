"""What the pages name is there: links, make targets, modules, tests; and the job that the README shows is accepted."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignment_operator.api.constants import ConditionType, Phase, Reason
from alignment_operator.render import main as render

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), ROOT / "charts/alignment-operator/README.md")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`|^    \S[^\n]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MAKE = re.compile(r"\bmake ((?:[a-z][\w-]*[ ]*)+)")
MODULE = re.compile(r"\bpython3? -m ([\w.]+)")
TEST_FILE = re.compile(r"\btests/[\w/.-]+\b\.(?:py|yaml|json)\b|\btests/[\w/]+")
IMPORT_ROOTS = (ROOT, ROOT / "operator", ROOT / "trainer")


def code(page: Path) -> str:
    """The page's code: fenced, indented, and in backticks; fences first."""
    return "\n".join(CODE.findall(page.read_text()))


def found(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """(page, what the pattern finds in its code), each once."""
    for page in PAGES:
        for match in sorted(set(pattern.findall(code(page)))):
            yield str(page.relative_to(ROOT)), match


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in sorted(set(LINK.findall(page.read_text()))):
            if not target.startswith(("http:", "https:")):
                yield page, target


@pytest.mark.parametrize(("page", "target"), [*links()], ids=lambda value: str(value)[-50:])
def test_every_link_leads_somewhere(page: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    there = (page.parent / name).resolve() if name else page
    assert there.exists()
    assert not anchor or anchor in anchors(there)


@pytest.mark.parametrize(("page", "words"), [*found(MAKE)])
def test_every_make_target_exists(page: str, words: str) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert words.split()[0] in targets


@pytest.mark.parametrize(("page", "module"), [*found(MODULE)])
def test_every_module_that_is_run_exists(page: str, module: str) -> None:
    path = module.replace(".", "/")
    ours = ((root / f"{path}.py").exists() or (root / path / "__main__.py").exists() for root in IMPORT_ROOTS)
    assert module in sys.stdlib_module_names or any(ours)


@pytest.mark.parametrize(("page", "path"), [*found(TEST_FILE)])
def test_every_test_file_exists(page: str, path: str) -> None:
    assert any(ROOT.glob(path)) or any(ROOT.glob(f"{path}*"))


def test_the_readmes_job_is_accepted(tmp_path: Path) -> None:
    """Those in examples/ are applied to a real API server (tests/e2e/test_examples.py)."""
    job = re.search(r"^```yaml\n(apiVersion.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert job
    manifest = tmp_path / "job.yaml"
    manifest.write_text(job[1])
    assert render(["-f", str(manifest)]) == 0


@pytest.mark.parametrize("word", sorted({*Phase, *ConditionType, *Reason}))
def test_every_word_of_a_status_is_explained(word: str) -> None:
    assert f"`{word}`" in (ROOT / "docs/status.md").read_text()


def test_every_page_is_in_the_list_of_pages() -> None:
    listed = (ROOT / "docs/README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert [name for name in sorted(pages) if f"]({name})" not in listed] == []
