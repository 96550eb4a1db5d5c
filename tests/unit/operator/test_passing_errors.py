"""Which answers of the API server pass by themselves, and how they are waited for."""

from __future__ import annotations

import itertools

import aiohttp
import pytest

from alignment_operator.cluster import ApiError
from alignment_operator.handlers import tuning
from alignment_operator.kueue import Workloads
from alignment_operator.settings import Settings
from alignment_operator.store import Store


@pytest.mark.parametrize(
    ("status", "passing"),
    [
        *((status, False) for status in (400, 403, 404, 409, 410, 422)),
        *((status, True) for status in (401, 429, 500, 503, 504)),
    ],
)
def test_an_overloaded_or_starting_api_server_passes_and_a_refusal_does_not(status: int, passing: bool) -> None:
    assert ApiError(status, "", "").passing is passing


def test_watches_are_tried_again_for_ever_and_never_wait_long() -> None:
    """kopf's own waits grow to 21 s, and end the process after 54."""
    backoffs = tuning(Settings()).networking.error_backoffs
    assert not isinstance(backoffs, float)
    for _ in range(2):  # every request begins anew
        waits = list(itertools.islice(backoffs, 1000))
        assert len(waits) == 1000
        assert max(waits) <= 5


@pytest.mark.parametrize(
    "error",
    [ApiError(503, "", "Kueue's webhook is away"), TimeoutError(), aiohttp.ServerDisconnectedError()],
    ids=lambda error: type(error).__name__,
)
async def test_workloads_that_cannot_be_listed_stop_nobody(error: Exception) -> None:
    class Broken:
        async def raw(self, path: str) -> dict:
            raise error

    workloads = Workloads(Store(), Broken(), Settings(), lambda key: None)  # type: ignore[arg-type]
    await workloads.refresh()
