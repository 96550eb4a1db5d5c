"""Random numbers are drawn as stock TRL draws them, so that the same seed gives the same run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def already_seeded(trainer_class: type) -> Iterator[None]:
    """While TRL builds its trainer around a model whose new head was drawn here, right after the seed was set.

    TRL seeds before it loads a model, and also when it is given one: the adapter would be drawn from the same numbers
    as the head, where stock TRL goes on with the next ones.
    """
    trl_class = next(cls for cls in trainer_class.__mro__ if cls.__module__.startswith("trl."))
    module = sys.modules[trl_class.__module__]
    set_seed = module.set_seed
    module.set_seed = lambda seed: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.set_seed = set_seed  # type: ignore[attr-defined]
