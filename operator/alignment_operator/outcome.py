"""How a run ended: from the Job's terminal condition, its pods' exits and the trainer's last words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from .api.constants import Reason
from .failures import CLASSES, FailureClass, classify_exit, classify_pod
from .termination import SUCCESS, last_words, message_of
from .views import Condition, JobView, Observed, PodView

# The Job's end and its last pod's end are two watch events in any order; a final status waits so long for both.
PODS_FOLLOW = timedelta(seconds=20)
TRY_AGAIN = "To try again, change spec.rerun."


@dataclass(frozen=True, slots=True)
class Failure:
    """`status.failure`."""

    kind: FailureClass
    message: str
    cure: str
    exit_code: int | None = None

    def as_status(self) -> dict[str, Any]:
        """In the words of the API."""
        failure: dict[str, Any] = {"class": self.kind.name, "message": self.message, "cure": self.cure}
        if self.exit_code is not None:
            failure["exitCode"] = self.exit_code
        return failure | {"retryable": self.kind.retryable}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run; `message` is the condition's, of a failure with its cure.

    `said`: the trainer's termination message, if it left one. `failure`: None on success.
    """

    time: datetime | None
    reason: str
    message: str
    said: Mapping[str, Any] | None = None
    failure: Failure | None = None


def of(observed: Observed, now: datetime) -> Outcome | None:
    """None while the run is not over, or while the pod that tells how it ended is not seen yet."""
    job = observed.job
    if job is None:
        return None
    if complete := job.condition("Complete"):
        return _success(job, observed, complete, now)
    if failed := job.condition("Failed"):
        return _failure(job, observed, failed, now)
    return None


def failure_of(pod: PodView) -> Failure:
    """Why this pod failed, in the trainer's own words where it left some."""
    said = message_of(pod)
    kind = _class(pod, said)
    end = pod.terminated
    code = end.exit_code if end else None
    if said and said.get("class", kind.name) == kind.name:
        return Failure(kind, _closed(said["message"]), said.get("cure") or kind.cure, code)
    return Failure(kind, _sentence(pod, kind), kind.cure, code)


def _closed(message: str) -> str:
    """With a full stop: what another program said is told as a sentence, and others follow it."""
    return message if message.rstrip().endswith((".", "!", "?")) else f"{message.rstrip()}."


def _class(pod: PodView, said: Mapping[str, Any] | None) -> FailureClass:
    """The trainer knows better than its exit code only within the same retry policy: the Job went by the code."""
    kind = classify_pod(pod)
    told = CLASSES.get(str((said or {}).get("class")))
    if told and told.retry == kind.retry and kind.name != "HostOutOfMemory":
        return told
    return kind


def _sentence(pod: PodView, kind: FailureClass) -> str:
    end = pod.terminated
    if pod.disrupted:
        return f"Pod {pod.name} was stopped: {pod.disrupted[1] or pod.disrupted[0]}."
    if end is None:
        return f"Pod {pod.name} failed: {pod.message or pod.reason or kind.what}.".replace("..", ".")
    words = last_words(pod)
    what = f"{'Init container ' + end.container if end.container != 'trainer' else 'The trainer'} of pod {pod.name}"
    return f"{what} ended with exit code {end.exit_code}: {kind.what}." + (
        f" Its log ends with: {words}" if words else ""
    )


def _success(job: JobView, observed: Observed, condition: Condition, now: datetime) -> Outcome | None:
    first = next((pod for pod in observed.own_pods if pod.index == 0 and pod.phase == "Succeeded"), None)
    if first is None and _pods_may_follow(observed, condition, now):
        return None
    time, said = job.completion_time or condition.time, message_of(first)
    if said is None or said.get("outcome") not in SUCCESS:
        message = f"Job {job.name} ended with exit code 0 and left no result; look at its log and its output."
        return Outcome(time, Reason.NO_RESULT, message)
    message = str(said["message"])
    if said["outcome"] == "AlreadyComplete":
        message += " Change spec.rerun to train again."
    return Outcome(time, str(said["outcome"]), message, said)


