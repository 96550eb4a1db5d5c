"""The row of progress: running jobs report for a minute; how fast they are answered, and what is written."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import calls, usage
from .load import Connection, create_all
from .ours import Ours
from .reporters import Plan, Reporter, save
from .sides import Side
from .stage import Meter, Stage

SECONDS = 60.0
WARM_UP_SECONDS = 20.0  # every first report is written at once: a thousand jobs do not all begin in one moment
FLUSH_SECONDS = 25.0  # the throttle's 15 s, and the write itself
AUDIENCE = "alignment-operator.io"
ENDLESS = {"simulated/endless": "true"}
MEBIBYTE = 1 << 20


def progress(stage: Stage, side: Side, size: int) -> dict[str, Any]:
    """`size` running jobs that report every 5 s. Our side only: the other's status server is not in v2.0.0."""
    assert isinstance(side, Ours)
    with stage.namespace(side) as namespace, tempfile.TemporaryDirectory() as name:
        names = [f"job-{number}" for number in range(size)]
        path = side.collection.format(namespace=namespace)
        create_all(stage.client, path, [side.manifest(namespace, job, **ENDLESS) for job in names], threads=10)
        stage.wait_until(side, namespace, _is_running, size, 120 + size)
        plan = Path(name) / "plan.json"
        save(plan, _plan(stage, side, namespace, Path(name) / "ca.crt"))
        command = [sys.executable, "-m", "bench.operator.reporters", str(plan), str(WARM_UP_SECONDS + SECONDS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reporters:
            time.sleep(WARM_UP_SECONDS)
            meter = Meter(stage, side)
            done = json.loads(reporters.communicate()[0])
        written = calls.writes(stage.heard(side, meter.position))
        cpu = meter.controllers()
        stage.wait_quiet(side, FLUSH_SECONDS, 2 * FLUSH_SECONDS)
        return _figures(done, len(written), cpu.get("operator"), _lost(stage, side, namespace, done)) | {
            "jobs": size,
            "rss_mib": usage.of(side.processes["operator"].pid).rss / MEBIBYTE,
        }


def _figures(done: dict[str, Any], writes: int, cpu_seconds: float | None, lost: int) -> dict[str, Any]:
    return {
        "reports_per_second": done["reports"] / (WARM_UP_SECONDS + SECONDS),
        "codes": done["codes"],
        **{name: done[name] for name in ("p50_ms", "p99_ms", "max_ms")},
        "writes_per_second": writes / SECONDS,
        "operator_cores": None if cpu_seconds is None else cpu_seconds / SECONDS,
        "newest_lost": lost,
    }


def _is_running(obj: dict[str, Any]) -> bool:
    return bool(obj.get("status", {}).get("phase") == "Running")


def _lost(stage: Stage, side: Side, namespace: str, done: dict[str, Any]) -> int:
    """How many jobs have not the last step in status that was answered with 200."""
    told = {url.split("/")[-4]: step for url, step in done["last_step"].items()}
    return sum(
        obj["status"].get("progress", {}).get("step", 0) < told.get(obj["metadata"]["name"], 0)
        for obj in stage.objects(side, namespace)
    )


def _plan(stage: Stage, side: Ours, namespace: str, ca: Path) -> Plan:
    connection = stage.client.connect()
    try:
        config = connection.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/{side.job_of('job-0')}")
        ca.write_text(config["data"]["ca.crt"])
        return Plan(str(ca), list(_reporters(connection, side, namespace)))
    finally:
        connection.close()


def _reporters(connection: Connection, side: Ours, namespace: str) -> Iterator[Reporter]:
    """One for each pod, with a token as the kubelet asks for it: bound to the pod, for the operator's audience."""
    pods = connection.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    for pod in pods:
        meta = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        spec = {"audiences": [AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
        answer = connection.call("POST", path, json.dumps(body).encode())
        job = quote(meta["labels"]["alignment-operator.io/job"])
        where = f"v1/namespaces/{namespace}/alignmentjobs/{job}/runs/1/progress"
        yield Reporter(f"https://127.0.0.1:{side.progress_port}/{where}", answer["status"]["token"])
