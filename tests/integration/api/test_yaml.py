"""YAML is read as the real kubectl reads it."""

import json

import pytest

from alignment_operator.manifest import ManifestProblem, read
from tests.integration.apiserver import ApiServer

# fmt: off
PLAIN = [
    "5e-7", "1e5", "1E+3", ".5", "5.", "1.", "+5", "-0", "010", "0o10", "08", "0x1F", "0b11", "1_000",
    "1_0.5", "12e03", "1.5e3", "1:30", "190:20:30", "2024-01-01", "2024-01-01T00:00:00Z", "no",
    "No", "off", "n", "yes", "on", "y", "True", "tRue", "null", "Null", "~", "1e", "1e400", "e5",
    "0o8", "=", "text", "'no'", '"5"', "'5e-7'", "00", "0.", "+.5",
]
# fmt: on
NOT_JSON = [".inf", "-.INF", ".nan"]
BLOCKS = {
    "keys that are no text": "1: a\ntrue: b\nno: c",
    "merge": "base: &b {x: 1}\nderived:\n  <<: *b\n  y: 2",
    "anchors": "x: &a [1, 2]\nz: *a",
    "block text": "x: |\n  a\n  b\nz: >\n  a\n  b",
    "explicit tags": "x: !!str 5\nz: !!float 5",
}


def with_kubectl(server: ApiServer, text: str) -> dict | None:
    """What kubectl makes of the keys that `text` adds to a ConfigMap; None if it refuses to read it."""
    document = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n{text}\n"
    arguments = ["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-"]
    result = server.kubectl(*arguments, input=document, check=False)
    if result.returncode:
        return None
    return {
        key: value for key, value in json.loads(result.stdout).items() if key not in ("apiVersion", "kind", "metadata")
    }


def test_plain_scalars_have_kubectls_types_and_values(apiserver: ApiServer) -> None:
    text = "x:\n" + "".join(f"- {value}\n" for value in PLAIN)
    theirs = with_kubectl(apiserver, text)
    assert theirs is not None
    ours = read(text)[0]
    for word, their, our in zip(PLAIN, theirs["x"], ours["x"], strict=True):
        assert (our, isinstance(our, bool), isinstance(our, str)) == (
            their,
            isinstance(their, bool),
            isinstance(their, str),
        ), word


@pytest.mark.parametrize("text", BLOCKS.values(), ids=BLOCKS)
def test_structures_are_read_as_by_kubectl(text: str, apiserver: ApiServer) -> None:
    assert read(text + "\n")[0] == with_kubectl(apiserver, text)


@pytest.mark.parametrize("text", [f"x: {word}" for word in NOT_JSON] + ["x: [1,", "\tx: 1", "null: x"])
def test_what_kubectl_cannot_read_is_refused(text: str, apiserver: ApiServer) -> None:
    assert with_kubectl(apiserver, text) is None
    with pytest.raises(ManifestProblem):
        read(text)


def test_a_duplicate_key_of_which_kubectl_takes_the_last_is_refused(apiserver: ApiServer) -> None:
    """Stricter than kubectl: one of the two values would be lost in silence."""
    assert with_kubectl(apiserver, "x: {a: 1, a: 2}") == {"x": {"a": 2}}
    with pytest.raises(ManifestProblem, match='key "a" already set'):
        read("x: {a: 1, a: 2}")
