"""Progress reports as the contract has them (docs/contract/progress.schema.json), and what of them goes to status."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

STATUS_METRICS = 64  # the CRD's bound on status.metrics; the protocol allows 256

Count = Annotated[int, Field(ge=0)]
Phase = Literal["Loading", "Precomputing", "Training", "Evaluating", "Saving", "Merging", "Pushing", "Finished"]


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, strict=True, allow_inf_nan=False, frozen=True)


class Metric(_Wire):
    """One value, as text."""

    name: Annotated[str, Field(max_length=128)]
    value: Annotated[str, Field(max_length=64)]


class TrainerStatus(_Wire):
    """The Kubeflow TrainerStatus protocol; any image with transformers >= 5 speaks it."""

    last_updated_time: str | None = None
    progress_percentage: Annotated[int, Field(ge=0, le=100)] | None = None
    estimated_remaining_seconds: Count | None = None
    metrics: Annotated[tuple[Metric, ...], Field(max_length=256, strict=False)] | None = None


class Alignment(_Wire):
    """What our trainer adds."""

    model_config = ConfigDict(extra="forbid")
    attempt: Annotated[int, Field(ge=1)] | None = None
    resumed_from_step: Count | None = None
    lost_steps: Count | None = None
    phase: Phase | None = None
    step: Count | None = None
    total_steps: Count | None = None
    epoch: Annotated[float, Field(ge=0)] | None = None
    step_seconds: Annotated[float, Field(ge=0)] | None = None
    tokens_per_second: Annotated[float, Field(ge=0)] | None = None
    last_checkpoint_step: Count | None = None
    last_checkpoint_time: datetime | None = None
    peak_memory_bytes: Count | None = None
    findings: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=8, strict=False)] = ()


class Report(_Wire):
    """The body of a POST."""

    trainer_status: TrainerStatus
    alignment: Alignment = Alignment()

    def progress(self, run: int, now: datetime) -> dict[str, Any]:
        """`status.progress`: every field that the report has."""
        ours = self.alignment.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not ours["findings"]:
            del ours["findings"]
        protocol = {
            "percentage": self.trainer_status.progress_percentage,
            "estimatedRemainingSeconds": self.trainer_status.estimated_remaining_seconds,
        }
        known = {name: value for name, value in protocol.items() if value is not None}
        return {"run": run, **ours, **known, "lastReportTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def metrics(self) -> list[dict[str, str]] | None:
        """`status.metrics`; None: this report says nothing about them. Of two with one name the last counts."""
        if self.trainer_status.metrics is None:
            return None
        latest = {metric.name: metric.value for metric in self.trainer_status.metrics}
        return [{"name": name, "value": value} for name, value in list(latest.items())[:STATUS_METRICS]]
