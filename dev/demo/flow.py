"""The whole demonstration: cluster, images, chart, data, an AlignmentJob, and what it learned."""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from dev.cluster import bring_up
from dev.cluster.layout import here
from dev.cluster.report import ClusterError, say, step
from dev.images import build as images

from . import manifests, volumes
from .fetch import MODEL, PREFERENCES, fetch
from .kubectl import apply, get, helm, kubectl
from .manifests import FILES, NAMESPACE
from .watch import follow

ROOT = here().root
EXAMPLE = ROOT / "examples" / "smollm2-dpo-qlora.yaml"
JOB = "smollm2-dpo-qlora"
RELEASE = "alignment-operator"
JOB_SECONDS = 1500  # 20 steps are 3 minutes on two idle cores
MARGIN = "margin"


def run() -> None:
    """Everything from an empty machine to the printed margins; each part is skipped where it is already done.

    Raises:
        ClusterError: what failed and why.
    """
    begun = time.monotonic()
    say("A cluster on this machine")
    bring_up.up(here())
    say("Images of the operator and the trainer")
    operator, trainer = images.push("operator"), images.push("trainer")
    say("The operator, from its chart")
    install(operator, trainer)
    say("A real model and real preference pairs, on a volume")
    volumes.prepare(operator)
    volumes.fill(fetch())
    say(f"An AlignmentJob: {EXAMPLE.relative_to(ROOT)}")
    job = json.loads(kubectl("-n", NAMESPACE, "create", "--dry-run=client", "-o", "json", "-f", str(EXAMPLE)))
    status = follow(JOB, apply_example(job), JOB_SECONDS)
    say("What came of it")
    show(status, trainer, job["spec"]["dpo"])
    say(f"Done in {time.monotonic() - begun:.0f} s. The cluster is still up: `make down` removes it.")


def install(operator: str, trainer: str) -> None:
    """Installs or upgrades the chart with the two images and waits until the operator is ready."""
    values = []
    for key, image in (("image", operator), ("trainer.image", trainer)):
        repository, _, tag = image.rpartition(":")
        # a content tag may be all digits, which `--set` takes for a number
        values += ["--set-string", f"{key}.repository={repository},{key}.tag={tag}"]
    # A demonstration is watched: status follows each report.
    values += ["--set", "settings.progress.report_seconds=2,settings.progress.write_seconds=2"]
    with step(f"helm upgrade --install {RELEASE}"):
        chart = str(ROOT / "charts" / "alignment-operator")
        where = ["--namespace", RELEASE, "--create-namespace", "--wait", "--timeout", "180s"]
        helm("upgrade", "--install", RELEASE, chart, *where, *values)


def apply_example(job: dict[str, Any]) -> str:
    """Applies the example, with a new `rerun` where it ran before, so that there is a run to watch; returns `rerun`."""
    before = get(NAMESPACE, "alignmentjob", JOB)
    rerun = f"demo-{int(time.time())}" if before and before.get("status", {}).get("jobName") else ""
    if rerun:  # in the same write: a changed spec is accepted only with a changed rerun
        job["spec"]["rerun"] = rerun
    apply(NAMESPACE, job)
    return rerun


def show(status: dict[str, Any], trainer: str, dpo: dict[str, Any]) -> None:
    """Prints the object, the adapter's place, its margin on held-out pairs, and the command that copies it."""
    say(kubectl("-n", NAMESPACE, "get", "alignmentjobs").rstrip())
    path = status["outputPath"]
    say(f"         the adapter is on claim {manifests.OUTPUT}, at {path}")
    with step("load the adapter in a container and measure it on held-out pairs"):
        measured = measure(path, trainer, dpo)
    for text in learned(measured, dpo["beta"]):
        say(f"         {text}")
    say(f"         copied by this command, which was just run:\n           {copy(path)}")


def learned(measured: dict[str, Any], beta: float) -> list[str]:
    """What margin.py found, as lines for a reader."""
    pairs, preferred = measured["pairs"], measured["preferred"]
    rows = [
        ("log p(chosen) - log p(rejected), mean", f"{measured['before']:.4f}", f"{measured['after']:.4f}"),
        (f"reward margin (beta {beta}), mean", "0", f"{measured['margin']:+.4f}"),
        ("pairs with a positive reward margin", "0", f"{preferred} of {pairs}"),
    ]
    return [
        f"{f'on {pairs} held-out pairs':<40}{'before':>12}{'after':>12}",
        *(f"{name:<40}{before:>12}{after:>12}" for name, before, after in rows),
        "(before training the policy is the reference: the reward margin is 0 by definition)",
    ]


def measure(path: str, trainer: str, dpo: dict[str, Any]) -> dict[str, Any]:
    """Runs margin.py as a Job with the trainer image and returns what it printed."""
    kubectl("-n", NAMESPACE, "delete", "job", MARGIN, "--ignore-not-found", "--wait=true")
    script = (Path(__file__).parent / "margin.py").read_text()
    pairs = f"/cache/{PREFERENCES}/test.jsonl"
    arguments = [f"/cache/{MODEL}", path, pairs, str(dpo["beta"]), str(dpo["maxLength"])]
    apply(NAMESPACE, *manifests.script_job(MARGIN, trainer, script, arguments))
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        state = (get(NAMESPACE, "job", MARGIN) or {}).get("status", {})
        if state.get("succeeded") or state.get("failed"):
            break
        time.sleep(1)
    logs = kubectl("-n", NAMESPACE, "logs", f"job/{MARGIN}", "--tail=20")
    if not state.get("succeeded"):
        raise ClusterError(f"job {MARGIN} in {NAMESPACE} did not succeed:\n{logs}")
    printed = [line for line in logs.splitlines() if line.startswith("{")]  # warnings of libraries come between
    result: dict[str, Any] = json.loads(printed[-1])
    return result


def copy(path: str) -> str:
    """Tests the copy command in a folder that is thrown away; returns the command for the user's own."""
    with tempfile.TemporaryDirectory(prefix="alignment-adapter-") as folder:
        subprocess.run(["/bin/sh", "-ec", _copy_command(path, folder)], check=True, cwd=ROOT, capture_output=True)
        if not (Path(folder) / "adapter_model.safetensors").exists():
            raise ClusterError(f"the copy of {path} holds no adapter")
    return _copy_command(path, "adapter")


def _copy_command(path: str, folder: str) -> str:
    client = ".cluster/bin/kubectl --kubeconfig .cluster/kubeconfig"
    return f"{client} -n {NAMESPACE} cp --retries=3 {FILES}:{path} {folder}"
