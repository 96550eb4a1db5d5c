"""How a run ended: the culprit's class, the trainer's words, and what is final."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alignment_operator.runs import Decision
from alignment_operator.settings import Settings
from alignment_operator.status import StatusResult, compute
from tests.unit.operator.builders import NOW, Job, Pod, alignment_job, at, observed, said

CONTRACT = Path(__file__).parents[3] / "docs/contract"
EXAMPLE: dict[str, Any] = json.loads((CONTRACT / "termination.example.json").read_text())
STARTED = {"run": 1, "jobName": "demo-r1", "outputPath": "/output/x"}
LATER = timedelta(minutes=1)  # beyond the time that a Job's pods may lag behind it


def ended(child: Job, *pods: Pod, status: dict[str, Any] | None = None, after: timedelta = timedelta()) -> StatusResult:
    job = alignment_job(status={**STARTED, **(status or {})})
    return compute(job, observed(child, *pods), Decision(run=1), NOW + after, Settings())


def condition(result: StatusResult, kind: str) -> dict[str, Any]:
    return next(c for c in result.status["conditions"] if c["type"] == kind)


def failed_with(code: int, message: str | dict[str, Any] = "", reason: str = "") -> Pod:
    return Pod().exited(code, message, reason)


NEVER = [(78, "UserError"), (65, "DataError"), (66, "ModelUnavailable"), (77, "AccessDenied"), (80, "GpuOutOfMemory")]
NEVER += [(81, "Diverged"), (82, "NoProgress")]
COUNTED = [(69, "Infrastructure"), (70, "Internal"), (1, "Internal"), (71, "Infrastructure"), (134, "Infrastructure")]
COUNTED += [(139, "Infrastructure"), (74, "StorageError"), (83, "Hung"), (137, "Killed"), (99, "Internal")]


@pytest.mark.parametrize(("code", "kind"), NEVER)
def test_what_may_not_be_retried_fails_the_run_with_its_class(code: int, kind: str) -> None:
    result = ended(Job().failed("PodFailurePolicy"), failed_with(code))
    failure = result.status["failure"]
    assert (failure["class"], failure["exitCode"], failure["retryable"]) == (kind, code, False)
    assert condition(result, "Failed")["reason"] == kind


@pytest.mark.parametrize(("code", "kind"), COUNTED)
def test_the_last_failure_that_counted_is_told_when_the_limit_is_reached(code: int, kind: str) -> None:
    pods = [Pod(attempt="a").exited(70, seconds=-90), Pod(attempt="b").exited(code, seconds=-5)]
    result = ended(Job().failed("BackoffLimitExceeded", count=4), *pods)
    failure = result.status["failure"]
    assert (failure["class"], failure["exitCode"], failure["retryable"]) == (kind, code, True)
    assert "spec.backoffLimit (3)" in failure["message"]


def test_the_oom_killer_is_told_from_other_kills() -> None:
    result = ended(Job().failed("BackoffLimitExceeded"), failed_with(137, reason="OOMKilled"))
    assert result.status["failure"]["class"] == "HostOutOfMemory"
    assert "spec.resources.limits.memory" in result.status["failure"]["cure"]


def test_the_culprits_class_is_kept_although_its_peers_ended_later_with_75() -> None:
    culprit = Pod(1).exited(80, said("Failed", 80, **{"class": "GpuOutOfMemory", "message": "Batch of 8."}), seconds=-9)
    pods = [Pod(0).exited(75, seconds=-3), culprit, Pod(2).exited(75, seconds=-2)]
    failure = ended(Job().failed("PodFailurePolicy"), *pods).status["failure"]
    assert (failure["class"], failure["exitCode"], failure["message"]) == ("GpuOutOfMemory", 80, "Batch of 8.")


def test_the_first_of_two_culprits_is_told() -> None:
    pods = [Pod(0).exited(81, seconds=-3), Pod(1).exited(80, seconds=-9)]
    assert ended(Job().failed("PodFailurePolicy"), *pods).status["failure"]["class"] == "GpuOutOfMemory"


def test_the_trainers_words_and_cure_are_the_users() -> None:
    words = {"class": "DataError", "message": "Column `chosen` is missing.", "cure": "Rename it in spec.dataset."}
    failure = ended(Job().failed("PodFailurePolicy"), failed_with(65, said("Failed", 65, **words))).status["failure"]
    assert failure["message"] == "Column `chosen` is missing."
    assert failure["cure"] == "Rename it in spec.dataset. To try again, change spec.rerun."


@pytest.mark.parametrize("cure", ["Rename it in spec.dataset.", "Rename it in spec.dataset", "Change spec.rerun."])
def test_a_failed_run_says_what_to_do_in_its_condition_and_names_the_next_run_once(cure: str) -> None:
    pod = failed_with(65, said("Failed", 65, **{"class": "DataError", "message": "A column is missing", "cure": cure}))
    result = ended(Job().failed("PodFailurePolicy"), pod)
    failure, message = result.status["failure"], condition(result, "Failed")["message"]
    assert message == f"A column is missing. {failure['cure']}"
    assert message.count("spec.rerun") == 1
    assert ".." not in message


def test_what_follows_another_programs_words_begins_a_new_sentence() -> None:
    words = {"class": "StorageError", "message": "[enforce fail] . unexpected pos 473536 vs 473424"}
    pod = failed_with(74, said("Failed", 74, **words))
    failure = ended(Job().failed("BackoffLimitExceeded"), pod).status["failure"]
    assert failure["message"].startswith("[enforce fail] . unexpected pos 473536 vs 473424. It was the last of 1")


def test_without_the_trainers_cure_the_class_has_one() -> None:
    message = said("Failed", 65, **{"class": "DataError", "message": "No rows."})
    failure = ended(Job().failed("PodFailurePolicy"), failed_with(65, message)).status["failure"]
    assert "spec.dataset" in failure["cure"]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param("", "ended with exit code 70", id="none"),
        pytest.param("Traceback\nImportError: no module", "Its log ends with: ImportError: no module", id="log"),
        pytest.param('{"contractVersion": 2, "message": "x"}', "ended with exit code 70", id="a-version-of-tomorrow"),
        pytest.param("{broken", "ended with exit code 70", id="cut-off"),
        pytest.param("[1, 2]", "ended with exit code 70", id="no-object"),
    ],
)
def test_a_pod_without_a_message_of_ours_still_says_something(message: str, words: str) -> None:
    failure = ended(Job().failed("BackoffLimitExceeded"), failed_with(70, message)).status["failure"]
    assert words in failure["message"]
    assert failure["class"] == "Internal"


def test_a_class_that_contradicts_the_exit_code_does_not_change_what_kubernetes_did() -> None:
    words = said("Failed", 70, **{"class": "UserError", "message": "m"})
    assert ended(Job().failed("BackoffLimitExceeded"), failed_with(70, words)).status["failure"]["class"] == "Internal"


def test_the_deadline_is_a_class_of_its_own() -> None:
    result = ended(Job().deadline(3600).failed("DeadlineExceeded"), failed_with(75))
    failure = result.status["failure"]
    assert (failure["class"], failure["retryable"]) == ("Deadline", False)
    assert "3600 s" in failure["message"]
    assert "spec.activeDeadlineSeconds" in failure["cure"]


def test_a_failed_job_whose_pods_are_gone_is_told_by_its_own_words() -> None:
    text = "Container trainer for pod team-a/demo-r1-0-x failed with exit code 66 matching FailJob rule at index 1"
    failure = ended(Job().failed("PodFailurePolicy", text), after=LATER).status["failure"]
    assert (failure["class"], failure["exitCode"]) == ("ModelUnavailable", 66)


@pytest.mark.parametrize("child", [Job().complete(), Job().failed("PodFailurePolicy")], ids=["complete", "failed"])
def test_a_jobs_end_waits_a_moment_for_its_pods_end(child: Job) -> None:
    """Two watches deliver in any order, and what is written then is final."""
    result = ended(child, Pod().running())
    assert result.status["phase"] == "Running"
    assert result.look_again == pytest.approx(5)
    assert ended(child, Pod().running(), after=LATER).status["phase"] in ("Complete", "Failed")


def test_the_result_is_the_termination_message() -> None:
    result = ended(Job().complete(seconds=-2), Pod().exited(0, EXAMPLE))
    got = result.status["result"]
    assert (got["outcome"], got["step"], got["totalSteps"], got["lostSteps"]) == ("Complete", 20, 20, 1)
    assert got["outputPath"] == "/output/x"
    assert {"name": "rewards/margins", "value": "0.11"} in got["metrics"]
    assert got["artifacts"] == {"adapter": "."}
    assert result.status["completionTime"] == at(-2)
    assert condition(result, "Complete")["message"] == EXAMPLE["message"]


def test_progress_is_taken_over_at_the_end_although_the_last_report_was_lost() -> None:
    before = {"progress": {"run": 1, "step": 7, "tokensPerSecond": 512.4, "phase": "Training"}}
    result = ended(Job().complete(seconds=-2), Pod().exited(0, EXAMPLE), status=before)
    assert result.take_over_progress
    progress = result.status["progress"]
    assert (progress["step"], progress["percentage"], progress["phase"]) == (20, 100, "Finished")
    assert (progress["tokensPerSecond"], progress["lastReportTime"]) == (512.4, at(-2))
    assert {"name": "loss", "value": "0.6421"} in result.status["metrics"]


def test_a_run_that_stopped_early_did_not_do_all() -> None:
    result = ended(Job().complete(), Pod().exited(0, said("StoppedEarly", step=5, totalSteps=20)))
    assert result.status["progress"]["percentage"] == 25


def test_a_pod_of_a_job_that_was_deleted_by_hand_tells_nothing_of_its_successor() -> None:
    pods = [Pod(attempt="a").exited(78).of_job("deleted"), Pod(attempt="b").exited(81)]
    assert ended(Job().failed("PodFailurePolicy"), *pods).status["failure"]["class"] == "Diverged"


def test_a_report_of_another_run_is_not_carried_over() -> None:
    result = ended(Job().complete(), Pod().exited(0, EXAMPLE), status={"progress": {"run": 9, "tokensPerSecond": 1.0}})
    assert "tokensPerSecond" not in result.status["progress"]


@pytest.mark.parametrize(
    ("outcome", "words"), [("StoppedEarly", "20 of 20"), ("AlreadyComplete", "Change spec.rerun to train again.")]
)
def test_every_way_to_succeed_has_its_reason(outcome: str, words: str) -> None:
    result = ended(Job().complete(), Pod().exited(0, said(outcome)))
    assert condition(result, "Complete")["reason"] == outcome
    assert words in condition(result, "Complete")["message"]


@pytest.mark.parametrize("message", ["", "done", '{"loss": 1}', json.dumps(said("Failed"))])
def test_exit_0_without_a_result_of_ours_is_complete_and_says_so(message: str) -> None:
    result = ended(Job().complete(), Pod().exited(0, message))
    assert (result.status["phase"], condition(result, "Complete")["reason"]) == ("Complete", "NoResult")
    assert result.status["result"]["outcome"] == "NoResult"
    assert not result.take_over_progress


def test_the_result_is_that_of_index_0() -> None:
    pods = [Pod(1).exited(0, said(message="peer")), Pod(0).exited(0, said(message="leader"))]
    assert ended(Job().complete(), *pods).status["result"]["message"] == "leader"


def test_a_word_that_the_schema_does_not_admit_does_not_hide_the_rest() -> None:
    result = ended(Job().complete(), Pod().exited(0, said(step="many", totalSteps=20)))
    assert "step" not in result.status["result"]
    assert result.status["result"]["totalSteps"] == 20


def test_what_the_trainer_found_is_among_the_warnings() -> None:
    result = ended(Job().complete(), Pod().exited(0, said(findings=["Chosen rewards fell."])))
    assert "Chosen rewards fell." in result.status["warnings"]


@pytest.mark.parametrize(
    ("reported", "told", "shown"),
    [
        pytest.param(None, ["NotFinite."], ["NotFinite."], id="the last report was lost"),
        pytest.param(["ZeroMargins."], [], None, id="it has passed"),
        pytest.param(["ZeroMargins."], None, ["ZeroMargins."], id="there was no room for it"),
    ],
)
def test_findings_and_memory_of_the_end_are_in_progress_and_result(
    reported: list[str] | None, told: list[str] | None, shown: list[str] | None
) -> None:
    words = {"peakMemoryBytes": 1 << 33} | ({} if told is None else {"findings": told})
    before = {"run": 1, "peakMemoryBytes": 1} | ({} if reported is None else {"findings": reported})
    status = ended(Job().complete(), Pod().exited(0, said(**words)), status={"progress": before}).status
    assert status["progress"].get("findings") == shown
    assert status["result"].get("findings") == (told or None)
    assert status["progress"]["peakMemoryBytes"] == status["result"]["peakMemoryBytes"] == 1 << 33


def test_a_failed_run_tells_how_far_it_came() -> None:
    words = said("Failed", 81, **{"class": "Diverged", "message": "NaN.", "step": 12, "totalSteps": 20})
    result = ended(Job().failed("PodFailurePolicy"), failed_with(81, words))
    assert (result.status["progress"]["step"], result.status["progress"]["totalSteps"]) == (12, 20)
    assert "result" not in result.status
