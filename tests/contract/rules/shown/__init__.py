"""Where TRL checks nothing: how a run without the rule dies, or does something else than the spec says.

Each function of these modules is named by what it shows, takes a case of the table, and fails if it is not so. Where
hardware or a library is missing here, its presence is pretended at one point, named in the docstring; what raises, or
lies, is always the pinned library.
"""

import importlib
from collections.abc import Callable

MODULES = ("models", "methods", "training", "hardware", "data")


def function(name: str) -> Callable[..., None]:
    """The function of that name, of whichever module."""
    modules = (importlib.import_module(f"{__name__}.{module}") for module in MODULES)
    return next(getattr(module, name) for module in modules if hasattr(module, name))
