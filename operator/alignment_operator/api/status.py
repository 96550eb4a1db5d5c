"""`status` of an AlignmentJob. Times are RFC 3339 text, as in every Kubernetes object."""

from typing import Annotated, Literal

from pydantic import Field

from alignment_operator.api.constants import ENDS
from alignment_operator.api.schema import Number, Section

Long = Annotated[str, Field(max_length=4096)]
Short = Annotated[str, Field(max_length=256)]
# What a person reads in `kubectl describe`; 32768 is the bound of metav1.Condition's message.
Message = Annotated[str, Field(max_length=32768)]
Count = Annotated[int, Field(ge=0)]
# What the API server shows until the operator has looked: without it kstatus takes a new object for done.
NOT_OBSERVED = -1


class Condition(Section):
    """metav1.Condition."""

    type: Short = Field(description="Kind of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: Count | None = Field(
        None, alias="observedGeneration", description="Generation of the spec that it is about."
    )
    last_transition_time: Short = Field(
        alias="lastTransitionTime",
        description="When status last changed.",
        json_schema_extra={"format": "date-time"},
    )
    reason: Short = Field(description="One word for programs.")
    message: Message = Field(description="A sentence for people.")


Findings = Annotated[list[Short], Field(max_length=8)]


class Metric(Section):
    """One value that the trainer reported."""

    name: Short = Field(description="TRL's name, for example rewards/margins.")
    value: Short = Field(description="The number, as text.")


class Progress(Section):
    """What the trainer last said; written by the progress endpoint."""

    run: Count | None = Field(None, description="The run that this is about.")
    attempt: Count | None = Field(None, description="The attempt of the run, from 1.")
    resumed_from_step: Count | None = Field(
        None, alias="resumedFromStep", description="Step at which this attempt began; 0: from the start."
    )
    lost_steps: Count | None = Field(None, alias="lostSteps", description="Steps done again because of restarts.")
    phase: Short | None = Field(None, description="What the trainer is doing.")
    step: Count | None = Field(None, description="Optimizer steps done.")
    total_steps: Count | None = Field(None, alias="totalSteps", description="Optimizer steps in all.")
    epoch: Number | None = Field(None, description="Passes over the data so far.")
    percentage: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="Share of totalSteps that is done."
    )
    estimated_remaining_seconds: Count | None = Field(
        None, alias="estimatedRemainingSeconds", description="Seconds left at the pace of this attempt."
    )
    step_seconds: Number | None = Field(
        None,
        alias="stepSeconds",
        description="Mean seconds of a step of this attempt, with evaluation and checkpoints.",
    )
    tokens_per_second: Number | None = Field(
        None, alias="tokensPerSecond", description="Tokens trained on per second, by all processes."
    )
    last_checkpoint_step: Count | None = Field(
        None, alias="lastCheckpointStep", description="Step of the newest complete checkpoint."
    )
    last_checkpoint_time: Short | None = Field(
        None, alias="lastCheckpointTime", description="When that checkpoint was complete."
    )
    last_report_time: Short | None = Field(None, alias="lastReportTime", description="When the trainer last spoke.")
    peak_memory_bytes: Count | None = Field(
        None, alias="peakMemoryBytes", description="Largest memory of a process: on GPUs of the device, else resident."
    )
    findings: Findings | None = Field(None, description="Why the metrics look as if no preference were learned.")


class Artifacts(Section):
    """What the run made: paths relative to status.outputPath."""

    adapter: Long | None = Field(None, description="PEFT adapter, as safetensors.")
    model: Long | None = Field(None, description="Full weights, as safetensors.")
    merged: Long | None = Field(None, description="Base model with the adapter merged in.")
    repository: Long | None = Field(None, description="Hub repository and commit that was pushed.")


class DatasetReport(Section):
    """Rows of the train split."""

    rows: Count | None = Field(None, description="Rows read.")
    dropped_rows: Count | None = Field(
        None, alias="droppedRows", description="Of those, rows whose completion would be lost to maxLength."
    )
    truncated_rows: Count | None = Field(
        None, alias="truncatedRows", description="Of the others, rows that lose a part of a completion to maxLength."
    )


class Result(Section):
    """The trainer's last word, from the termination message."""

    outcome: Short | None = Field(None, description="Complete, StoppedEarly, AlreadyComplete or NoResult.")
    message: Message | None = Field(None, description="A sentence for people.")
    attempt: Count | None = Field(None, description="The attempt that ended the run.")
    step: Count | None = Field(None, description="Optimizer steps done.")
    total_steps: Count | None = Field(None, alias="totalSteps", description="Optimizer steps in all.")
    resumed_from_step: Count | None = Field(
        None, alias="resumedFromStep", description="Step at which that attempt began."
    )
    lost_steps: Count | None = Field(None, alias="lostSteps", description="Steps done again because of restarts.")
    last_checkpoint_step: Count | None = Field(
        None, alias="lastCheckpointStep", description="Step of the newest complete checkpoint."
    )
    output_path: Long | None = Field(None, alias="outputPath", description="Folder of the model on the volume.")
    artifacts: Artifacts | None = Field(None, description="What the run made.")
    dataset: DatasetReport | None = Field(None, description="What was trained on.")
    duration_seconds: Number | None = Field(
        None, alias="durationSeconds", description="Seconds that the last attempt took."
    )
    peak_memory_bytes: Count | None = Field(
        None, alias="peakMemoryBytes", description="Largest memory of a process: on GPUs of the device, else resident."
    )
    metrics: Annotated[list[Metric], Field(max_length=64)] | None = Field(None, description="Final metrics.")
    findings: Findings | None = Field(None, description="Why the metrics look as if no preference were learned.")


