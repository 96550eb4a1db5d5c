"""The exit codes are those of the contract."""

import json
from pathlib import Path

import pytest

from alignment_trainer import exits

TABLE = json.loads((Path(__file__).parents[3] / "docs/contract/failures.json").read_text())
ERRORS = [value for value in vars(exits).values() if isinstance(value, type) and issubclass(value, exits.TrainerError)]


def test_the_table_is_the_contracts():
    assert {row["exitCode"]: row["class"] for row in TABLE["exitCodes"]} == exits.CLASS_OF


@pytest.mark.parametrize("row", TABLE["exitCodes"], ids=lambda row: row["name"])
def test_every_code_has_its_name(row):
    assert getattr(exits, row["name"]) == row["exitCode"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_carries_a_class_and_code_of_the_contract(error):
    pairs = {(row["exitCode"], row["class"]) for row in TABLE["exitCodes"]}
    pairs |= {(137, row["class"]) for row in TABLE["others"] if "exit 137" in row["when"]}
    assert (error.exit_code, error.class_name) in pairs


def test_a_code_outside_the_table_is_internal():
    assert exits.class_of(3) == "Internal"
