"""The progress endpoint under abuse: malformed, huge and slow requests, every wrong token, replays.

Nothing crashes, memory stays, and no status but that of the sender's own run is ever written.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import gzip
import json
import ssl
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from alignment_operator.cluster import Cluster
from alignment_operator.process import IDLE_SECONDS
from alignment_operator.progress import BODY_SECONDS
from alignment_operator.resources import ALIGNMENT_JOBS, PODS
from alignment_operator.tokens import Keys
from tests.fuzz.schema_values import ANY_JSON, TEXT
from tests.integration.operator.test_progress import EXAMPLE, Trainer, report

BODIES = 300
REFUSED = {400, 413, 415, 422}
MEBIBYTE = 1 << 20


class Session:
    """One client that keeps its connections; `post` gives the HTTP status."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.token = trainer.token()
        self.context = ssl.create_default_context(cadata=trainer.ca)
        connector = aiohttp.TCPConnector(ssl=self.context, limit=50)
        self.http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60))

    def url(self, namespace: str = "", name: str = "", run: int | str = 1) -> str:
        world = self.trainer.world
        path = f"{namespace or world.namespace}/alignmentjobs/{name or world.name}/runs/{run}/progress"
        return f"{self.trainer.operator.progress_url}/v1/namespaces/{path}"

    async def post(self, data: Any, token: str | None = None, url: str = "", **headers: str) -> int:
        authorization = {"Authorization": f"Bearer {self.token if token is None else token}"}
        async with self.http.post(url or self.url(), data=data, headers=authorization | headers) as answer:
            return answer.status


@pytest.fixture
async def trainer(shared_operator, world, apiserver) -> Trainer:
    apiserver.kubectl("create", "serviceaccount", "default", f"-n={world.namespace}", check=False)
    return await Trainer(shared_operator, world, apiserver).start()


@pytest.fixture
async def session(trainer):
    made = Session(trainer)
    yield made
    await made.http.close()


@pytest.fixture
async def bystander(session):
    """Another job of the namespace, whose status nobody here may change; (its name, its object)."""
    world = session.trainer.world
    name = f"other-{world.name}"
    await world.apply(name)
    await world.pod(await world.job(f"{name}-r1"))
    await world.until(lambda o: o["status"].get("run") == 1, name=name)
    await asyncio.sleep(1)
    before = await world.get(ALIGNMENT_JOBS, name)
    yield name, before
    after = await world.get(ALIGNMENT_JOBS, name)
    assert after["status"].get("progress") == before["status"].get("progress")
    assert after["status"].get("metrics") == before["status"].get("metrics")


def reports() -> st.SearchStrategy[bytes]:
    """Bodies: bytes, JSON, and reports of which a few fields hold anything."""
    fields = [("trainerStatus", name) for name in EXAMPLE["trainerStatus"]]
    fields += [("alignment", name) for name in (*EXAMPLE["alignment"], "unheardOf")]

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        body = copy.deepcopy(EXAMPLE)
        for section, name in draw(st.lists(st.sampled_from(fields), max_size=3)):
            body[section][name] = draw(ANY_JSON)
        return json.dumps(body).encode()

    return st.one_of(changed(), ANY_JSON.map(lambda v: json.dumps(v).encode()), TEXT.map(str.encode), st.binary())


def drawn(count: int) -> list[bytes]:
    """So many bodies, the same each time."""
    found: list[bytes] = []

    @seed(1)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=[*HealthCheck])
    @given(reports())
    def collect(body: bytes) -> None:
        found.append(body)

    collect()
    return found


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


async def test_any_body_is_taken_or_refused_and_writes_nowhere_else(session, bystander):
    seen: Counter[int] = Counter()
    for body in drawn(BODIES):
        seen[await session.post(body)] += 1
    assert set(seen) <= REFUSED | {200}, seen
    assert seen[200] > 10
    assert seen[422] > 10
    assert await session.post(json.dumps(report(7))) == 200
    now = await session.trainer.world.until(lambda o: o["status"]["progress"]["step"] == 7)
    assert now["status"]["progress"]["run"] == 1


