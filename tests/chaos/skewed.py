"""`python -m tests.chaos.skewed FILE run ...`: the operator with a clock that is as many seconds off as FILE says.

SIGUSR1 makes it read FILE again: the clock jumps in a running process, as it does when NTP sets it.

Shifted is what Python code reads of the wall clock: time.time, time.time_ns, time.gmtime and time.localtime without an
argument, time.strftime without one, datetime.now, datetime.utcnow, date.today. Not shifted: the monotonic clock (that
is the point), OpenSSL's check of certificates, and what the kernel stamps on files.
"""

from __future__ import annotations

import datetime as module
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_true_time, _true_time_ns = time.time, time.time_ns
_shift = 0.0


def _read(file: Path) -> None:
    global _shift
    _shift = float(file.read_text() or 0)


def _at(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda seconds=None: function(time.time() if seconds is None else seconds)


class _Kind(type):
    """What the true classes made counts as made by the shifted ones."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__mro__[1])


class _Datetime(module.datetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: module.tzinfo | None = None) -> module.datetime:  # type: ignore[override]
        return _TrueDatetime.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> module.datetime:  # type: ignore[override]
        return _TrueDatetime.fromtimestamp(time.time(), module.UTC).replace(tzinfo=None)


class _Date(module.date, metaclass=_Kind):
    @classmethod
    def today(cls) -> module.date:  # type: ignore[override]
        return _TrueDate.fromtimestamp(time.time())


_TrueDatetime, _TrueDate = module.datetime, module.date


def install(file: Path) -> None:
    """Shift this process's clock from now on; before anything imports datetime's classes."""
    _read(file)
    signal.signal(signal.SIGUSR1, lambda *_: _read(file))
    time.time = lambda: _true_time() + _shift
    time.time_ns = lambda: _true_time_ns() + int(_shift * 1e9)
    strftime = time.strftime
    time.gmtime, time.localtime = _at(time.gmtime), _at(time.localtime)
    time.strftime = lambda form, when=None: strftime(form, time.localtime() if when is None else when)
    module.datetime, module.date = _Datetime, _Date  # type: ignore[misc]


if __name__ == "__main__":
    install(Path(sys.argv[1]))
    sys.argv = ["alignment_operator", *sys.argv[2:]]
    runpy.run_module("alignment_operator", run_name="__main__", alter_sys=True)
