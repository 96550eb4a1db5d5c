"""Which AlignmentJobs start from the output of which: looking through all of them at each event would not do."""

from collections import defaultdict
from collections.abc import Mapping, Set
from typing import Any

from .table import Key

Object = Mapping[str, Any]


class Followers:
    """AlignmentJob -> those whose `spec.model.fromJob` names it. One event loop only."""

    def __init__(self) -> None:
        self._of: defaultdict[Key, set[Key]] = defaultdict(set)

    def follow(self, key: Key, before: Object | None, after: Object | None) -> None:
        """The AlignmentJob was this, and is that; None: not there."""
        old, new = from_job(before), from_job(after)
        if old and old != new:
            followed = self._of[Key(key.namespace, old)]
            followed.discard(key)
            if not followed:
                del self._of[Key(key.namespace, old)]
        if new:
            self._of[Key(key.namespace, new)].add(key)

    def of(self, key: Key) -> Set[Key]:
        return self._of.get(key, frozenset())


def from_job(obj: Object | None) -> str:
    """The AlignmentJob whose output this one starts from; empty: none."""
    name: str = (obj or {}).get("spec", {}).get("model", {}).get("fromJob", "")
    return name
