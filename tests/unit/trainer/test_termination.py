"""The termination message is whole, valid JSON within the kubelet's limit, whatever goes in."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_trainer import exits, termination

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/contract/termination.schema.json").read_text())
TEXT = st.text(max_size=6000)


@settings(max_examples=60, deadline=None)
@given(
    message=TEXT,
    cure=TEXT,
    metrics=st.dictionaries(st.text(min_size=1, max_size=60), st.floats(), max_size=200),
    findings=st.lists(st.text(max_size=1000), max_size=8),
    previous=TEXT,
)
def test_any_message_is_valid_and_fits(message, cure, metrics, findings, previous):
    facts = {
        "metrics": termination.finite_numbers(metrics),
        "findings": findings,
        "previousAttempt": {"attempt": 1, "message": previous},
    }
    data = termination.encode(termination.failed(exits.DataError(message, cure), 3, **facts))
    assert len(data) <= termination.LIMIT_BYTES
    jsonschema.validate(json.loads(data), SCHEMA)
    assert json.loads(data)["exitCode"] == 65


def test_the_first_metrics_survive_the_cut():
    metrics = {"loss": 0.5, **{f"metric-{n}": 1.0 for n in range(400)}}
    kept = json.loads(termination.encode(termination.failed(exits.Internal("x"), 1, metrics=metrics)))["metrics"]
    assert kept["loss"] == 0.5
    assert len(kept) > 50


@pytest.mark.parametrize("content", [b"", b'{"outcome": "Comp', b"[]", b"{}", None])
def test_half_a_result_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "result.json").write_bytes(content)
    assert termination.read_result(tmp_path) is None


def test_outside_a_pod_nothing_is_written_to_dev(monkeypatch, capsys):
    monkeypatch.delenv("ALIGNMENT_TERMINATION_LOG", raising=False)
    termination.write(termination.failed(exits.Internal("x"), 1))
    assert not Path("/dev/termination-log").exists()
    assert '"exitCode": 70' in capsys.readouterr().err
