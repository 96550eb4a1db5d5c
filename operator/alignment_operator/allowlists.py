"""The allow-lists of the settings, held against a spec: what the chart's admission policy refuses, the operator does.

Again, because the policy may not be installed, or be newer than the object. Once per run: one that has started goes on.
"""

from __future__ import annotations

from typing import Any

from .api.alignmentjob import Spec
from .api.constants import Reason
from .api.expressions import broken
from .api.rules.allowed import ALLOWED_RULES, AllowedRule
from .problems import SpecProblem
from .settings import AllowedSettings, Settings


def problem(spec: Spec, settings: Settings) -> SpecProblem | None:
    """The first thing that the lists do not allow, with the field and the cure; None: all of it is allowed."""
    rules = in_force(settings.allowed)
    if not rules:
        return None
    found = broken(rules, self=_written(spec), allowed=variables(settings))
    return SpecProblem(f"spec.{found[0].path}", _sentence(found[0].message), Reason.NOT_ALLOWED) if found else None


def in_force(allowed: AllowedSettings) -> list[AllowedRule]:
    """The rules of which a list is set."""
    return [rule for rule in ALLOWED_RULES if any(getattr(allowed, name) is not None for name in rule.needs)]


def variables(settings: Settings) -> dict[str, Any]:
    """What the rules call `allowed`. A list of remote code makes a missing list of images an empty one."""
    allowed = settings.allowed
    return {
        "remoteCode": list(allowed.remote_code or ()),
        "images": list(allowed.images or ()),
        "serviceAccounts": list(allowed.service_accounts or ()),
        "maxGpus": allowed.max_gpus or 0,
        "env": list(allowed.env),
        "offline": settings.pods.hub_offline,
    }


def _written(spec: Spec) -> dict[str, Any]:
    """As the API server has it, defaults included."""
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _sentence(message: str) -> str:
    return f"{message[0].upper()}{message[1:]}."
