"""The tables of allow-lists and warnings -> what the chart's ValidatingAdmissionPolicies are rendered from."""

import re
from typing import Any

import yaml

from alignment_operator.api.rules.allowed import ALLOWED_RULES
from alignment_operator.api.rules.unwise import WARNINGS


def text() -> str:
    """Return files/admission.yaml of the chart."""
    allowed = [
        {"id": rule.id, "needs": [*rule.needs], "expression": online(rule.expression), "message": rule.told}
        for rule in ALLOWED_RULES
    ]
    warnings = [
        {"id": warning.id, "expression": online(warning.expression), "message": warning.message} for warning in WARNINGS
    ]
    content: dict[str, Any] = {"allowed": allowed, "warnings": warnings}
    return yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)


def online(expression: str) -> str:
    """The expression in an admission policy's words: the settings are its variables, `self` is the object's spec."""
    return re.sub(r"\bself\b", "variables.spec", re.sub(r"\b(allowed|defaults)\.", "variables.", expression))
