"""An API server that does not answer, or not well, is waited for: to end would only bring the kubelet's back-off."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.chaos.proxy import Proxy, Weather
from tests.integration.apiserver import ApiServer
from tests.integration.operator.conftest import Operator

LEADS = "leader_election_master_status"


@pytest.fixture
async def proxy(apiserver: ApiServer, tmp_path: Path) -> AsyncIterator[Proxy]:
    one = Proxy(apiserver.url, apiserver.ca_cert, random.Random(1))
    trusted = await one.start(tmp_path / "proxy")
    cluster = {"server": one.url, "certificate-authority": str(trusted)}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "users": [{"name": "admin", "user": {"token": apiserver.token}}],
    }
    (tmp_path / "proxied").write_text(json.dumps(kubeconfig))
    yield one
    await one.close()


@pytest.fixture
def behind(new_operator: Callable[..., Operator], proxy: Proxy, tmp_path: Path) -> Operator:
    """A replica that reaches the API server through the proxy only. Not started."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("lease_seconds: 6\n")
    one = new_operator(f"--settings={settings}")
    one.kubeconfig = tmp_path / "proxied"
    return one


async def until(what: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(what):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "weather",
    [Weather({}, partition=True), Weather({500: 1.0}), Weather({429: 1.0})],
    ids=["no-answer", "500", "429"],
)
async def test_a_start_in_bad_weather_waits_for_better(behind: Operator, proxy: Proxy, weather: Weather) -> None:
    proxy.weather = weather
    behind.launch()
    await until(lambda: behind.get("/healthz") == 200)
    await asyncio.sleep(2)
    assert behind.process is not None
    assert behind.process.poll() is None, behind.log.read_text()[-2000:]
    assert await asyncio.to_thread(behind.get, "/readyz") == 503
    proxy.weather = Weather.fair()
    await until(lambda: behind.get("/readyz") == 200)
    await until(lambda: behind.metric(LEADS) == 1)
    assert behind.process.poll() is None
