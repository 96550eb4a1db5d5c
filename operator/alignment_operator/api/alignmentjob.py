"""The AlignmentJob itself. Constants, spec and status are importable from here."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from alignment_operator.api.constants import *  # noqa: F403
from alignment_operator.api.constants import API_VERSION, KIND
from alignment_operator.api.podtemplate import PodTemplate, Volume
from alignment_operator.api.schema import Section
from alignment_operator.api.spec import PolicyModel, ReferenceModel, Spec
from alignment_operator.api.status import Condition, Failure, Metric, PastRun, Progress, Result, Status

__all__ = [
    "AlignmentJob",
    "Condition",
    "Failure",
    "Metadata",
    "Metric",
    "PastRun",
    "PodTemplate",
    "PolicyModel",
    "Progress",
    "ReferenceModel",
    "Result",
    "Spec",
    "Status",
    "Volume",
]


class Metadata(Section):
    """The part of metav1.ObjectMeta that the operator reads."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")
    name: str = ""
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    resource_version: str = Field("", alias="resourceVersion")
    creation_timestamp: str | None = Field(None, alias="creationTimestamp")
    deletion_timestamp: str | None = Field(None, alias="deletionTimestamp")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class AlignmentJob(Section):
    """One alignment of a model. `AlignmentJob.model_validate(object)` reads what the API server sent.

    Raises pydantic.ValidationError for an object that predates a bound of the schema; its paths are the API's own
    (by alias), so it can be told to the user as `Accepted=False`.
    """

    api_version: Annotated[str, Field(max_length=64)] = Field(API_VERSION, alias="apiVersion")
    kind: Annotated[str, Field(max_length=64)] = KIND
    metadata: Metadata = Metadata()
    spec: Spec
    status: Status = Status()

    def to_object(self) -> dict[str, Any]:
        """Return the object as JSON data: API names, only what was set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
