"""A disk that is full: the attempt ends with 74, what was saved stays, and with more space the run goes on."""

import os
import subprocess

import pytest

from alignment_trainer import checkpoint

LAST = 40


@pytest.fixture
def mount():
    """mount(folder, size): the folder gets a file system of its own; again, to give that one another size."""
    mounted = []

    def give(folder, size):
        options = f"size={size}" + (",remount" if folder in mounted else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
        if done.returncode != 0 and not mounted:
            pytest.skip("mounting a file system needs root")
        assert done.returncode == 0, done.stderr
        mounted.append(folder)

    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    yield give
    for folder in set(mounted):
        subprocess.run(["umount", "-l", folder], check=True)


def test_the_previous_checkpoint_is_intact_and_with_more_space_the_run_goes_on(new_run, mount):
    run = new_run(max_steps=LAST, save_steps=2)
    run.output.mkdir()
    mount(run.output, "1500k")
    pod = run.start()
    assert pod.wait() == 74, pod.output[-3000:]
    assert pod.message["class"] == "StorageError"
    assert "spec.output.volume" in pod.message["cure"]
    saved = checkpoint.latest(run.output)
    assert saved is not None
    assert saved.step == pod.message["lastCheckpointStep"] < LAST
    mount(run.output, "50m")
    second = run.complete()
    assert second.message["resumedFromStep"] == saved.step
    assert second.message["step"] == LAST
