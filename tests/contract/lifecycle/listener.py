"""The operator's end of the progress reports, as far as a test needs to know where a run is."""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Listener:
    """Receives progress on the loopback: every report, and the `facts` (our part) of the newest."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.reports: list[dict[str, Any]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                listener.reports.append(report)
                listener.facts = report["alignment"]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What the operator gives a pod, so that it reports here."""
        url = f"http://127.0.0.1:{self._server.server_port}/v1/namespaces/a/alignmentjobs/b/runs/1/progress"
        return {"KUBEFLOW_TRAINER_SERVER_URL": url}

    def phases(self) -> list[str]:
        """What the run was doing, in order, each as often as it began."""
        phases = (report["alignment"].get("phase") for report in list(self.reports))
        return [phase for phase, _ in itertools.groupby(filter(None, phases))]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
