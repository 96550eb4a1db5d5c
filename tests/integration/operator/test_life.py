"""The life of an AlignmentJob: what the operator makes, and what status says, step by step."""

import json
from pathlib import Path

from alignment_operator.resources import ALIGNMENT_JOBS, CLAIMS, CONFIG_MAPS, EVENTS, JOBS, SERVICES
from tests.integration.operator.conftest import condition

ROOT = Path(__file__).resolve().parents[3]
RESULT = json.loads((ROOT / "docs/contract/termination.example.json").read_text())


async def test_an_alignment_job_gets_a_config_map_and_a_job_that_it_owns(shared_operator, world):
    made = await world.apply()
    job = await world.job()
    config = await world.get(CONFIG_MAPS, world.child(1))
    for child in (job, config):
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("AlignmentJob", made["metadata"]["uid"], True)
    assert config["immutable"] is True
    assert "BEGIN CERTIFICATE" in config["data"]["ca.crt"]
    assert await world.get(SERVICES, world.child(1)) is None


async def test_several_nodes_get_a_headless_service(shared_operator, world):
    metadata = {"namespace": world.namespace, "name": "shared"}
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    manifest = {"apiVersion": "v1", "kind": CLAIMS.kind, "metadata": metadata, "spec": claim}
    await world.cluster.create(CLAIMS, manifest)
    await world.apply(nodes=2, output={"volume": {"persistentVolumeClaim": {"claimName": "shared"}}})
    await world.job()
    service = await world.get(SERVICES, world.child(1))
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True


async def test_every_condition_is_written_at_the_first_reconcile(shared_operator, world):
    await world.apply()
    job = await world.until(lambda o: o["status"]["jobName"])
    kinds = {c["type"] for c in job["status"]["conditions"]}
    assert kinds >= {"Accepted", "Queued", "Suspended", "Running", "Complete", "Failed", "Ready"}
    assert all(c["observedGeneration"] == 1 for c in job["status"]["conditions"])
    assert job["status"]["observedGeneration"] == 1
    assert job["metadata"].get("finalizers") is None
    assert job["metadata"].get("annotations") is None


