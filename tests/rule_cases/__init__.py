"""One table for both proofs of every rule: a spec that breaks it, one that keeps it, and how TRL takes the first.

A case is written as a patch over `BASE` (None removes a key). `proof` says what the contract tests must see:

- `raises`: the pinned TRL (or the library that it calls) raises on the bad settings, with this text;
- `shows`: TRL checks nothing; the named function of `tests/contract/rules/shown` shows how a run dies or lies;
- `kubernetes`: the rule is about the pod or the volume, not about TRL; the named function shows it on our own manifests
  or on a real API server.
"""

from tests.rule_cases.case import BASE, Case, Json, merge, method, model, spec
from tests.rule_cases.datasets import DATASET_CASES
from tests.rule_cases.hardware import HARDWARE_CASES
from tests.rule_cases.methods import METHOD_CASES
from tests.rule_cases.models import MODEL_CASES
from tests.rule_cases.placements import PLACEMENT_CASES
from tests.rule_cases.schedules import SCHEDULE_CASES
from tests.rule_cases.trainings import TRAINING_CASES

__all__ = ["BASE", "CASES", "Case", "Json", "merge", "method", "model", "spec"]

CASES = [
    *MODEL_CASES,
    *METHOD_CASES,
    *HARDWARE_CASES,
    *SCHEDULE_CASES,
    *TRAINING_CASES,
    *DATASET_CASES,
    *PLACEMENT_CASES,
]
