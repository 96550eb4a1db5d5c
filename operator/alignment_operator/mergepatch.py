"""JSON merge patches (RFC 7386). Pure."""

from typing import Any

Object = dict[str, Any]


def merge_diff(old: Object, new: Object) -> Object:
    """The JSON merge patch (RFC 7386) that turns old into new; empty when they are equal."""
    patch: Object = {name: None for name in old if name not in new}
    for name, value in new.items():
        if value is None:
            if old.get(name) is not None:
                patch[name] = None
        elif isinstance(value, dict) and isinstance(old.get(name), dict):
            if inner := merge_diff(old[name], value):
                patch[name] = inner
        elif name not in old or old[name] != value:
            patch[name] = value
    return patch
