"""Rules that begin with the same question are asked as one, and the first broken one speaks."""

from __future__ import annotations

import pytest

from alignment_operator.api.engine import cel
from alignment_operator.api.expressions import broken
from alignment_operator.api.rules.joined import joined
from alignment_operator.api.rules.rule import FORBIDDEN, Rule, each, under

SMALL = Rule("small", under("has(self.a)", "self.a < 10"), 'a: "small" numbers only', "a", "why")
EVEN = Rule("even", under("has(self.a)", "self.a % 2 == 0"), "a: even numbers only", "a", "why")
OTHER_PATH = Rule("other-path", under("has(self.a)", "self.a != 4"), "not four", "b", "why")
OTHER_REASON = Rule("other-reason", under("has(self.a)", "self.a != 4"), "not four", "a", "why", FORBIDDEN)
OTHER_FRAME = Rule("other-frame", each("a", "value", "value != 4"), "not four", "a", "why")
PLAIN = Rule("plain", "!has(self.b)", "no b", "a", "why")


@pytest.mark.parametrize("other", [OTHER_PATH, OTHER_REASON, OTHER_FRAME, PLAIN], ids=lambda rule: rule.id)
def test_only_rules_of_one_frame_path_and_reason_are_joined(other: Rule) -> None:
    assert [rule.id for rule in joined([SMALL, other, EVEN])] == ["small", other.id]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"b": 1}, None),
        ({"a": 2}, None),
        ({"a": 12}, SMALL.message),
        ({"a": 3}, EVEN.message),
        ({"a": 13}, SMALL.message),
    ],
    ids=["not-asked", "both-hold", "first-broken", "second-broken", "both-broken"],
)
def test_a_joined_rule_is_broken_when_one_of_its_rules_is_and_says_what_the_first_says(spec, says) -> None:
    [rule] = joined([SMALL, EVEN])
    assert bool(broken([rule], self=spec)) == bool(says) == bool(broken([SMALL, EVEN], self=spec))
    if says:
        assert cel.evaluate(rule.told, {"self": spec}) == says


def test_a_rule_that_words_its_own_message_does_so_in_company() -> None:
    own = Rule("own", under("has(self.a)", "self.a < 10"), "too large", "a", "why", told="'got ' + string(self.a)")
    [rule] = joined([own, EVEN])
    assert cel.evaluate(rule.told, {"self": {"a": 12}}) == "got 12"
