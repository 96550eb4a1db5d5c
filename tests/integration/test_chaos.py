"""Two replicas in a storm of a minute, on a cluster of their own (docs/faults.md; `make chaos` is the long form)."""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos.__main__ import replay
from tests.chaos.run import BRIEF, run

SEED = int(os.environ.get("CHAOS_SEED", "1"))


async def test_whatever_goes_wrong_every_job_ends_as_it_would_have_and_nothing_is_done_twice(tmp_path: Path) -> None:
    verdict = await run(tmp_path, SEED, BRIEF)
    print(verdict)
    assert verdict.holds, f"{verdict}\n\nagain: {replay(SEED, brief=True)}; logs in {tmp_path}"
    assert verdict.figures["jobs"] == BRIEF.jobs
