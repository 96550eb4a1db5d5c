"""Reads YAML as kubectl does: 5e-7 is a number, an unquoted no is false, 010 is eight, a date is text.

kubectl reads YAML 1.1 with Go's number syntax. PyYAML alone would make text of `5e-7` and a date of `2024-01-01`.
Duplicate keys are refused (kubectl takes the last one in silence).
"""

import re
from typing import Any

import yaml

TRUE = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}
FALSE = {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}
NULL = {"", "~", "null", "Null", "NULL"}
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INTEGER = re.compile(r"^([-+]?)(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)$")
_NOT_FINITE = re.compile(r"^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$")


class ManifestProblem(Exception):
    """Text that is no YAML manifest; the message names the line."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with kubectl's resolution of plain scalars."""


def scalar(text: str) -> Any:
    """Return the value of a plain (unquoted) YAML scalar. Raises ManifestProblem for what JSON cannot hold."""
    if text in NULL:
        return None
    if text in TRUE or text in FALSE:
        return text in TRUE
    plain = text.replace("_", "")
    if match := _INTEGER.match(plain):
        sign, digits = match.groups()
        base = {"x": 16, "o": 8, "b": 2}.get(digits[1:2].lower(), 8 if digits.startswith("0") and digits != "0" else 10)
        return int(sign + (digits[2:] if digits[1:2].isalpha() else digits), base)
    if _FLOAT.match(plain) and abs(float(plain)) != float("inf"):
        return float(plain)
    if _NOT_FINITE.match(text):
        raise ManifestProblem(f"{text} is no JSON number: write a finite one")
    return text


def _construct_plain(loader: _Loader, node: yaml.ScalarNode) -> Any:
    return scalar(node.value)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    own = [_key(loader, key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    for key in own:
        if own.count(key) > 1:
            raise ManifestProblem(f'line {node.start_mark.line + 1}: key "{key}" already set in this map: remove one')
    loader.flatten_mapping(node)
    return {_key(loader, key): loader.construct_object(value, deep=True) for key, value in node.value}


def _key(loader: _Loader, node: yaml.Node) -> str:
    """A key as JSON has it: text. An unquoted `y` is the key `true`, as for kubectl."""
    value = loader.construct_object(node, deep=True)
    if value is None or isinstance(value, list | dict):
        raise ManifestProblem(f"line {node.start_mark.line + 1}: a key must be text, a number or a boolean")
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


_Loader.yaml_implicit_resolvers = {
    None: [("tag:plain", re.compile(r"^(?!<<$).*$", re.DOTALL))],
    "<": [("tag:yaml.org,2002:merge", re.compile(r"^<<$"))],
}
_Loader.add_constructor("tag:plain", _construct_plain)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def _place(error: yaml.YAMLError) -> str:
    """The line, what is wrong with it, and, where the parser says no more than that, what it usually is."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    tab = "'\\t'" in (error.problem or "")
    cure = "indent with spaces, not tabs" if tab else "check the indentation, colons and brackets here and just above"
    return f"line {error.problem_mark.line + 1}: {error.problem}: {cure}"


def read(text: str) -> list[dict[str, Any]]:
    """Return the documents of a YAML (or JSON) text that are not empty.

    Raises ManifestProblem, naming the line, for text that kubectl refuses to read, or that is no mapping.
    """
    try:
        documents = [document for document in yaml.load_all(text, _Loader) if document is not None]
    except yaml.YAMLError as error:
        raise ManifestProblem(f"not YAML: {_place(error)}") from error
    if not all(isinstance(document, dict) for document in documents):
        raise ManifestProblem("a document must be a mapping (apiVersion, kind, metadata, spec)")
    return documents
