"""An image without our trainer: what transformers' own callback posts is a report as the operator reads it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from alignment_operator.reports import Report


class Endpoint(HTTPServer):
    """Keeps the bodies that it is sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/progress"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Endpoint]:
    """With the variables of a pod (docs/contract/README.md)."""
    server = Endpoint()
    token = tmp_path / "token"
    token.write_text("of this pod")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", server.url)
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_TOKEN", str(token))
    monkeypatch.delenv("KUBEFLOW_TRAINER_SERVER_CA_CERT", raising=False)
    monkeypatch.delenv("DISABLE_KUBEFLOW_INTEGRATION", raising=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_every_report_of_transformers_own_callback_is_read(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from transformers import TrainerControl, TrainerState, TrainingArguments
    from transformers.integrations.integration_utils import KubeflowCallback

    monkeypatch.setattr(KubeflowCallback, "_MIN_UPDATE_INTERVAL", 0.0)
    callback, control = KubeflowCallback(), TrainerControl()
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    state = TrainerState(max_steps=7, is_world_process_zero=True, is_local_process_zero=True)
    callback.on_train_begin(args, state, control)
    for step in range(1, 8):
        state.global_step, state.epoch = step, step / 7
        callback.on_step_end(args, state, control)
        callback.on_log(args, state, control, logs={"loss": 0.1 / step, "rewards/margins": float("nan"), "epoch": 1.0})
    callback.on_train_end(args, state, control)

    reports = [Report.model_validate_json(body) for body in endpoint.bodies]
    assert len(reports) >= 3
    assert reports[-1].trainer_status.progress_percentage == 100
    assert any("loss" in {metric["name"] for metric in report.metrics() or ()} for report in reports)
    assert all(report.progress(1, datetime.now(UTC))["run"] == 1 for report in reports)
