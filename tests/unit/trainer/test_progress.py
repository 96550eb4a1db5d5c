"""Reports follow the contract, carry the newest state, and never hold up or break the training."""

import http.server
import json
import threading
import time
from pathlib import Path

import jsonschema
import pytest

import alignment_trainer.progress
from alignment_trainer.progress import Progress, body
from tests.self_signed import certificate, server_context

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/contract/progress.schema.json").read_text())
FACTS = {
    "attempt": 2,
    "resumedFromStep": 5,
    "lostSteps": 1,
    "phase": "Training",
    "step": 7,
    "totalSteps": 20,
    "epoch": 0.35,
    "stepSeconds": 6.02,
    "tokensPerSecond": 512.4,
    "remainingSeconds": 78,
    "lastCheckpointStep": 5,
    "peakMemoryBytes": 1 << 31,
    "metrics": {"loss": 0.68123456, "rewards/margins": 0.0241},
    "dataset": {"rows": 3},
}


class Operator(http.server.ThreadingHTTPServer):
    """A server that keeps what it is sent; `delay` seconds before each answer, `status` as the answer."""

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reports, self.tokens, self.delay, self.status = [], [], 0.0, 200
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server_port}/progress"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def wait_for(self, count, seconds=10):
        deadline = time.monotonic() + seconds
        while len(self.reports) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.reports

    def handle_error(self, *_):
        """A client that refuses our certificate is part of the test."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        report, status = json.loads(self.rfile.read(int(self.headers["Content-Length"]))), self.server.status
        self.server.reports.append(report)
        self.server.tokens.append(self.headers.get("Authorization"))
        time.sleep(self.server.delay)
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def operator():
    server = Operator()
    yield server
    server.shutdown()
    server.server_close()


def test_while_the_reference_is_precomputed_the_split_at_hand_is_told():
    batches = {"split": "train", "done": 16, "total": 64, "remainingSeconds": 90}
    report = body(FACTS | {"phase": "Precomputing", "precomputed": batches})
    jsonschema.validate(report, SCHEMA)
    assert report["trainerStatus"]["estimatedRemainingSeconds"] == 90
    assert (report["alignment"]["step"], report["alignment"]["totalSteps"]) == (16, 64)


def test_the_report_is_the_contracts():
    report = body(FACTS)
    jsonschema.validate(report, SCHEMA)
    example = json.loads((Path(__file__).parents[3] / "docs/contract/progress.example.json").read_text())
    assert report["trainerStatus"]["progressPercentage"] == example["trainerStatus"]["progressPercentage"] == 35
    assert report["trainerStatus"]["metrics"][0] == {"name": "loss", "value": "0.681235"}
    assert report["alignment"]["step"] == 7
    assert "dataset" not in report["alignment"]


def test_every_field_of_the_contract_is_sent():
    facts = {**FACTS, "lastCheckpointTime": "2026-11-22T06:29:10Z", "findings": ["ZeroMargins: none."]}
    assert body(facts)["alignment"].keys() == SCHEMA["properties"]["alignment"]["properties"].keys()


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"phase": "Loading", "attempt": 1},
        {"step": 0, "totalSteps": 0},
        {"metrics": {"loss": float("nan"), "x" * 500: 1e300, **{str(n): n for n in range(500)}}},
        {"findings": ["x" * 1000] * 20},
        {"step": 20, "totalSteps": 20, "remainingSeconds": 0},
    ],
)
def test_any_facts_make_a_valid_report(facts):
    jsonschema.validate(body(facts), SCHEMA)


def test_the_newest_report_wins_and_updates_never_wait(operator):
    operator.delay = 0.3
    progress = Progress(operator.url, None, None, 0.0)
    began = time.monotonic()
    for step in range(2000):
        progress.update({"step": step, "totalSteps": 2000})
    assert time.monotonic() - began < 0.3
    progress.close()
    assert operator.reports[-1]["alignment"]["step"] == 1999
    assert len(operator.reports) < 20


def test_a_phase_change_goes_out_at_once_and_the_rest_waits(operator):
    progress = Progress(operator.url, None, None, 60.0)
    progress.update({"phase": "Loading"}, urgent=True)
    operator.wait_for(1)
    progress.update({"phase": "Loading", "step": 1})
    time.sleep(0.2)
    assert len(operator.reports) == 1
    progress.update({"phase": "Training", "step": 1}, urgent=True)
    assert operator.wait_for(2)[1]["alignment"] == {"phase": "Training", "step": 1}
    progress.close()


@pytest.mark.parametrize(("status", "reports"), [(503, 2), (410, 1)])
def test_a_report_that_was_not_taken_is_sent_again_unless_it_never_will_be(operator, monkeypatch, status, reports):
    """A phase may last for an hour: its one report must not be lost with an operator that just starts again."""
    monkeypatch.setattr(alignment_trainer.progress, "RETRY_SECONDS", 0.1)
    operator.status = status
    progress = Progress(operator.url, None, None, 0.0)
    progress.update({"phase": "Precomputing"})
    operator.wait_for(1)
    operator.status = 200
    time.sleep(0.5)
    assert [report["alignment"]["phase"] for report in operator.reports] == ["Precomputing"] * reports
    progress.close()


def test_the_token_is_read_again_for_every_report(operator, tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    progress = Progress(operator.url, str(token), None, 0.0)
    progress.update({"step": 1})
    operator.wait_for(1)
    token.write_text("second\n")
    progress.update({"step": 2})
    operator.wait_for(2)
    progress.close()
    assert operator.tokens == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("trouble", ["500", "403", "nobody listens", "no token file"])
def test_trouble_is_swallowed_and_the_next_report_tried(operator, trouble, tmp_path, capsys):
    operator.status = int(trouble) if trouble.isdigit() else 200
    token = str(tmp_path / "missing") if trouble == "no token file" else None
    progress = Progress("http://127.0.0.1:1/" if trouble == "nobody listens" else operator.url, token, None, 0.0)
    progress.update({"step": 1}, urgent=True)
    time.sleep(0.2)
    progress.update({"step": 2}, urgent=True)
    progress.close()
    assert capsys.readouterr().out.count("Progress could not be reported") == 1, "said once, not at every step"
    assert len(operator.reports) == (2 if trouble.isdigit() else 0)


def test_without_a_url_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("KUBEFLOW_TRAINER_SERVER_URL", raising=False)
    progress = Progress.from_environment(5.0)
    progress.update(FACTS, urgent=True)
    progress.close()
    assert progress._thread is None


@pytest.mark.parametrize("known", [True, False], ids=["known authority", "unknown authority"])
def test_only_the_operators_certificate_is_trusted(tmp_path, known):
    own, foreign = certificate(tmp_path, "own"), certificate(tmp_path, "foreign")
    server = Operator(server_context(own))
    progress = Progress(server.url, None, str((own if known else foreign)[0]), 0.0)
    progress.update({"step": 1}, urgent=True)
    progress.close()
    server.shutdown()
    server.server_close()
    assert len(server.reports) == (1 if known else 0)