class Failure(Section):
    """Why the run failed, or what keeps it from running."""

    failure_class: Short = Field(alias="class", description="Failure class; see docs/failures.md.")
    message: Message = Field(description="What happened.")
    cure: Message | None = Field(None, description="What to do.")
    exit_code: int | None = Field(None, alias="exitCode", description="Exit code of the container that failed first.")
    retryable: bool | None = Field(None, description="Whether another attempt can help.")


class PodUsage(Section):
    """A pod whose GPU time is not settled yet."""

    pod: Short = Field(description="Its name.")
    gpus: Count = Field(description="GPUs that it holds.")
    since: Short = Field(description="When it got its node.")
    until: Short | None = Field(None, description="When its last container ended; absent while it runs.")
    hourly: Short | None = Field(None, description="Price of one of its GPUs for an hour.")


class Usage(Section):
    """GPU time, of every attempt: from when a pod got its node until its last container ended."""

    gpu_seconds: Count | None = Field(
        None, alias="gpuSeconds", description="GPU-seconds of the current run's pods that have ended."
    )
    cost: Short | None = Field(None, description="What those GPU-seconds cost, by the operator's price table.")
    total_gpu_seconds: Count | None = Field(None, alias="totalGpuSeconds", description="GPU-seconds of all runs.")
    total_cost: Short | None = Field(None, alias="totalCost", description="Cost of all runs.")
    currency: Short | None = Field(None, description="Currency of the costs.")
    settled_until: Short | None = Field(
        None,
        alias="settledUntil",
        description="Pods of this run that got their node up to then are in the sums, and no longer in pods.",
    )
    pods: Annotated[list[PodUsage], Field(max_length=4096)] | None = Field(
        None, description="Pods whose time is not settled; those without until run, and are not in the sums yet."
    )


class PastRun(Section):
    """One line of history."""

    run: Count = Field(description="Number of the run, from 1.")
    rerun: Long | None = Field(None, description="The spec.rerun that it stood for.")
    outcome: Short | None = Field(None, description="Complete, Failed or Replaced.")
    reason: Short | None = Field(None, description="Reason of the outcome.")
    start_time: Short | None = Field(None, alias="startTime", description="When it started.")
    completion_time: Short | None = Field(None, alias="completionTime", description="When it ended.")
    output_path: Long | None = Field(None, alias="outputPath", description="Folder on the volume.")
    gpu_seconds: Count | None = Field(None, alias="gpuSeconds", description="GPU-seconds of all its attempts.")
    cost: Short | None = Field(None, description="What those GPU-seconds cost.")


class Status(Section):
    """What the operator observed; every field but progress and metrics is written by the leader alone."""

    observed_generation: Annotated[int, Field(ge=NOT_OBSERVED)] | None = Field(
        None, alias="observedGeneration", description="Generation of the spec that this status is about; -1: of none."
    )
    method: Short | None = Field(None, description="DPO, SFT, ORPO, CPO, KTO or Reward.")
    phase: Short | None = Field(None, description="One word; conditions say more.")
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = Field(
        None,
        description="Accepted, Queued, Suspended, Running, Complete, Failed, Ready; Reconciling, Stalled while true.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    warnings: Annotated[list[Long], Field(max_length=32)] | None = Field(
        None, description="What is legal but unwise, and what the trainer found; each with the field to change."
    )
    run: Count | None = Field(None, description="Number of the current run, from 1.")
    rerun: Long | None = Field(None, description="The spec.rerun that the current run stands for.")
    runs: Annotated[list[PastRun], Field(max_length=10)] | None = Field(None, description="Earlier runs, oldest first.")
    job_name: Short | None = Field(None, alias="jobName", description="Child Job of the current run.")
    job_uid: Short | None = Field(None, alias="jobUID", description="UID of the child Job.")
    start_time: Short | None = Field(None, alias="startTime", description="When the current run started.")
    completion_time: Short | None = Field(None, alias="completionTime", description="When the current run ended.")
    output_path: Long | None = Field(None, alias="outputPath", description="Folder of the current run on the volume.")
    progress: Progress | None = Field(None, description="What the trainer last said.")
    metrics: Annotated[list[Metric], Field(max_length=64)] | None = Field(
        None,
        description="Latest value of each metric of the current run.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    result: Result | None = Field(None, description="The trainer's last word on the current run.")
    failure: Failure | None = Field(None, description="Why the run failed, or what keeps it from running.")
    usage: Usage | None = Field(None, description="GPU time and cost; see docs/observability.md.")

    @property
    def end(self) -> Condition | None:
        """The condition that says that the current run is over; None while it is not."""
        return next((c for c in self.conditions or () if c.type in ENDS and c.status == "True"), None)
