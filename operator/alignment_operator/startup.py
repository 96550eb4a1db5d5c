"""What a start waits for: an API server that answers, and that knows the operator's rights.

To end instead would only bring the kubelet's back-off, which grows to minutes.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable

import aiohttp

from .cluster import ApiError

log = logging.getLogger(__name__)
RETRY_SECONDS = (0.5, 5.0)  # the first wait, doubled up to the last
# An installer makes role and binding in one go, and an API server that starts has read both within seconds.
FORBIDDEN_SECONDS = 20.0
_DENIED = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) (?:resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'|path "(?P<path>[^"]*)")(?: in the namespace "(?P<namespace>[^"]*)")?'
)


class Forbidden(Exception):
    """The API server does not let the operator do what it cannot do without; the text names the missing rule."""


async def answered(call: Callable[[], Awaitable[None]], forbidden_seconds: float = FORBIDDEN_SECONDS) -> None:
    """Call again until the API server answers.

    Raises Forbidden when it has refused for so many seconds, and ApiError for another answer that will stay the same.
    """
    wait, longest = RETRY_SECONDS
    refusals = Refusals(forbidden_seconds)
    while True:
        try:
            return await call()
        except (TimeoutError, aiohttp.ClientError) as error:
            log.warning("the API server does not answer", extra={"error": repr(error), "again": wait})
        except ApiError as error:
            if error.status == 403:
                refusals.note(error)
            elif error.passing or error.expired:  # a LIST whose first pages are forgotten is begun anew
                log.warning("the API server cannot answer", extra={"error": str(error), "again": wait})
            else:
                raise
        await asyncio.sleep(wait)
        wait = min(wait * 2, longest)


class Refusals:
    """How long rights have been missing by now; each missing right is told once."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: float | None = None
        self.last: ApiError | None = None

    def note(self, error: ApiError) -> None:
        """Raises Forbidden once the patience is over."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        waited = now - self._since
        if waited >= self._patience:
            raise Forbidden(f"forbidden for {waited:.0f} s: {told(error)}")
        if self.last is None or error.message != self.last.message:
            log.warning("a right is missing: waiting for it", extra={"error": error.message, "seconds": self._patience})
        self.last = error


def told(refusal: ApiError) -> str:
    """What the API server said, and the rule that would make it say yes."""
    rule = missing_rule(refusal.message)
    cure = f"Missing rule: {rule}" if rule else "Look at what the message names."
    return f"{refusal.message}. {cure}"


def missing_rule(message: str) -> str | None:
    """The rule of a Role or ClusterRole that an RBAC refusal asks for, and who needs it; None for other refusals."""
    denied = _DENIED.search(message)
    if denied is None:
        return None
    if denied["path"]:
        rule = f'nonResourceURLs: ["{denied["path"]}"]'
    else:
        rule = f'apiGroups: ["{denied["group"]}"], resources: ["{denied["resource"]}"]'
    where = f" in namespace {denied['namespace']}" if denied["namespace"] else " cluster-wide"
    return f'{{{rule}, verbs: ["{denied["verb"]}"]}}, bound to {denied["user"]}{where}'
