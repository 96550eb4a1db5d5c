"""Packages that others import and the run does not need: bitsandbytes until a layer of it is made, Triton on CPUs.

PEFT imports bitsandbytes at its top, and again with the first adapter layer, whether or not anything is quantized; with
it comes the whole of torch's compiler (`torch._inductor`): a sixth of all that a worker does before its first step.
torch and TRL import Triton, a compiler of 70 MiB, if they can; its kernels are for GPUs.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

BITSANDBYTES = "bitsandbytes"
TRITON = "triton"


class _Deferred(types.ModuleType):
    """A module that is executed when something is asked of it; the statement `import` asks nothing.

    importlib's LazyLoader is no help: `import` itself reads `__spec__`, and that executes its modules.
    """

    def __getattr__(self, name: str) -> Any:
        spec: Any = self.__spec__
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        try:
            spec.loader.exec_module(self)
        except BaseException:
            sys.modules.pop(spec.name, None)  # as a failed import leaves it
            raise
        return getattr(self, name)


def defer(name: str) -> None:
    """Make `import name` of a package cost nothing until it is used; nothing happens if it is imported or missing."""
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None:
        return
    module = importlib.util.module_from_spec(spec)
    vars(module).pop("__path__", None)  # who imports a submodule asks for it, and needs the package executed
    module.__class__ = _Deferred
    sys.modules[name] = module


def spare_peft_bitsandbytes() -> None:
    """PEFT looks for bitsandbytes' layers only once bitsandbytes is executed: before that no model has any."""
    import peft.tuners.lora.model

    vars(peft.tuners.lora.model).update(is_bnb_available=is_executed, is_bnb_4bit_available=is_executed)


def do_without(name: str) -> None:
    """Let the package look as if it were not installed, as Triton is not beside torch's wheels for CPUs."""
    if name not in sys.modules:
        sys.modules[name] = None  # type: ignore[assignment]


def is_executed() -> bool:
    return f"{BITSANDBYTES}.nn" in sys.modules
