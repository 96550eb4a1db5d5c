"""The spec of a case that breaks its rule."""

from tests.rule_cases import Case, Json, spec


def bad(case: Case) -> Json:
    """The whole spec."""
    return spec(case.bad)
