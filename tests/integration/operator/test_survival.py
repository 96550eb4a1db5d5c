"""Replicas come, go and are killed; a run has one Job all the same, and status tells the truth."""

import asyncio
import json
import os
import signal
import socket
import time

from alignment_operator.resources import ALIGNMENT_JOBS, JOBS, LEASES
from tests.integration.operator.conftest import condition
from tests.integration.operator.test_life import RESULT

LEADS = "leader_election_master_status"
KUBECONFIG = """apiVersion: v1
kind: Config
current-context: silent
clusters: [{name: silent, cluster: {server: "http://127.0.0.1:PORT"}}]
contexts: [{name: silent, context: {cluster: silent, user: nobody}}]
users: [{name: nobody, user: {token: none}}]
"""


async def _until(what, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_sigterm_ends_it_within_five_seconds_and_releases_the_lease(new_operator, world):
    one = new_operator().start()
    await _until(lambda: one.metric(LEADS) == 1)
    await world.apply()
    await world.job()
    code, seconds = one.end(signal.SIGTERM)
    assert code == 0
    assert seconds < 5
    lease = await world.get(LEASES, "alignment-operator")
    assert not lease["spec"].get("holderIdentity")


async def test_sigterm_ends_it_while_it_still_waits_for_an_api_server_that_does_not_answer(new_operator, tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG.replace("PORT", str(silent.getsockname()[1])))
        one = new_operator()
        one.kubeconfig = kubeconfig
        one.launch()
        await _until(lambda: one.get("/healthz") == 200)
        assert one.get("/readyz") == 503
        code, seconds = one.end(signal.SIGTERM)
    assert code == 0
    assert seconds < 5


async def test_a_second_replica_is_ready_but_idle_and_takes_over_at_once_when_the_first_stops(new_operator, world):
    first, second = new_operator().start(), None
    await _until(lambda: first.metric(LEADS) == 1)
    second = new_operator().start()
    assert second.get("/readyz") == 200
    await world.apply()
    await world.job()
    assert second.metric('controller_runtime_reconcile_total{controller="alignmentjob",result="success"}') == 0
    first.end()
    await _until(lambda: second.metric(LEADS) == 1, 5)
    await world.change(backoffLimit=9)
    await world.until(lambda o: o["spec"]["backoffLimit"] == 9, JOBS, world.child(1))


async def test_a_killed_leader_is_replaced_when_its_lease_runs_out(new_operator, world, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text("lease_seconds: 6\n")
    first = new_operator(f"--settings={settings}").start()
    await _until(lambda: first.metric(LEADS) == 1)
    second = new_operator(f"--settings={settings}").start()
    first.end(signal.SIGKILL)
    await _until(lambda: second.metric(LEADS) == 1, 30)
    await world.apply()
    await world.job()


async def test_a_leader_that_loses_its_lease_says_so_in_one_line_and_ends_with_a_code_of_its_own(
    new_operator, world, tmp_path
):
    settings = tmp_path / "settings.yaml"
    settings.write_text("lease_seconds: 6\n")
    one = new_operator(f"--settings={settings}").start()
    await _until(lambda: one.metric(LEADS) == 1)
    stolen = {"spec": {"holderIdentity": "somebody-else", "leaseDurationSeconds": 600}}
    await world.cluster.patch(LEASES, world.namespace, "alignment-operator", stolen)
    assert one.process.wait(40) == os.EX_TEMPFAIL
    text = one.log.read_text()
    (line,) = (line for line in map(json.loads, text.splitlines()) if line["level"] in ("warning", "error"))
    assert (line["level"], "no longer the leader" in line["message"]) == ("error", True)
    assert "Traceback" not in text


async def test_killed_again_and_again_while_jobs_are_made_it_makes_one_job_for_each_run(new_operator, world, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text("lease_seconds: 6\n")
    names = [f"many-{n}" for n in range(12)]
    one = new_operator(f"--settings={settings}").start()
    await _until(lambda: one.metric(LEADS) == 1)
    uids: dict[str, set[str]] = {name: set() for name in names}
    for batch in range(3):
        for name in names[batch * 4 : batch * 4 + 4]:
            await world.apply(name)
        await asyncio.sleep(0.05 * (batch + 1))  # in the middle of their writes
        one.end(signal.SIGKILL)
        for name in names:
            if job := await world.get(JOBS, f"{name}-r1"):
                uids[name].add(job["metadata"]["uid"])
        one = new_operator(f"--settings={settings}").start()
    for name in names:
        job = await world.job(f"{name}-r1")
        uids[name].add(job["metadata"]["uid"])
        assert len(uids[name]) == 1, "a Job that was there was replaced"
        await world.until(lambda o, child=f"{name}-r1": o["status"]["jobName"] == child, name=name)
        assert await world.get(JOBS, f"{name}-r2") is None


async def test_a_run_that_ends_while_the_operator_is_down_has_the_same_final_status(new_operator, world):
    one = new_operator().start()
    finals = []
    for name, down in (("watched", False), ("missed", True)):
        world.name = name
        await world.apply()
        pod = await world.pod(await world.job())
        await world.runs(pod)
        await world.until(lambda o: o["status"]["phase"] == "Running")
        if down:
            one.end()
        await world.ends(pod, 0, json.dumps({**RESULT, "outcome": "Complete"}))
        await world.job_status(world.child(1), active=0, ready=0)
        await world.job_ends(world.child(1), "Complete", "CompletionsReached", "done")
        if down:
            one.start()
        done = await world.until(lambda o: condition(o, "Complete")["status"] == "True")
        finals.append(_timeless(done["status"], name))
    assert finals[0] == finals[1]


async def test_objects_deleted_while_it_was_down_are_not_remembered(new_operator, world):
    one = new_operator().start()
    await world.apply()
    await world.job()
    one.end(signal.SIGKILL)
    for resource, name in ((ALIGNMENT_JOBS, world.name), (JOBS, world.child(1))):
        obj = await world.get(resource, name)
        await world.cluster.delete(resource, world.namespace, name, obj["metadata"]["uid"])
    one.start()
    assert one.metric('workqueue_depth{name="alignmentjob"}') == 0
    assert one.metric("alignment_operator_alignmentjobs{") == 0
    assert await world.get(JOBS, world.child(1)) is None


def _timeless(status: dict, name: str) -> dict:
    """Without what differs from run to run: times, UIDs, the name."""
    text = json.dumps(status).replace(name, "NAME")
    drop = ("lastTransitionTime", "startTime", "completionTime", "jobUID", "lastReportTime")
    return json.loads(text, object_hook=lambda o: {k: v for k, v in o.items() if k not in drop})
