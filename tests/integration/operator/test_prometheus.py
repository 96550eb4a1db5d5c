"""A real Prometheus scrapes the operator while jobs of every kind live and die, and answers every query we ship."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from alignment_operator.cluster import connect
from alignment_operator.conditions import stamp
from alignment_operator.resources import ALIGNMENT_JOBS, CONFIG_MAPS, JOBS
from tests.integration.apiserver import ROOT, ApiServer
from tests.integration.operator.conftest import Operator, World, condition
from tests.integration.operator.test_life import RESULT
from tests.integration.operator.test_progress import EXAMPLE, Trainer
from tests.integration.prometheus import ALERTS, Prometheus, prometheus

DASHBOARD = json.loads((ROOT / "charts/alignment-operator/files/dashboard.json").read_text())
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$namespace": ".*", "$alignmentjob": ".*"}
SETTINGS = {"lease_seconds": 4, "usage": {"currency": "EUR", "prices": [{"per_hour": 3}]}}
HOUR = 3600


@dataclass(frozen=True)
class Scene:
    """One operator, one Prometheus that scrapes it, and the jobs that the tests ask about."""

    operator: Operator
    prometheus: Prometheus
    trains: World
    waits: World

    @property
    def namespace(self) -> str:
        return self.trains.namespace


def ago(seconds: float) -> str:
    return stamp(datetime.fromtimestamp(time.time() - seconds, UTC))


async def gpu_pod(world: World, seconds: float, state: dict[str, Any], phase: str) -> dict[str, Any]:
    """A pod of the first run that got its node so long ago."""
    pod = await world.pod(await world.job())
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(seconds)}
    await world.pod_status(pod, phase, state, conditions=[scheduled])
    return pod


async def trains(world: World, operator: Operator, apiserver: ApiServer) -> None:
    """Runs for a minute on one GPU, and reports."""
    await world.apply(gpusPerNode=1)
    pod = await gpu_pod(world, 60, {"running": {"startedAt": ago(50)}}, "Running")
    await world.until(lambda o: o["status"]["phase"] == "Running")
    apiserver.kubectl("create", "serviceaccount", "default", f"-n={world.namespace}", check=False)
    trainer = Trainer(operator, world, apiserver)
    trainer.pod = pod
    trainer.ca = (await world.get(CONFIG_MAPS, world.child(1)))["data"]["ca.crt"]
    assert await trainer.post(EXAMPLE) == 200
    await world.until(lambda o: o["status"]["progress"]["step"] == EXAMPLE["alignment"]["step"])


async def ends(world: World, prometheus: Prometheus, code: int, words: dict[str, Any], job: tuple[str, ...]) -> None:
    """Two GPUs for an hour, then the end; Prometheus has seen that it began."""
    await world.apply(gpusPerNode=2)
    await world.job()
    prometheus.until('min(alignment_operator_runs_finished_total{outcome=~"Complete|Failed"})', 0.0)
    ended = {"exitCode": code, "message": json.dumps(words), "startedAt": ago(HOUR - 5), "finishedAt": ago(0)}
    await gpu_pod(world, HOUR, {"terminated": ended}, "Failed" if code else "Succeeded")
    await world.job_ends(world.child(1), *job)
    await world.until(lambda o: o["status"]["phase"] in ("Complete", "Failed"))


async def is_admitted(world: World) -> None:
    """Waits in a queue for a moment; the test plays the queue, which starts the Job."""
    await world.apply(queueName="team")
    await world.until(lambda o: condition(o, "Queued")["status"] == "True")
    prometheus_sees = 1.5
    time.sleep(prometheus_sees)  # noqa: ASYNC251  (nothing else runs here)
    await world.cluster.patch(JOBS, world.namespace, world.child(1), {"spec": {"suspend": False}})
    await world.until(lambda o: condition(o, "Queued")["status"] == "False")


async def cannot_start(world: World) -> None:
    await world.apply()
    pod = await world.pod(await world.job())
    await world.pod_status(pod, "Pending", {"waiting": {"reason": "ErrImagePull", "message": "not found"}})
    await world.until(lambda o: condition(o, "Ready")["reason"] == "ImagePull")


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="module")
async def scene(
    apiserver: ApiServer, watcher: Prometheus, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    namespace, folder = f"seen-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("operator")
    apiserver.kubectl("create", "namespace", namespace)
    (folder / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
    operator = Operator(apiserver.kubeconfig, namespace, folder / "log", (f"--settings={folder / 'settings.yaml'}",))
    operator.start()
    watcher.scrape(operator.health_port)
    cluster = await connect(str(apiserver.kubeconfig))
    made = {
        name: World(cluster, namespace, name) for name in ("trains", "done", "failed", "waits", "admitted", "stuck")
    }
    await trains(made["trains"], operator, apiserver)
    await ends(made["done"], watcher, 0, {**RESULT, "outcome": "Complete"}, ("Complete", "CompletionsReached", "done"))
    await made["waits"].apply(queueName="team")
    await is_admitted(made["admitted"])
    await cannot_start(made["stuck"])
    words = {"contractVersion": 1, "outcome": "Failed", "class": "DataError", "message": "no column chosen"}
    failed = ("Failed", "PodFailurePolicy", "Container trainer failed with exit code 65")
    await ends(made["failed"], watcher, 65, words, failed)
    watcher.until('alignment_operator_run_failures_total{method="DPO", failure_class="DataError"}', 1.0)
    yield Scene(operator, watcher, made["trains"], made["waits"])
    operator.end(signal.SIGKILL)
    await cluster.close()


def panels() -> list[Any]:
    queried = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    return [pytest.param(panel, id=f"{panel['id']}-{panel['title'].replace(' ', '-')}") for panel in queried]


@pytest.mark.parametrize("panel", panels())
async def test_every_query_of_the_dashboard_gives_numbers(scene: Scene, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        expression = target["expr"].removesuffix(" or vector(0)")
        ahead = 60 if ":1m]" in expression else 0  # a subquery looks at whole minutes
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)
        found = scene.prometheus.query(expression, ahead)
        assert found, f"no series: {expression}"
        assert not all(math.isnan(float(series["value"][1])) for series in found), f"no number: {expression}"


def test_the_choices_of_the_dashboard_find_something(scene: Scene) -> None:
    for variable in DASHBOARD["templating"]["list"][1:]:
        series, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        values = scene.prometheus.api(f"label/{label}/values", **{"match[]": series.replace("$namespace", ".*")})
        assert values, variable["name"]


@pytest.mark.parametrize(
    ("series", "value"),
    [
        ('alignment_operator_alignmentjobs{phase="Running", method="DPO"}', 1),
        ('alignment_operator_alignmentjobs{phase="Complete"}', 1),
        ('alignment_operator_alignmentjobs{phase="Failed", failure_class="DataError"}', 1),
        ('alignment_operator_alignmentjobs{phase="Starting", failure_class="ImagePull"}', 1),
        ('alignment_operator_job_info{alignmentjob="stuck", reason="ImagePull"}', 1),
        ('alignment_operator_alignmentjobs{phase="Queued"}', 1),
        ('alignment_operator_gpus{method="DPO"}', 1),
        ('alignment_operator_job_step{alignmentjob="trains"}', EXAMPLE["alignment"]["step"]),
        ('alignment_operator_job_step_seconds{alignmentjob="trains"}', EXAMPLE["alignment"]["stepSeconds"]),
        ('alignment_operator_job_lost_steps{alignmentjob="trains"}', EXAMPLE["alignment"]["lostSteps"]),
        ('alignment_operator_job_tokens_per_second{alignmentjob="trains"}', EXAMPLE["alignment"]["tokensPerSecond"]),
        ('alignment_operator_job_metric{alignmentjob="trains", metric="rewards/margins"}', 0.0241),
        ('alignment_operator_queue_jobs{queue="team"}', 1),
        ('alignment_operator_queue_wait_seconds_count{queue="team"}', 1),
        ('alignment_operator_runs_finished_total{outcome="Failed"}', 1),
        ("sum(alignment_operator_lost_steps_total)", RESULT["lostSteps"]),
    ],
)
def test_series_say_what_happened(scene: Scene, series: str, value: float) -> None:
    assert scene.prometheus.value(series) == value


def test_gpu_seconds_and_their_cost_are_those_of_the_pods(scene: Scene) -> None:
    used = scene.prometheus.value("alignment_operator_gpu_seconds_total")
    assert used == pytest.approx(2 * 2 * HOUR, abs=8), "two runs of an hour on two GPUs; stamps are whole seconds"
    assert scene.prometheus.value("alignment_operator_gpu_cost_total") == pytest.approx(used * 3 / HOUR, abs=0.01)
    assert scene.prometheus.value("alignment_operator_job_gpu_seconds") >= 60


def test_prometheus_evaluates_every_alert_and_tells_of_the_failed_run(scene: Scene) -> None:
    scene.prometheus.until('count(ALERTS{alertname="AlignmentJobFailed", alertstate="firing"})', 1.0)
    groups = scene.prometheus.api("rules")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert len(rules) == sum(len(group["rules"]) for group in yaml.safe_load(ALERTS.read_text())["groups"])
    assert {rule["health"] for rule in rules.values()} == {"ok"}, [rule.get("lastError") for rule in rules.values()]
    assert [a["labels"]["namespace"] for a in rules["AlignmentJobFailed"]["alerts"]] == [scene.namespace]


def test_series_of_single_jobs_are_those_of_jobs_that_are_not_over(scene: Scene) -> None:
    found = scene.prometheus.query("count by (__name__, alignmentjob) ({alignmentjob!=''})")
    assert {series["metric"]["alignmentjob"] for series in found} == {"trains", "waits", "admitted", "stuck"}
    assert sum(series["metric"]["alignmentjob"] == "waits" for series in found) == 1, "its job_info and no more"


async def test_a_restart_changes_nothing_that_is_read_from_the_cluster(scene: Scene) -> None:
    durable = '{__name__=~"alignment_operator_(alignmentjobs|gpus|job_step|queue_jobs)"}'
    seen = scene.prometheus.query(durable)
    status = (await scene.trains.get_job())["status"]["usage"]
    scene.operator.end(signal.SIGKILL)
    scene.operator.start()
    scene.prometheus.until('leader_election_master_status{name="alignment-operator"}', 1.0)
    scene.prometheus.until(
        'count({__name__=~"alignment_operator_(alignmentjobs|gpus|job_step|queue_jobs)"})', len(seen)
    )
    again = scene.prometheus.query('{__name__=~"alignment_operator_(alignmentjobs|gpus|job_step|queue_jobs)"}')
    assert [(s["metric"], s["value"][1]) for s in again] == [(s["metric"], s["value"][1]) for s in seen]
    assert (await scene.trains.get_job())["status"]["usage"] == status, "nothing is counted twice"
    assert scene.prometheus.value("alignment_operator_gpu_seconds_total") in (None, 0.0), "a counter begins anew"


def exposition(operator: Operator) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.health_port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_promtool_has_nothing_against_names_units_and_texts(scene: Scene) -> None:
    text = exposition(scene.operator)
    assert "alignment_operator_job_info{" in text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_replica_that_does_not_lead_tells_nothing_of_jobs(scene: Scene, tmp_path: Path) -> None:
    second = Operator(scene.operator.kubeconfig, scene.namespace, tmp_path / "log").start()
    try:
        text = exposition(second)
    finally:
        second.end(signal.SIGKILL)
    assert 'leader_election_master_status{name="alignment-operator"} 0.0' in text
    assert "alignment_operator_alignmentjobs{" not in text
    assert "alignmentjob=" not in text


async def test_the_series_of_a_deleted_job_vanish_at_the_next_scrape(scene: Scene) -> None:
    job = await scene.trains.get_job()
    await scene.trains.cluster.delete(ALIGNMENT_JOBS, scene.namespace, scene.trains.name, job["metadata"]["uid"])
    scene.prometheus.until('count({alignmentjob="trains"})', None, seconds=10)
    scene.prometheus.until("alignment_operator_gpus", None, seconds=10)
