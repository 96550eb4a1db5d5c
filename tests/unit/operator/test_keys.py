"""The API server's keys: asked for once, whoever waits; and a server that gives none makes no token a bad one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from alignment_operator import tokens
from alignment_operator.cluster import ApiError
from alignment_operator.tokens import Keys

KEY_ID = "of-today"


class Server:
    """The part of Cluster that gives the key set, slowly, or the errors that it is told to give first."""

    def __init__(self, *errors: Exception) -> None:
        public = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
        self.published = {"keys": [{**public, "kid": KEY_ID, "alg": "ES256", "use": "sig"}]}
        self.errors, self.asked = list(errors), 0

    async def raw(self, path: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        if path != "/openid/v1/jwks":
            self.asked += 1
            if self.errors:
                raise self.errors.pop(0)
            return {"issuer": "https://kubernetes.default.svc"}
        return self.published


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now[0])
    return now


async def test_who_reports_while_the_keys_are_fetched_waits_for_them(clock: list[float]) -> None:
    """After a restart every running job's next report comes at once."""
    server = Server()
    keys = Keys(server)  # type: ignore[arg-type]
    found = await asyncio.gather(*(keys.get(KEY_ID) for _ in range(100)))
    assert all(key is not None for key in found)
    assert server.asked == 1


@pytest.mark.parametrize("error", [ApiError(503, "", "starting"), TimeoutError()])
async def test_keys_that_could_not_be_fetched_are_not_taken_for_unpublished(
    error: Exception, clock: list[float]
) -> None:
    server = Server(error)
    keys = Keys(server)  # type: ignore[arg-type]
    for _ in range(20):
        with pytest.raises(type(error)):
            await keys.get(KEY_ID)
    assert server.asked == 1, "an API server in need is not asked for each report"
    clock[0] += tokens.RETRY_SECONDS
    assert await keys.get(KEY_ID) is not None


async def test_keys_that_are_known_do_not_depend_on_the_api_server(clock: list[float]) -> None:
    server = Server()
    keys = Keys(server)  # type: ignore[arg-type]
    await keys.get(KEY_ID)
    server.errors = [ApiError(503, "", "down")]
    clock[0] += 3600
    with pytest.raises(ApiError):
        await keys.get("of-tomorrow")
    assert await keys.get(KEY_ID) is not None


async def test_a_key_that_is_not_published_is_asked_for_again_only_after_a_while(clock: list[float]) -> None:
    server = Server()
    keys = Keys(server)  # type: ignore[arg-type]
    for _ in range(100):
        assert await keys.get("forged") is None
    assert server.asked == 1
    server.published["keys"][0]["kid"] = "of-tomorrow"
    assert await keys.get("of-tomorrow") is None
    clock[0] += tokens.REFETCH_SECONDS + 1
    assert await keys.get("of-tomorrow") is not None
