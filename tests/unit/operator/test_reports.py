"""The endpoint's models accept and refuse what the contract's schema does, and write what status can hold."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from alignment_operator.api.status import Status
from alignment_operator.reports import STATUS_METRICS, Report

CONTRACT = Path(__file__).resolve().parents[3] / "docs/contract"
SCHEMA = json.loads((CONTRACT / "progress.schema.json").read_text())
EXAMPLE = json.loads((CONTRACT / "progress.example.json").read_text())
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def metrics(count: int) -> list[dict[str, str]]:
    return [{"name": f"m{n}", "value": "1"} for n in range(count)]


BODIES: list[Any] = [
    EXAMPLE,
    {"trainerStatus": {}},
    {"trainerStatus": {"progressPercentage": None, "metrics": None}},
    {"trainerStatus": {"progressPercentage": 100, "somethingNew": 1}},
    {"trainerStatus": {"progressPercentage": 101}},
    {"trainerStatus": {"progressPercentage": -1}},
    {"trainerStatus": {"progressPercentage": "35"}},
    {"trainerStatus": {"progressPercentage": 1.5}},
    {"trainerStatus": {"metrics": metrics(256)}},
    {"trainerStatus": {"metrics": metrics(257)}},
    {"trainerStatus": {"metrics": [{"name": "a"}]}},
    {"trainerStatus": {"metrics": [{"name": "a", "value": 1}]}},
    {"trainerStatus": {"metrics": [{"name": "a" * 129, "value": "1"}]}},
    {"trainerStatus": {"metrics": [{"name": "a", "value": "1" * 65}]}},
    {"alignment": {}},
    {},
    [],
    {"trainerStatus": {}, "alignment": {"phase": "Training", "step": 0, "epoch": 1}},
    {"trainerStatus": {}, "alignment": {"phase": "Dreaming"}},
    {"trainerStatus": {}, "alignment": {"attempt": 0}},
    {"trainerStatus": {}, "alignment": {"step": -1}},
    {"trainerStatus": {}, "alignment": {"step": True}},
    {"trainerStatus": {}, "alignment": {"unknown": 1}},
    {"trainerStatus": {}, "alignment": {"findings": ["x"] * 8}},
    {"trainerStatus": {}, "alignment": {"findings": ["x"] * 9}},
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_schema_and_models_agree(body):
    try:
        Report.model_validate_json(json.dumps(body))
        accepted = True
    except ValidationError:
        accepted = False
    assert accepted == jsonschema.Draft202012Validator(SCHEMA).is_valid(body)


def test_the_whole_report_reaches_status_in_the_schemas_words():
    report = Report.model_validate_json(json.dumps(EXAMPLE))
    progress = report.progress(2, NOW)
    written = Status.model_validate({"progress": progress, "metrics": report.metrics()}).model_dump(
        mode="json", by_alias=True, exclude_unset=True
    )
    assert written["progress"] == progress, "the API server would drop what its schema does not have"
    assert progress["run"] == 2
    assert EXAMPLE["alignment"].keys() == SCHEMA["properties"]["alignment"]["properties"].keys() <= progress.keys()
    assert progress["percentage"] == 35
    assert progress["lastReportTime"] == "2026-11-22T12:00:00Z"


@pytest.mark.parametrize("findings", [[], ["ZeroMargins: no reward margin."], ["x" * 256] * 8])
def test_findings_and_memory_reach_status_and_findings_leave_it_again(findings):
    told = {"peakMemoryBytes": 1 << 33, "findings": findings}
    progress = Report.model_validate_json(json.dumps({"trainerStatus": {}, "alignment": told})).progress(1, NOW)
    written = Status.model_validate({"progress": progress}).progress
    assert written.peak_memory_bytes == 1 << 33
    assert (written.findings or []) == findings
    assert ("findings" in progress) == bool(findings), "what is not applied again is removed"


def test_metrics_fit_the_list_of_status():
    twice = {"trainerStatus": {"metrics": [*metrics(200), {"name": "m0", "value": "last"}]}}
    written = Report.model_validate_json(json.dumps(twice)).metrics()
    assert len(written) == STATUS_METRICS
    assert written[0] == {"name": "m0", "value": "last"}
    assert Report.model_validate_json('{"trainerStatus": {}}').metrics() is None
