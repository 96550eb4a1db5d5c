"""What one reconcile is about: an AlignmentJob, as it is stored and as models, and what is known of its children."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from .api.alignmentjob import AlignmentJob
from .problems import SpecProblem
from .store import Key
from .views import Observed

Object = dict[str, Any]

MODELS = 64  # AlignmentJobs that are kept as models, 29 KB each: to read one again takes 40 us


@dataclass(frozen=True, slots=True)
class Subject:
    """`obj`: read-only, as the store has it. `problem`: why `job` has a stand-in for the spec."""

    key: Key
    obj: Object
    job: AlignmentJob
    observed: Observed
    problem: SpecProblem | None = None

    def of_next_run(self) -> Subject:
        """The same where a run begins: what is known of the cluster is of the run before it."""
        seen = self.observed
        return replace(self, observed=Observed(upstream=seen.upstream, before=(*seen.gone, *seen.pods)))


class Models:
    """`read`, once for a version of the object: its children's news come in between. One for the process."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[str, tuple[AlignmentJob, SpecProblem | None]]] = OrderedDict()

    def of(self, key: Key, obj: Object) -> tuple[AlignmentJob, SpecProblem | None]:
        """As `read`."""
        version = obj["metadata"].get("resourceVersion", "")
        known = self._known.pop(key, None)
        model = known[1] if known and version and known[0] == version else _read_again(obj, known and known[1])
        self._known[key] = version, model
        if len(self._known) > MODELS:
            self._known.popitem(last=False)
        return model

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)


def _read_again(
    obj: Object, known: tuple[AlignmentJob, SpecProblem | None] | None
) -> tuple[AlignmentJob, SpecProblem | None]:
    """As `read`, but with the spec that is known, if it is of this generation: most writes are of status."""
    if known is None or known[1]:
        return read(obj)
    meta, was = obj["metadata"], known[0].metadata
    same = (meta.get("uid"), meta.get("generation")) == (was.uid, was.generation)
    return read({**obj, "spec": known[0].spec} if same else obj)


def read(obj: Object) -> tuple[AlignmentJob, SpecProblem | None]:
    """The object as models; one that predates a bound with a stand-in spec, and what is wrong with its own.

    Raises ValidationError when something else than the spec cannot be read.
    """
    try:
        return AlignmentJob.model_validate(obj), None
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if not path.startswith("spec"):
            raise
        stand_in = {"model": {}, "dataset": {}, "output": {"volume": {"name": "none"}}, "dpo": {}}
        return AlignmentJob.model_validate({**obj, "spec": stand_in}), SpecProblem(path, first["msg"])
