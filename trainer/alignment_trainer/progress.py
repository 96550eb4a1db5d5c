"""Progress reports: the Kubeflow TrainerStatus protocol with our fields (docs/contract/progress.schema.json).

A thread posts the newest state; training never waits for it and never fails because of it. transformers' own
KubeflowCallback speaks the same protocol, but inside the training loop, without attempts and with a wrong remaining
time after a resume: the launcher switches it off.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

TIMEOUT_SECONDS = 5.0
RETRY_SECONDS = 5.0  # at least, after a report that did not get through
METRIC_LIMIT = 256
_COPIED = (
    "attempt",
    "resumedFromStep",
    "lostSteps",
    "phase",
    "step",
    "totalSteps",
    "epoch",
    "stepSeconds",
    "tokensPerSecond",
    "lastCheckpointStep",
    "lastCheckpointTime",
    "peakMemoryBytes",
)


def body(facts: dict[str, Any]) -> dict[str, Any]:
    """The report for the facts of an attempt (attempt.py)."""
    if facts.get("phase") == "Precomputing":
        return _precomputing(facts)
    step, total = facts.get("step"), facts.get("totalSteps")
    status: dict[str, Any] = {"lastUpdatedTime": _now()}
    if step is not None and total:
        status["progressPercentage"] = min(100, 100 * step // total)
    if facts.get("remainingSeconds") is not None:
        status["estimatedRemainingSeconds"] = facts["remainingSeconds"]
    if metrics := facts.get("metrics"):
        pairs = list(metrics.items())[:METRIC_LIMIT]
        status["metrics"] = [{"name": str(name)[:128], "value": f"{value:.6g}"} for name, value in pairs]
    ours = _copied(facts)
    if findings := facts.get("findings"):
        ours["findings"] = [str(finding)[:256] for finding in findings[:8]]
    return {"trainerStatus": status, "alignment": ours}


def _precomputing(facts: dict[str, Any]) -> dict[str, Any]:
    """Steps are batches of the split at hand; of the run's own steps, which a percentage is about, none has begun."""
    batches = facts.get("precomputed") or {}
    steps = {"step": batches.get("done"), "totalSteps": batches.get("total")}
    status: dict[str, Any] = {"lastUpdatedTime": _now()}
    if batches.get("remainingSeconds") is not None:
        status["estimatedRemainingSeconds"] = batches["remainingSeconds"]
    return {"trainerStatus": status, "alignment": _copied(facts | steps)}


def _copied(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in _COPIED if facts.get(name) is not None}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Progress:
    """Posts at most one report per `interval` seconds, the newest; urgent ones (phase changes) at once."""

    def __init__(self, url: str | None, token_file: str | None, ca_file: str | None, interval: float) -> None:
        self._url, self._token_file, self._ca_file, self._interval = url, token_file, ca_file, interval
        self._changed = threading.Condition()
        self._facts: dict[str, Any] | None = None
        self._urgent = self._closing = False
        self._thread: threading.Thread | None = None
        if url:
            # no proxy: the operator's service is in the cluster, where a proxy's exceptions rarely name it
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()

    @classmethod
    def from_environment(cls, interval: float | None) -> Progress:
        """None as interval: this process does not report."""
        url = os.environ.get("KUBEFLOW_TRAINER_SERVER_URL") if interval is not None else None
        token, ca = (os.environ.get(f"KUBEFLOW_TRAINER_SERVER_{name}") for name in ("TOKEN", "CA_CERT"))
        return cls(url, token, ca, interval or 0.0)

    def update(self, facts: dict[str, Any], urgent: bool = False) -> None:
        """Hand over the newest facts; returns at once."""
        if self._thread is None:
            return
        with self._changed:
            self._facts = dict(facts)
            self._urgent = self._urgent or urgent
            self._changed.notify()

    def close(self, seconds: float | None = None) -> None:
        """Post the last state, waiting `seconds` at most (default: one time-out)."""
        if self._thread is None:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(TIMEOUT_SECONDS if seconds is None else seconds)

    def _run(self) -> None:
        rest_until = float("-inf")
        while True:
            with self._changed:
                while not self._due(rest_until):
                    rest = rest_until - time.monotonic()
                    self._changed.wait(max(0.01, rest) if self._facts is not None else None)
                facts, self._facts, self._urgent = self._facts, None, False
                closing = self._closing
            if facts is not None:
                rest_until = time.monotonic() + self._interval
                if not self._post(facts):
                    rest_until = max(rest_until, time.monotonic() + RETRY_SECONDS)
                    self._keep(facts)
            if closing:
                return

    def _due(self, rest_until: float) -> bool:
        if self._closing:
            return True
        return self._facts is not None and (self._urgent or time.monotonic() >= rest_until)

    def _keep(self, facts: dict[str, Any]) -> None:
        """For another try, unless there are newer ones by now: a step may take minutes."""
        with self._changed:
            self._facts = facts if self._facts is None else self._facts

    def _post(self, facts: dict[str, Any]) -> bool:
        """Whether nothing is to be gained by another try."""
        try:
            assert self._url is not None
            headers = {"Content-Type": "application/json"}
            if self._token_file:
                with open(self._token_file, encoding="utf-8") as file:  # each time: the kubelet renews it
                    headers["Authorization"] = f"Bearer {file.read().strip()}"
            handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
            if self._url.startswith("https:"):
                context = ssl.create_default_context(cafile=self._ca_file or None)
                handlers.append(urllib.request.HTTPSHandler(context=context))
            data = json.dumps(body(facts), allow_nan=False, default=str).encode()
            request = urllib.request.Request(self._url, data=data, headers=headers, method="POST")
            with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_SECONDS) as response:
                response.read(1024)
        except Exception as error:  # a report may be lost, the training not
            self._warn(error)
            return isinstance(error, urllib.error.HTTPError) and error.code < 500
        return True

    _warned = float("-inf")

    def _warn(self, error: Exception) -> None:
        if time.monotonic() - self._warned > 300:
            self._warned = time.monotonic()
            print(f"[alignment] Progress could not be reported: {error}", flush=True)
