"""Rules that ask the same first are one entry of the CRD: the API server evaluates it at every write, status included.

What a rule costs is what it reads (`scope.py`), and rules of one frame begin with the same reads. `render` asks
each rule on its own, and names all that are broken; the API server names the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from alignment_operator.api.rules.rule import Framed, Rule

__all__ = ["joined"]


def joined(rules: Iterable[Rule]) -> list[Rule]:
    """Rules with the same frame, path and reason as one; others as they are. Each stands where its first one stood."""
    groups: dict[object, list[Rule]] = {}
    for rule in rules:
        groups.setdefault(_shared(rule), []).append(rule)
    return [_one(group) for group in groups.values()]


def _shared(rule: Rule) -> object:
    return (rule.holds.frame, rule.path, rule.reason) if isinstance(rule.holds, Framed) else rule.id


def _one(group: list[Rule]) -> Rule:
    first, *others = group
    if not others:
        return first
    conditions = [rule.holds.condition for rule in group if isinstance(rule.holds, Framed)]
    assert isinstance(first.holds, Framed)
    holds = first.holds.around(" && ".join(f"({condition})" for condition in conditions))
    return Rule(first.id, holds, first.message, first.path, first.why, first.reason, _first_broken(group))


def _first_broken(group: list[Rule]) -> str:
    """CEL: what the first broken one of them says. It is asked only where one of them is broken."""
    *others, last = group
    told = [f"!({rule.expression}) ? {_words(rule)} : " for rule in others]
    return "".join(told) + _words(last)


def _words(rule: Rule) -> str:
    return f"({rule.told})" if rule.told else json.dumps(rule.message, ensure_ascii=False)
