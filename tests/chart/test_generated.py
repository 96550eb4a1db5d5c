"""values.yaml is the one source of values.schema.json and of the README's tables."""

import json

import pytest
import yaml

from dev.chart import __main__ as generator
from dev.chart import comments, readme, schema
from tests.chart.conftest import CHART


def test_schema_and_readme_are_those_of_values_yaml() -> None:
    stale = [path.name for path, text in generator.generated(CHART).items() if path.read_text() != text]
    assert not stale, "run `make generate`"


def test_every_object_of_the_schema_that_the_chart_defines_is_closed() -> None:
    def closed(node: dict) -> bool:
        inner = node.get("properties", {}).values()
        return node.get("additionalProperties") is False and all(closed(x) for x in inner if "properties" in x)

    assert closed(json.loads((CHART / "values.schema.json").read_text()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# -- How many.\nn: 1\n", {"type": "integer", "description": "How many.", "default": 1}),
        ("# -- Long\n# text.\nb: true\n", {"type": "boolean", "description": "Long text.", "default": True}),
        (
            "# -- One of.\n# @schema {enum: [a, b]}\ns: a\n",
            {"type": "string", "description": "One of.", "enum": ["a", "b"], "default": "a"},
        ),
        (
            '# -- Maybe.\n# @schema {type: [object, "null"]}\nv: null\n',
            {"type": ["object", "null"], "description": "Maybe.", "default": None},
        ),
        ("# -- Free.\nm:\n  a: 1\n", {"type": "object", "description": "Free.", "default": {"a": 1}}),
    ],
)
def test_a_key_becomes_a_property(text: str, expected: dict) -> None:
    name = next(iter(yaml.safe_load(text)))
    assert schema.document(comments.read(text))["properties"][name] == expected


def test_keys_below_an_undescribed_map_are_values_of_their_own() -> None:
    [value] = comments.read("a:\n  # -- B.\n  b: 1\n")
    assert [child.path for child in value.children] == ["a.b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n: 1\n", "line 1: n has no comment"),
        ("a:\n  b: 1\n", "line 2: a.b has no comment"),
        ("# -- V.\nv: null\n", "v is null: say its type"),
        ("# -- L.\nl: []\n", "l is an empty list: say its items"),
    ],
)
def test_a_value_that_nobody_could_understand_is_refused(text: str, message: str) -> None:
    with pytest.raises(comments.CommentError, match=message):
        comments.read(text)


def test_the_readme_keeps_what_stands_around_its_table() -> None:
    page = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter"
    new = readme.inject(page, comments.read("# @section S\n# -- A|B.\nn: 1\n"))
    assert new.startswith("before\n")
    assert new.endswith("\nafter")
    assert "| `n` | `1` | A&#124;B. |" in new
    assert "old" not in new


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        readme.inject("text", ())
