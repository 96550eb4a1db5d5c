"""`make test`: every kind of check, in three lanes side by side: one mostly computes, the others mostly wait.

Each line is printed as it comes, under the name of its check. All checks run, also after one has failed: one run tells
everything that is wrong, and its last lines, which are all that some CI systems keep, say which tests failed and why.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

# From nothing, most of the time is Go's compiler, so what waits longest comes first: the cluster, whose tests then wait
# for pods while the others compute. The first lane begins with what needs nothing but Python.
LANES = (("lint", "types", "unit", "contract"), ("cluster", "e2e"), ("verify", "integration", "chart"))
# `verify` builds, from nothing, the other programs that tests need; with everything built both take a minute at most.
AFTER = {"verify": "cluster", "contract": "verify"}
# How pytest begins the lines that say what failed (its summary's, and the exception's own).
WHY = ("FAILED ", "ERROR ", "E   ")
LINES_OF_WHY = 24


@dataclass
class Run:
    """What has been seen of every check: seconds, and who failed. Every lane's thread writes it."""

    lanes: tuple[tuple[str, ...], ...] = LANES
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    why: dict[str, list[str]] = field(default_factory=dict)
    printing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.ended = {check: threading.Event() for lane in self.lanes for check in lane}

    def lane(self, checks: tuple[str, ...]) -> None:
        for check in checks:
            if first := AFTER.get(check):
                self.ended[first].wait()
            start = time.monotonic()
            self.say(check, "begins")
            if self._check(check) != 0:
                self.failed.append(check)
            self.seconds[check] = time.monotonic() - start
            self.ended[check].set()
            self.say(check, f"{'FAILED' if check in self.failed else 'passed'} after {self.seconds[check]:.0f} s")

    def say(self, check: str, line: str) -> None:
        with self.printing:
            print(f"{check:<11} | {line}", flush=True)

    def _check(self, check: str) -> int:
        command = ["make", "--no-print-directory", check]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                self.say(check, line.rstrip())
                if line.startswith(WHY):
                    self.why.setdefault(check, []).append(line.rstrip())
        return process.returncode


def verdict(run: Run, seconds: float) -> Iterator[str]:
    """The lines at the end: a table of the checks, and of each that failed what pytest said of it."""
    yield f"\n{len(run.seconds)} kinds of checks in {seconds:.0f} s:"
    for check, took in run.seconds.items():
        yield f"  {check:<11} {took:6.0f} s  {'FAILED' if check in run.failed else 'passed'}"
    for check in run.failed:
        yield f"\n{check} FAILED:"
        yield from (f"  {line}" for line in run.why.get(check, ["see its lines above"])[-LINES_OF_WHY:])
    yield "\nThe cluster is still up: `make down` removes it."


def main() -> int:
    begun, run = time.monotonic(), Run()
    lanes = [threading.Thread(target=run.lane, args=(checks,), daemon=True) for checks in LANES]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    print(*verdict(run, time.monotonic() - begun), sep="\n")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