def _failure(job: JobView, observed: Observed, condition: Condition, now: datetime) -> Outcome | None:
    pods = observed.own_pods
    if condition.reason == "DeadlineExceeded":
        kind = CLASSES["Deadline"]
        message = f"Run {job.run} was active longer than spec.activeDeadlineSeconds ({job.active_deadline_seconds} s)."
        return _failed(condition, Failure(kind, message, kind.cure), message_of(_latest(pods)))
    pod = culprit(pods, condition.reason)
    if pod is None and _pods_may_follow(observed, condition, now):
        return None
    if pod is None:
        return _failed(condition, _without_pods(job, condition))
    failure = failure_of(pod)
    if condition.reason == "BackoffLimitExceeded" and failure.kind.retry == "counted":
        limit = (
            f"It was the last of {job.failed or 'the'} failures that spec.backoffLimit ({job.backoff_limit}) allows."
        )
        failure = Failure(failure.kind, f"{failure.message} {limit}", failure.cure, failure.exit_code)
    return _failed(condition, failure, message_of(pod))


def _failed(condition: Condition, failure: Failure, said: Mapping[str, Any] | None = None) -> Outcome:
    """A run that failed is final: whatever cures it takes effect in the next one, and the condition says so too."""
    if "spec.rerun" not in failure.cure:
        failure = replace(failure, cure=f"{_closed(failure.cure)} {TRY_AGAIN}")
    return Outcome(condition.time, failure.kind.name, f"{_closed(failure.message)} {failure.cure}", said, failure)


def culprit(pods: tuple[PodView, ...], reason: str = "") -> PodView | None:
    """The failed pod that decides: never its peers, which end with 75 (Preempted) because of it.

    What may not be retried ends the Job at once, so the first such pod is it; of those that count, the last.
    """
    failed = sorted((pod for pod in pods if pod.phase == "Failed"), key=_ended_at)
    never = [pod for pod in failed if classify_pod(pod).retry == "never"]
    counted = [pod for pod in failed if classify_pod(pod).retry == "counted"]
    if never and reason != "BackoffLimitExceeded":
        return never[0]
    return counted[-1] if counted else None


def is_decided(job: JobView, pods: tuple[PodView, ...]) -> PodView | None:
    """The pod because of which the Job is going to fail, before the Job controller has said so."""
    failed = [pod for pod in pods if pod.phase == "Failed"]
    counted = [pod for pod in failed if classify_pod(pod).retry == "counted"]
    limit = job.backoff_limit
    if any(classify_pod(pod).retry == "never" for pod in failed):
        return culprit(pods)
    return culprit(pods) if limit is not None and len(counted) > limit else None


def _latest(pods: tuple[PodView, ...]) -> PodView | None:
    return max((pod for pod in pods if pod.ended), key=_ended_at, default=None)


def _ended_at(pod: PodView) -> float:
    time = (pod.terminated.finished if pod.terminated else None) or pod.deleting_since or pod.created
    return time.timestamp() if time else 0.0


def _pods_may_follow(observed: Observed, condition: Condition, now: datetime) -> bool:
    """By how long we have known of the end, where that is known: the Job controller's clock is not ours."""
    if observed.ended_for is not None:
        return observed.ended_for < PODS_FOLLOW
    return condition.time is not None and now - condition.time < PODS_FOLLOW


def _without_pods(job: JobView, condition: Condition) -> Failure:
    """The pods are gone; the Job's own words may still hold the exit code."""
    found = re.search(r"exit code (\d+)", condition.message)
    code = int(found.group(1)) if found else None
    kind = classify_exit(code) if code is not None else CLASSES["Internal"]
    message = f"Job {job.name} failed ({condition.reason}): {condition.message or 'its pods are gone'}"
    return Failure(kind, message.rstrip(".") + ".", kind.cure, code)
