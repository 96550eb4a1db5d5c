"""spec -> recipe.yaml (pure TRL) and run.yaml (what TRL has no words for)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .api.alignmentjob import AlignmentJob
from .observed import UpstreamView
from .problems import SpecProblem as SpecProblem
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Recipe:
    """Both files of a run, as data and as text. `digest`: 12 hex digits over both less paths."""

    recipe: dict[str, Any]
    run: dict[str, Any]
    digest: str
    output_path: str
    recipe_yaml: str
    run_yaml: str


def build(job: AlignmentJob, run: int, settings: Settings, upstream: UpstreamView | None = None) -> Recipe:
    raise NotImplementedError