async def test_a_run_goes_from_starting_over_running_to_complete(shared_operator, world):
    await world.apply()
    job = await world.job()
    pod = await world.pod(job)
    await world.job_status(world.child(1), active=1, ready=0)
    await world.runs(pod)
    await world.job_status(world.child(1), active=1, ready=1)
    running = await world.until(lambda o: condition(o, "Running")["status"] == "True")
    assert running["status"]["phase"] == "Running"
    await world.ends(pod, 0, json.dumps({**RESULT, "outcome": "Complete"}))
    await world.job_status(world.child(1), active=0, ready=0)
    await world.job_ends(world.child(1), "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    done = await world.until(lambda o: condition(o, "Complete")["status"] == "True")
    assert done["status"]["result"]["step"] == RESULT["step"]
    assert done["status"]["completionTime"]
    assert done["status"]["phase"] == "Complete"


async def test_a_failed_run_names_its_class_and_stalls(shared_operator, world):
    await world.apply()
    pod = await world.pod(await world.job())
    await world.ends(
        pod,
        65,
        json.dumps({"contractVersion": 1, "outcome": "Failed", "class": "DataError", "message": "no column chosen"}),
    )
    await world.job_ends(world.child(1), "Failed", "PodFailurePolicy", "Container trainer failed with exit code 65")
    failed = await world.until(lambda o: condition(o, "Failed")["status"] == "True")
    assert failed["status"]["failure"]["class"] == "DataError"
    assert failed["status"]["failure"]["cure"]
    assert condition(failed, "Stalled")["status"] == "True"


async def test_nothing_is_written_when_nothing_changes(shared_operator, world):
    await world.apply()
    job = await world.job()
    pod = await world.pod(job)
    await world.runs(pod)
    await world.until(lambda o: o["status"]["phase"] == "Running")
    version = await world.quiet()
    before = shared_operator.metric('controller_runtime_reconcile_total{controller="alignmentjob",result="success"}')
    # Three events that mean nothing, and one that makes it reconcile without a change of status.
    for value in ("1", "2", "3"):
        patch = {"metadata": {"annotations": {"note": value}}}
        await world.cluster.patch(JOBS, world.namespace, world.child(1), patch)
    await world.job_status(world.child(1), terminating=0)
    assert await world.quiet() == version
    after = shared_operator.metric('controller_runtime_reconcile_total{controller="alignmentjob",result="success"}')
    assert after - before <= 1


async def test_a_job_deleted_by_hand_is_made_again_for_the_same_run(shared_operator, world):
    await world.apply()
    job = await world.job()
    pod = await world.pod(job)
    await world.runs(pod)
    first = await world.until(lambda o: o["status"]["jobUID"] and o["status"]["phase"] == "Running")
    config = await world.get(CONFIG_MAPS, world.child(1))
    await world.cluster.delete(JOBS, world.namespace, world.child(1), job["metadata"]["uid"])
    await world.until(lambda o: "Pods" in json.dumps(o["status"]["conditions"]))
    assert await world.get(JOBS, world.child(1)) is None, (
        "a pod of the run still runs: two attempts would write one folder"
    )
    await world.ends(pod, 75)
    again = await world.until(lambda o: o["status"]["jobUID"] != first["status"]["jobUID"])
    assert again["status"]["run"] == 1
    assert (await world.get(CONFIG_MAPS, world.child(1)))["metadata"]["uid"] == config["metadata"]["uid"]


async def test_a_new_rerun_token_stops_the_live_run_and_starts_the_next(shared_operator, world):
    await world.apply()
    pod = await world.pod(await world.job())
    await world.runs(pod)
    await world.until(lambda o: o["status"]["phase"] == "Running")
    await world.change(rerun="again", dpo={"beta": 0.2})
    await world.gone(JOBS, world.child(1))
    assert await world.get(JOBS, world.child(2)) is None
    await world.ends(pod, 75)
    await world.job(world.child(2))
    now = await world.until(lambda o: o["status"]["jobName"] == world.child(2))
    assert (now["status"]["run"], now["status"]["rerun"]) == (2, "again")
    assert [(r["run"], r["outcome"]) for r in now["status"]["runs"]] == [(1, "Replaced")]
    assert "0.2" in (await world.get(CONFIG_MAPS, world.child(2)))["data"]["recipe.yaml"]


async def test_suspend_holds_back_the_first_job_and_later_suspends_it(shared_operator, world):
    await world.apply(suspend=True)
    await world.until(lambda o: condition(o, "Suspended")["status"] == "True")
    assert await world.get(JOBS, world.child(1)) is None
    await world.change(suspend=False)
    await world.job()
    await world.until(lambda o: condition(o, "Suspended")["status"] == "False")
    await world.change(suspend=True)
    await world.until(lambda o: o["spec"]["suspend"], JOBS, world.child(1))


async def test_changes_that_a_live_run_takes_reach_its_job(shared_operator, world):
    await world.apply()
    await world.job()
    await world.change(backoffLimit=7, activeDeadlineSeconds=1000)
    await world.until(lambda o: o["spec"]["backoffLimit"] == 7, JOBS, world.child(1))
    job = await world.until(lambda o: o["spec"]["activeDeadlineSeconds"] == 1000, JOBS, world.child(1))
    assert job["metadata"]["generation"] >= 2


async def test_the_child_is_deleted_after_its_time_and_the_status_stays(shared_operator, world):
    await world.apply(ttlSecondsAfterFinished=1)
    job = await world.job()
    assert "ttlSecondsAfterFinished" not in job["spec"]
    pod = await world.pod(job)
    await world.ends(pod, 0, json.dumps({**RESULT, "outcome": "Complete"}))
    await world.job_ends(world.child(1), "Complete", "CompletionsReached", "done")
    await world.gone(JOBS, world.child(1))
    version = await world.quiet()
    done = await world.get(ALIGNMENT_JOBS, world.name)
    assert done["status"]["phase"] == "Complete"
    assert done["metadata"]["resourceVersion"] == version
    assert await world.get(JOBS, world.child(1)) is None, "a run that ended is never made again"


async def test_from_job_waits_for_the_upstream_and_mounts_its_output(shared_operator, world):
    await world.apply("next", model={"fromJob": "first"})
    waiting = await world.until(lambda o: condition(o, "Ready")["reason"] == "WaitingForJob", name="next")
    assert "does not exist" in json.dumps(waiting["status"]["conditions"])
    await world.apply("first")
    pod = await world.pod(await world.job("first-r1"))
    await world.ends(pod, 0, json.dumps({**RESULT, "outcome": "Complete"}))
    assert await world.get(JOBS, "next-r1") is None
    await world.job_ends("first-r1", "Complete", "CompletionsReached", "done")
    job = await world.job("next-r1")
    mounts = job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert any(m["mountPath"] == "/from-job" and m["readOnly"] for m in mounts)


async def test_what_the_api_server_refuses_in_the_job_is_told_and_can_be_mended(shared_operator, world):
    bad = {"spec": {"tolerations": [{"key": "a", "operator": "Nonsense"}]}}
    await world.apply(podTemplate=bad)
    refused = await world.until(lambda o: condition(o, "Accepted")["status"] == "False")
    assert condition(refused, "Accepted")["reason"] == "PodInvalid"
    assert "Nonsense" in condition(refused, "Accepted")["message"]
    assert "jobName" not in refused["status"]
    assert await world.quiet()
    await world.change(podTemplate={"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}})
    await world.job()
    mended = await world.until(lambda o: condition(o, "Accepted")["status"] == "True")
    assert mended["status"]["run"] == 1


async def test_a_job_that_is_not_ours_is_never_taken_over(shared_operator, world):
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    meta = {"namespace": world.namespace, "name": world.child(1)}
    await world.cluster.create(
        JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": template}}
    )
    await world.apply()
    taken = await world.until(lambda o: condition(o, "Accepted")["status"] == "False")
    assert condition(taken, "Accepted")["reason"] == "NameTaken"
    job = await world.get(JOBS, world.child(1))
    assert "ownerReferences" not in job["metadata"]


async def test_why_pods_are_not_made_is_read_from_the_jobs_event(shared_operator, world):
    await world.apply()
    job = await world.job()
    about = {"apiVersion": "batch/v1", "kind": "Job", "namespace": world.namespace, "name": world.child(1)}
    await world.cluster.create(
        EVENTS,
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": world.namespace, "name": world.child(1) + ".1"},
            "involvedObject": {**about, "uid": job["metadata"]["uid"]},
            "reason": "FailedCreate",
            "message": 'Error creating: pods "x-0" is forbidden: exceeded quota: small',
            "type": "Warning",
        },
    )
    told = await world.until(lambda o: "exceeded quota" in json.dumps(o["status"]))
    assert condition(told, "Ready")["status"] == "False"
    assert condition(told, "Ready")["reason"] == "PodRefused"
