"""Offline check of the pods' projected service-account tokens, with the API server's published keys.

No call per report and no cluster-wide right (TokenReview would need one): the keys are fetched with the operator's
own credentials, kept, and fetched again when a token names a key that is not among them, which is what a rotation
looks like.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt

from .cluster import ApiError, Cluster

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")  # never "none" or HMAC
LEEWAY_SECONDS = 60.0  # clocks of machines differ; Kubernetes allows its own tokens as much
REFETCH_SECONDS = 10.0  # a stranger's tokens must not make us ask the API server each time
RETRY_SECONDS = 1.0  # nor must everybody's, while it does not answer


class BadToken(Exception):
    """Not a token for this endpoint; the text says why, and never has the token in it."""


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Whose token it is."""

    namespace: str
    pod_name: str
    pod_uid: str


class Keys:
    """The API server's signing keys by key id, and its issuer."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._keys: dict[str, Any] = {}
        self._fetched = self._failed = float("-inf")  # monotonic, of the last answer and of the last error
        self._error: Exception = TimeoutError()
        self._fetching = asyncio.Lock()
        self.issuer = ""

    async def get(self, key_id: str) -> Any | None:
        """The public key; None when the API server does not publish it.

        Raises ApiError, aiohttp.ClientError or TimeoutError when it cannot be asked.
        """
        if key_id not in self._keys:
            async with self._fetching:  # who comes meanwhile waits for the same answer
                await self._search(key_id)
        return self._keys.get(key_id)

    async def _search(self, key_id: str) -> None:
        """Fetch the keys, unless that was done a moment ago."""
        now = time.monotonic()
        if key_id in self._keys or now - self._fetched <= REFETCH_SECONDS:
            return
        if now - self._failed < RETRY_SECONDS:
            raise self._error.with_traceback(None)  # else it grows with each
        try:
            await self._fetch()
        except (ApiError, TimeoutError, aiohttp.ClientError) as error:
            self._failed, self._error = time.monotonic(), error
            raise
        self._fetched = time.monotonic()

    async def _fetch(self) -> None:
        discovery = await self._cluster.raw("/.well-known/openid-configuration")
        published = await self._cluster.raw("/openid/v1/jwks")
        self.issuer = discovery["issuer"]
        self._keys = {key.key_id or "": key.key for key in jwt.PyJWKSet.from_dict(published).keys}


class Tokens:
    """Verifies bearer tokens for one audience."""

    def __init__(self, keys: Keys, audience: str) -> None:
        self._keys, self._audience = keys, audience

    async def verify(self, token: str) -> PodIdentity:
        """Whose token this is. Raises BadToken; ApiError when the keys cannot be fetched."""
        try:
            key = await self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise BadToken("signed with a key that the API server does not publish")
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._keys.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "aud", "iss"]},
            )
        except jwt.InvalidTokenError as error:
            raise BadToken(str(error)) from error
        return _identity(claims)


def _identity(claims: dict[str, Any]) -> PodIdentity:
    try:
        about = claims["kubernetes.io"]
        return PodIdentity(about["namespace"], about["pod"]["name"], about["pod"]["uid"])
    except (KeyError, TypeError) as error:
        raise BadToken("not the token of a pod") from error
