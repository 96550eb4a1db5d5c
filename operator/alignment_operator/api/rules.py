"""stub"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    expression: str
    message: str
    path: str
    reason: str = "FieldValueInvalid"


RULES: list[Rule] = []
CHANGE_RULES: list[Rule] = []
