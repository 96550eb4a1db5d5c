"""A shifted clock shifts what Python reads of it, also while the process runs, and not the monotonic one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import json, os, pathlib, signal, sys, time
from tests.chaos import skewed
file = pathlib.Path(sys.argv[1])
skewed.install(file)
import datetime
from datetime import UTC, date
true = skewed._true_time
def seen():
    now = datetime.datetime
    aware = [now.now(UTC), now.now(), now.utcnow().replace(tzinfo=UTC), now.fromtimestamp(time.time())]
    times = [time.time(), time.time_ns() / 1e9, *(each.timestamp() for each in aware)]
    times += [float(time.strftime("%s")), time.mktime(time.localtime())]
    return [round((each - true()) / 10) * 10 for each in times]
first = seen()
file.write_text("-600")
os.kill(os.getpid(), signal.SIGUSR1)
now = datetime.datetime.now(UTC)
parsed = datetime.datetime.fromisoformat("2026-01-01T00:00:00+00:00")
same = [isinstance(each, datetime.datetime) for each in (now, parsed)] + [now - parsed > datetime.timedelta()]
print(json.dumps([first, seen(), same, date.today() is not None, time.monotonic()]))
"""


def test_every_way_to_read_the_wall_clock_is_shifted_and_the_monotonic_clock_is_not(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    file.write_text("120")
    command = [sys.executable, "-c", PROGRAM, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, same, comparable, monotonic = json.loads(done.stdout)
    assert first == [120] * 8
    assert second == [-600] * 8
    assert all(same)
    assert comparable
    assert abs(monotonic - time.monotonic()) < 10
