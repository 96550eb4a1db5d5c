"""The trainers: every running job reports its progress every few seconds, as the trainer does.

Each report is a connection of its own over TLS, checked against the CA of the job's ConfigMap, with a real token of the
job's pod. In a process of its own, for the clients' CPU must not be the bench's, nor wait for it.

Usage: python -m bench.operator.reporters PLAN SECONDS, where PLAN is a JSON file (`Plan`); prints a JSON summary.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

INTERVAL_SECONDS = 5.0
TOTAL_STEPS = 1000


@dataclass(frozen=True)
class Reporter:
    """One job's pod: where it reports, and as whom."""

    url: str
    token: str


@dataclass(frozen=True)
class Plan:
    """`ca`: path of the endpoint's CA."""

    ca: str
    reporters: list[Reporter]


class Summary:
    """What became of the reports."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.codes: dict[str, int] = {}
        self.last_step: dict[str, int] = {}

    def add(self, reporter: Reporter, step: int, code: str, seconds: float) -> None:
        self.codes[code] = self.codes.get(code, 0) + 1
        if code == "200":
            self.seconds.append(seconds)
            self.last_step[reporter.url] = step

    def as_json(self) -> dict[str, object]:
        cuts = quantiles(self.seconds, n=100, method="inclusive")
        times = {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98], "max_ms": 1000 * max(self.seconds)}
        return {"reports": len(self.seconds), "codes": self.codes, **times, "last_step": self.last_step}


async def report_all(plan: Plan, seconds: float) -> Summary:
    """Every reporter, out of step with the others, until the time is over."""
    context = ssl.create_default_context(cafile=plan.ca)
    summary, end = Summary(), time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for reporter in plan.reporters:
            group.create_task(_report(reporter, context, summary, end))
    return summary


async def _report(reporter: Reporter, context: ssl.SSLContext, summary: Summary, end: float) -> None:
    await asyncio.sleep(random.uniform(0, INTERVAL_SECONDS))
    step = 0
    while time.monotonic() < end:
        step += 1
        began = time.monotonic()
        try:
            code = await asyncio.wait_for(_post(reporter, context, step), 30)
        except (OSError, TimeoutError, ValueError) as error:
            code = type(error).__name__
        summary.add(reporter, step, code, time.monotonic() - began)
        await asyncio.sleep(max(0.0, began + INTERVAL_SECONDS - time.monotonic()))


async def _post(reporter: Reporter, context: ssl.SSLContext, step: int) -> str:
    """One report over a new connection; returns the HTTP status."""
    url = urlsplit(reporter.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    try:
        body = json.dumps(_body(step)).encode()
        head = f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {reporter.token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.read()
        return answer.split(b" ", 2)[1].decode()
    except IndexError:
        return "no answer"
    finally:
        writer.close()


def _body(step: int) -> dict[str, object]:
    metrics = {"loss": 0.69 / step, "rewards/margins": 0.01 * step, "rewards/accuracies": 0.5, "learning_rate": 1e-5}
    return {
        "trainerStatus": {
            "progressPercentage": min(100, 100 * step // TOTAL_STEPS),
            "estimatedRemainingSeconds": 5 * (TOTAL_STEPS - step),
            "metrics": [{"name": name, "value": f"{value:.6g}"} for name, value in metrics.items()],
        },
        "alignment": {
            "attempt": 1,
            "phase": "Training",
            "step": step,
            "totalSteps": TOTAL_STEPS,
            "tokensPerSecond": 5210.5,
        },
    }


def load(path: Path) -> Plan:
    content = json.loads(path.read_text())
    return Plan(content["ca"], [Reporter(**one) for one in content["reporters"]])


def save(path: Path, plan: Plan) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(plan)))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(report_all(load(Path(sys.argv[1])), float(sys.argv[2]))).as_json()))
