"""What a burst has needed for a moment goes back to the node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alignment_operator import memory

MEBIBYTE = 1 << 20


def resident() -> int:
    """Bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


async def test_what_was_freed_between_two_that_stay_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """glibc gives back the end of its heap by itself, and nothing of its middle."""
    monkeypatch.setattr(memory, "EVERY_SECONDS", 0.01)
    chunks = [bytearray(b"x" * 64_000) for _ in range(1000)]
    kept, full = chunks[::10], resident()
    chunks.clear()
    assert full - resident() < 20 * MEBIBYTE, "nothing to be given back: this proves nothing"
    task = asyncio.create_task(memory.give_back_forever())
    await asyncio.sleep(0.1)
    task.cancel()
    assert full - resident() > 35 * MEBIBYTE
    assert len(kept) == 100
