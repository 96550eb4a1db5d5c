"""The CEL engine, without the command line that its package imports beside it: 14 MB of memory and most of a second."""

import sys
from types import ModuleType

sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))

import cel  # noqa: E402

__all__ = ["cel"]
