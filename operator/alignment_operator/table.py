"""Objects of one kind by name, the newest resourceVersion of each: a shelf of the store."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")
DELETIONS = 10_000  # remembered: a late echo of an object that is gone must not bring it back


class Key(NamedTuple):
    """Namespace and name of an AlignmentJob."""

    namespace: str
    name: str


@dataclass(slots=True)
class Table(Generic[V]):
    """Objects of one kind by (namespace, name), each with its resourceVersion and the AlignmentJob it belongs to."""

    rows: dict[Key, tuple[int, Key, V]] = field(default_factory=dict)
    gone: OrderedDict[Key, int] = field(default_factory=OrderedDict)  # resourceVersion at which a name was last deleted
    by_owner: dict[Key, tuple[Key, ...]] = field(default_factory=dict)  # mostly of one: a set takes three times as much

    def is_news(self, key: Key, version: int) -> bool:
        """Whether nothing as new is known of the object."""
        old = self.rows.get(key)
        return (old is None or old[0] < version) and self.gone.get(key, 0) < version

    def put(self, key: Key, version: int, owner: Key, value: V) -> bool:
        """Keep the value unless ours is as new; True when it differs from what was there."""
        if not self.is_news(key, version):
            return False
        old = self.rows.get(key)
        self.rows[key] = (version, owner, value)
        siblings = self.by_owner.get(owner, ())
        if key not in siblings:
            self.by_owner[owner] = (*siblings, key)
        return old is None or old[2] != value

    def drop(self, key: Key, version: int) -> Key | None:
        """Forget an object that was deleted at that version; returns its owner, or None when we knew a newer one."""
        self.gone[key] = max(version, self.gone.pop(key, 0))
        while len(self.gone) > DELETIONS:
            self.gone.popitem(last=False)
        old = self.rows.get(key)
        if old is None or old[0] > version:
            return None
        del self.rows[key]
        owner = old[1]
        siblings = tuple(one for one in self.by_owner.pop(owner) if one != key)
        if siblings:
            self.by_owner[owner] = siblings
        return owner

    def get(self, key: Key) -> V | None:
        row = self.rows.get(key)
        return row[2] if row else None

    def of(self, owner: Key) -> Iterator[V]:
        """The objects that belong to an AlignmentJob."""
        for key in self.by_owner.get(owner, ()):
            yield self.rows[key][2]