async def test_odd_requests_are_refused(session):
    deep = b"[" * 30000 + b"]" * 30000
    assert await session.post(deep) == 422
    assert await session.post(b'{"trainerStatus":{"progressPercentage":1' + b"0" * 5000 + b"}}") == 422
    assert await session.post(b'{"trainerStatus":{},"alignment":{"step":1e400}}') == 422
    assert await session.post(json.dumps(EXAMPLE), **{"Content-Encoding": "gzip"}) == 415
    assert await session.post(b"x", token="x" * 100_000) in (400, 431)
    for url in (session.url(run=0), session.url(run="9" * 9), session.url(name="%00"), session.url(namespace="%2e%2e")):
        assert await session.post(json.dumps(EXAMPLE), url=url) in (403, 404)
    assert await session.post(json.dumps(EXAMPLE), url=session.url(run="-1")) == 404
    async with session.http.get(session.url()) as answer:
        assert answer.status == 405


async def test_huge_bodies_cost_no_memory(session):
    pid = session.trainer.operator.process.pid
    bomb = gzip.compress(b" " * (64 * MEBIBYTE))
    largest = b'{"trainerStatus": {"x": "' + b"y" * 60_000 + b'"}}'

    async def endless():
        for _ in range(100):
            yield b" " * MEBIBYTE

    async def the_largest_that_are_taken(count: int) -> None:
        for _ in range(count):
            assert await session.post(largest) == 200

    before = memory(pid)
    for _ in range(6):  # 600 MiB that do not end, 384 MiB that would unfold
        with suppress(aiohttp.ClientError):  # the endpoint has answered and hung up while the rest was being sent
            assert await session.post(endless()) == 413
        assert await session.post(bomb, **{"Content-Encoding": "gzip"}) == 415
    assert memory(pid) - before < 48 * MEBIBYTE
    await the_largest_that_are_taken(100)  # what the allocator and TLS keep for good
    before = memory(pid)
    await the_largest_that_are_taken(400)  # 24 MB
    assert memory(pid) - before < 4 * MEBIBYTE


async def test_who_sends_slowly_is_hung_up_on_keeps_nobody_waiting_and_leaves_no_memory_behind(session):
    host, port = "127.0.0.1", session.trainer.operator.progress_port
    path = session.url().partition(str(port))[2]
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {session.token}\r\nContent-Length: 1000\r\n"

    async def connect(text: str) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(host, port, ssl=session.context, server_hostname=host)
        writer.write(text.encode())
        writers.append(writer)
        return reader

    async def a_wave() -> int:
        """Returns the operator's memory once it has hung up on everyone."""
        idle = [await connect(text) for text in (head, "") for _ in range(40)]
        half_a_body = [await connect(f"{head}\r\n{{") for _ in range(40)]
        started = time.monotonic()
        assert await session.post(json.dumps(report(1))) == 200
        assert time.monotonic() - started < 2
        answers = await asyncio.wait_for(asyncio.gather(*(r.read() for r in half_a_body)), BODY_SECONDS + 10)
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
        await asyncio.wait_for(asyncio.gather(*(r.read() for r in idle)), IDLE_SECONDS + 10)
        for writer in writers:
            writer.close()
        return memory(session.trainer.operator.process.pid)

    writers: list[asyncio.StreamWriter] = []
    first = await a_wave()
    assert await a_wave() - first < 4 * MEBIBYTE


