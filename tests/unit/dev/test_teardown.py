"""What `make down` reads while pods end under it."""

import shutil
import threading
from pathlib import Path

import pytest

from dev.cluster import teardown


def test_pods_that_end_meanwhile_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubelet and systemd remove the cgroups of pods that have ended."""
    monkeypatch.setattr(teardown, "_groups", lambda: [tmp_path])
    stays = tmp_path / "stays"
    stays.mkdir()
    (stays / "cgroup.procs").write_text("17\n42\n")
    done = threading.Event()

    def pods_come_and_go() -> None:
        while not done.is_set():
            for number in range(20):
                (tmp_path / f"pod-{number}" / "container").mkdir(parents=True, exist_ok=True)
            for number in range(20):
                shutil.rmtree(tmp_path / f"pod-{number}", ignore_errors=True)

    thread = threading.Thread(target=pods_come_and_go)
    thread.start()
    try:
        seen = [teardown._pod_processes() for _ in range(500)]
    finally:
        done.set()
        thread.join()
    assert all(pids == {17, 42} for pids in seen)
