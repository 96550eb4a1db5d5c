"""The operator's table of failures is docs/contract/failures.json, and every class of it is documented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment_operator.failures import CLASSES, EXIT_CODES, WAITING

DOCS = Path(__file__).parents[2] / "docs"
TABLE: dict[str, Any] = json.loads((DOCS / "contract" / "failures.json").read_text())


def test_exit_codes_are_those_of_the_contract() -> None:
    assert {row["exitCode"]: row["class"] for row in TABLE["exitCodes"]} == EXIT_CODES


def test_every_class_is_retried_as_the_contract_says() -> None:
    rows = [*TABLE["exitCodes"], *TABLE["others"]]
    assert {(row["class"], row["retry"]) for row in rows} == {(kind.name, kind.retry) for kind in CLASSES.values()}


def test_waiting_reasons_are_those_of_the_contract() -> None:
    assert tuple(TABLE["waiting"]) == WAITING


@pytest.mark.parametrize("name", [*CLASSES, *WAITING])
def test_every_class_is_in_the_users_page(name: str) -> None:
    assert f"`{name}`" in (DOCS / "failures.md").read_text()