def forged(session: Session) -> dict[str, str]:
    """Tokens that are nearly right."""
    head, payload, signature = session.token.split(".")
    claims = jwt.decode(session.token, options={"verify_signature": False})
    header = jwt.get_unverified_header(session.token)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def signed(**changes: Any) -> str:
        return jwt.encode(claims | changes, key, algorithm="RS256", headers={"kid": header["kid"]})

    def headed(content: Any) -> str:
        text = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
        return f"{text}.{payload}.{signature}"

    return {
        "another key by our key's name": signed(),
        "another key by another name": jwt.encode(claims, key, algorithm="RS256", headers={"kid": "unknown"}),
        "a public key as a secret": jwt.encode(claims, public.hex(), algorithm="HS256", headers={"kid": header["kid"]}),
        "no signature": headed({"alg": "none"}),
        "no algorithm": headed({"kid": header["kid"]}),
        "a number as key": headed(header | {"kid": 1}),
        "a list as key": headed(header | {"kid": ["x"]}),
        "a list as header": headed([header]),
        "a number as header": headed(7),
        "an extension that must be understood": headed(header | {"crit": ["x"], "x": 1}),
        "parts that are missing": f"{head}.{payload}",
        "parts too many": f"{session.token}.{signature}",
        "no base64": f"{head}.ä.{signature}".encode().decode("latin-1"),
        "a signature cut short": session.token[:-10],
        "nothing": " ",
    }


async def test_forged_tokens_are_refused_alike(session, bystander):
    name, _ = bystander
    for what, token in forged(session).items():
        assert await session.post(json.dumps(EXAMPLE), token=token) in (400, 401), what
        assert await session.post(json.dumps(EXAMPLE), token=token, url=session.url(name=name)) in (400, 401), what
    assert await session.post(json.dumps(EXAMPLE), token=session.trainer.token(audience="other")) == 401
    assert await session.post(json.dumps(EXAMPLE), url=session.url(name=name)) == 403
    assert await session.post(json.dumps(EXAMPLE), url=session.url(namespace="default")) == 403


class Counted(Cluster):
    """The real API server, and what it was asked for."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.paths: list[str] = []

    async def raw(self, path: str) -> dict[str, Any]:
        self.paths.append(path)
        return await self.cluster.raw(path)


async def test_unknown_keys_do_not_make_the_operator_ask_the_api_server_each_time(cluster):
    counted = Counted(cluster)
    keys = Keys(counted)
    for number in range(200):
        assert await keys.get(f"unknown-{number}") is None
    assert counted.paths == ["/.well-known/openid-configuration", "/openid/v1/jwks"]


async def refused(session: Session) -> None:
    """Wait until the endpoint has heard of the deletion, by its watch."""
    deadline = time.monotonic() + 20
    while await session.post(json.dumps(report(6))) not in (403, 410):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_a_token_is_worth_nothing_once_its_pod_or_its_job_is_gone(session):
    trainer, world = session.trainer, session.trainer.world
    assert await session.post(json.dumps(report(5))) == 200
    await world.until(lambda o: o["status"]["progress"]["step"] == 5)
    # the AlignmentJob goes, and another of its name comes while the old pod is still ending
    old = await world.get_job()
    await world.cluster.delete(ALIGNMENT_JOBS, world.namespace, world.name, old["metadata"]["uid"])
    await world.gone(ALIGNMENT_JOBS, world.name)
    await refused(session)
    await world.apply()
    await world.until(lambda o: o["status"].get("phase"))
    for _ in range(20):
        assert await session.post(json.dumps(report(7))) in (403, 410)
        await asyncio.sleep(0.1)
    meta = trainer.pod["metadata"]
    trainer.apiserver.kubectl("delete", "pod", meta["name"], f"-n={world.namespace}", "--force", "--grace-period=0")
    await world.gone(PODS, meta["name"])
    await asyncio.sleep(1)
    assert await session.post(json.dumps(report(8))) in (403, 410)
    assert (await world.get_job())["status"].get("progress", {}).get("step") is None


async def test_the_operator_has_lived_through_all_this(shared_operator):
    assert shared_operator.process.poll() is None
    assert shared_operator.get("/healthz") == 200
    assert "Unhandled exception" not in shared_operator.log.read_text()
    assert shared_operator.metric('alignment_progress_reports_total{code="500"}') == 0
