"""What the commands print: one line for each step, with the seconds it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class ClusterError(Exception):
    """The cluster cannot be brought up; the message says what is wrong and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announces a step on a terminal and closes it with its duration; in a log only the closing line appears."""
    live = sys.stdout.isatty()
    if live:
        print(f"  ...    {title}", end="\r", flush=True)
    begun = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"  FAILED {title} after {time.monotonic() - begun:.1f} s")
        raise
    say(f"{time.monotonic() - begun:6.1f} s {title}")


def wait_for(what: str, ready, seconds: float, interval: float = 0.2) -> None:
    """Calls `ready` until it returns True.

    Raises:
        ClusterError: naming `what`, after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not there after {seconds:.0f} s")
        time.sleep(interval)
