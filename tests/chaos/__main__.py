"""`python -m tests.chaos`: 15 minutes, 200 jobs, two replicas, all that can go wrong; exit 1 if a rule was broken."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from .run import BRIEF, FULL, run
from .schedule import schedule


def main() -> int:
    options = _options()
    scale = BRIEF if options.brief else FULL
    scale = replace(scale, seconds=options.seconds or scale.seconds, jobs=options.jobs or scale.jobs)
    if options.plan:
        print(*schedule(options.seed, scale.seconds, scale.pace), sep="\n")
        return 0
    folder = options.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}; logs in {folder}", flush=True)
    verdict = asyncio.run(run(folder.absolute(), options.seed, scale, lambda text: print(text, flush=True)))
    print(verdict)
    if not verdict.holds:
        print(f"\nagain: {replay(options.seed, options.brief)}; logs in {folder}")
    return 0 if verdict.holds else 1


def replay(seed: int, brief: bool) -> str:
    """The command that gives the same faults and the same users."""
    return f"make chaos ARGS='--seed {seed}{' --brief' if brief else ''}'"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 30), help="default: a new one")
    parser.add_argument("--brief", action="store_true", help="the form that runs in `make test`")
    parser.add_argument("--seconds", type=float, help="of faults; default: 900, brief 58")
    parser.add_argument("--jobs", type=int, help="default: 200, brief 30")
    parser.add_argument("--folder", type=Path, help="for logs and state; default: a new one under /tmp")
    parser.add_argument("--plan", action="store_true", help="print the faults of the seed, and do nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
