"""Free memory goes back to the node: glibc keeps what a burst of jobs, or a LIST, has needed for a moment."""

from __future__ import annotations

import asyncio
import ctypes
from contextlib import suppress

EVERY_SECONDS = 30.0  # connections to the API server that nobody uses are closed after half of that


async def give_back_forever() -> None:
    """Milliseconds each time, whatever there is to give; where the C library cannot, nothing happens."""
    with suppress(AttributeError):
        trim = ctypes.CDLL(None).malloc_trim
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            trim(0)
    await asyncio.Event().wait()  # the process ends when one of its parts does
