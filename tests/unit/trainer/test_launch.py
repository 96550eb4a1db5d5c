"""What the launcher decides by itself: in milliseconds, without torch, in a real process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alignment_trainer import checkpoint
from alignment_trainer.journal import Journal
from alignment_trainer.processes import cpu_count
from tests.contract.lifecycle.pods import Run


@pytest.fixture
def new_run(tmp_path):
    made = []

    def make(**run):
        made.append(Run(tmp_path / "run", {}, run, {}))
        return made[-1]

    yield make
    for run in made:
        run.end()


def fail(journal, number, checkpoint_step, class_name="Internal"):
    journal.start(number, checkpoint_step)
    journal.end(number, **{"outcome": "Failed", "class": class_name, "message": f"reason {number}", "step": 3})


def test_five_attempts_without_a_new_checkpoint_end_the_run(new_run):
    run = new_run()
    for number in range(1, 6):
        fail(Journal(run.output), number, 0)
    pod = run.start()
    assert pod.wait(60) == 82
    message = pod.message
    assert (message["class"], message["attempt"]) == ("NoProgress", 6)
    assert "reason 5" in message["message"]
    assert run.journal()[-1]["class"] == "NoProgress"


@pytest.mark.parametrize("content", [None, "contractVersion: 2\n", "contractVersion: 1\nmethod: grpo\n", "{", "[]"])
def test_a_run_file_that_cannot_be_used_is_a_user_error(new_run, content):
    run = new_run()
    path = run.config / "run.yaml"
    path.unlink() if content is None else path.write_text(content)
    pod = run.start()
    assert pod.wait(60) == 78
    assert pod.message["class"] == "UserError"
    assert "run.yaml" in pod.message["message"]


def test_an_output_folder_that_cannot_be_written_is_a_storage_error(new_run):
    run = new_run()
    run.output.write_text("a file, where the folder should be")
    pod = run.start()
    assert pod.wait(60) == 74
    assert "spec.output.volume" in pod.message["cure"]


def test_sigterm_before_anything_was_imported_is_a_preemption(new_run):
    """The launcher listens before it imports: PID 1 without a handler would ignore the signal."""
    run = new_run()
    pod = run.start()
    while not catches(pod.process.pid, signal.SIGTERM):
        pass
    pod.terminate()
    assert pod.wait(60) == 75, pod.output
    assert pod.message["outcome"] == "Preempted"
    assert "before the processes were started" in pod.message["message"]


def catches(pid, number):
    """Whether the process has a handler for the signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_another_pod_than_the_first_has_nothing_to_do_once_every_step_is_done(new_run):
    run = new_run(nodes=2, masterAddress="127.0.0.1")
    run.output.mkdir()
    (run.output / "trained").write_text("{}")
    pod = run.start(JOB_COMPLETION_INDEX="1")
    assert pod.wait(60) == 0
    assert pod.message["outcome"] == "Complete"
    assert run.journal() == []


def test_the_launcher_is_small():
    # VmHWM, not ru_maxrss: that one counts what the process was forked from, here a pytest with torch in it
    script = "import alignment_trainer.launch, sys; print(open('/proc/self/status').read())"
    script += "; assert not {'torch', 'trl', 'transformers', 'numpy'} & set(sys.modules)"
    status = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    assert int(peak) < 50 * 1024


def test_who_asks_for_help_gets_it_and_starts_no_run():
    asked = subprocess.run([sys.executable, "-m", "alignment_trainer", "--help"], capture_output=True, text=True)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "estimate recipe.yaml" in asked.stdout


def test_it_counts_the_cpus_that_the_container_may_use():
    assert 1 <= cpu_count() <= len(os.sched_getaffinity(0))


def test_the_step_of_a_complete_checkpoint_is_in_the_journal(new_run):
    run = new_run(maxAttemptsWithoutProgress=1)
    fail(Journal(run.output), 1, 7)
    path = run.output / "checkpoint-7"
    checkpoint.begin(path)
    (path / "trainer_state.json").write_text("{}")
    checkpoint.seal(path)
    pod = run.start()
    assert pod.wait(60) == 82
    assert json.loads((run.output / "attempts.jsonl").read_text().splitlines()[2])["checkpointStep"] == 7
