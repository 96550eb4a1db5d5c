"""CEL text, evaluated as the API server evaluates it: rules, allow-lists and warnings share it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Protocol, TypeVar

from alignment_operator.api.engine import cel


class Judged(Protocol):
    """Anything with a condition in CEL, true where all is well."""

    @property
    def expression(self) -> str: ...


T = TypeVar("T", bound=Judged)


@cache
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def prepare(rules: Iterable[Judged]) -> None:
    """Compile them all: 5 ms for each, which the first of their evaluations would take."""
    for rule in rules:
        _program(rule.expression)


def broken(rules: Iterable[T], **variables: Any) -> list[T]:
    """The rules that do not hold, with these variables. They are converted to CEL's values once."""
    context = cel.Context(variables=variables)
    return [rule for rule in rules if not _holds(rule.expression, context)]


def _holds(expression: str, context: cel.Context) -> bool:
    """An expression that meets a value of the wrong shape does not hold: the API server refuses then, too."""
    try:
        return _program(expression).execute(context) is True
    except (TypeError, ValueError, RuntimeError):
        return False
