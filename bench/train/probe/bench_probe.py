"""Runs inside a measured process, stock or ours alike, and writes down when it did what.

The least that can be done from within: a module's execution is timed by the import system's own hook, and about ten
functions of datasets, transformers and accelerate, which both programs call, are timed right after their module was
executed. No callback, no setting and no argument of the run is touched; a step costs two clock readings. What is
written is raw (spans, step ends, logs); record.py makes phases of it.
"""

from __future__ import annotations

import atexit
import functools
import importlib._bootstrap_external as loaders
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# (module that defines it, attribute, phase)
TIMED = [
    ("datasets.load", "load_dataset", "dataset"),
    ("datasets.arrow_dataset", "Dataset.map", "tokenization"),
    ("datasets.arrow_dataset", "Dataset.filter", "tokenization"),
    ("transformers.models.auto.tokenization_auto", "AutoTokenizer.from_pretrained", "tokenizer"),
    ("transformers.models.auto.processing_auto", "AutoProcessor.from_pretrained", "tokenizer"),
    ("transformers.models.auto.auto_factory", "_BaseAutoModelClass.from_pretrained", "model"),
    ("transformers.modeling_utils", "PreTrainedModel.from_pretrained", "model"),
    *((f"trl.trainer.{name.lower()}_trainer", f"{name}Trainer.__init__", "trainer") for name in ("DPO", "SFT", "KTO")),
    ("trl.trainer.reward_trainer", "RewardTrainer.__init__", "trainer"),
]
EVENTS = ("transformers.trainer_callback", "CallbackHandler")


class Probe:
    """What this process has to tell; `write` may be called again, the last word counts."""

    def __init__(self, folder: str) -> None:
        self.file = Path(folder) / f"{os.getpid()}.json"
        self.started = time.monotonic()
        self.spans: list[tuple[str, bool, float, float]] = []  # phase, on the main thread, begin, end
        self.steps: list[tuple[float, float]] = []  # end on the clock, CPU seconds of this process so far
        self.logs: list[dict[str, float]] = []
        self.began_training: float | None = None
        self.fed_tokens = 0
        self.importing = threading.local()

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                self.span(phase, begin)

        return call

    def span(self, phase: str, begin: float) -> None:
        on_main = threading.current_thread() is threading.main_thread()
        self.spans.append((phase, on_main, begin, time.monotonic()))

    def imported(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        """`exec_module`: the outermost one of a chain of imports is the span; each module is looked up in TIMED."""

        def exec_module(loader: Any, module: Any) -> None:
            outermost = not getattr(self.importing, "depth", 0)
            self.importing.depth = getattr(self.importing, "depth", 0) + 1
            begin = time.monotonic()
            try:
                execute(loader, module)
            finally:
                self.importing.depth -= 1
                if outermost:
                    self.span("imports", begin)
            self.instrument(module)

        return exec_module

    def instrument(self, module: Any) -> None:
        for name, attribute, phase in TIMED:
            if module.__name__ == name:
                self.replace(module, attribute, functools.partial(self.timed, phase))
        if module.__name__ == EVENTS[0]:
            for event in ("on_train_begin", "on_step_end", "on_log", "on_train_end"):
                self.replace(module, f"{EVENTS[1]}.{event}", functools.partial(self.listen, event))

    @staticmethod
    def replace(module: Any, attribute: str, wrap: Callable[[Any], Any]) -> None:
        *path, name = attribute.split(".")
        owner = functools.reduce(getattr, path, module)
        original = vars(owner)[name]
        if isinstance(original, classmethod):
            setattr(owner, name, classmethod(wrap(original.__func__)))
        else:
            setattr(owner, name, wrap(original))

    def listen(self, event: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(handler: Any, *args: Any, **kwargs: Any) -> Any:
            getattr(self, event)(handler, *args)
            return original(handler, *args, **kwargs)

        return call

    def on_train_begin(self, handler: Any, *_: Any) -> None:
        self.began_training = time.monotonic()
        handler.model.get_input_embeddings().register_forward_pre_hook(self.count_tokens)

    def count_tokens(self, module: Any, inputs: tuple[Any, ...]) -> None:
        """Tokens of the policy's passes; those of the reference are made without gradients."""
        if sys.modules["torch"].is_grad_enabled():
            self.fed_tokens += inputs[0].numel()

    def on_step_end(self, *_: Any) -> None:
        self.steps.append((time.monotonic(), time.process_time()))

    def on_log(self, handler: Any, args: Any, state: Any, control: Any, logs: dict[str, Any]) -> None:
        self.logs.append({name: value for name, value in logs.items() if isinstance(value, int | float)})

    def on_train_end(self, *_: Any) -> None:
        self.write()

    def write(self) -> None:
        torch = sys.modules.get("torch")
        training = self.began_training is not None and torch is not None
        cuda = training and torch.cuda.is_available()
        facts = {
            "argv": sys.argv,
            "started": self.started,
            "beganTraining": self.began_training,
            "cpuSeconds": time.process_time(),
            "peakRss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "peakCuda": torch.cuda.max_memory_allocated() if cuda else None,
            "threads": torch.get_num_threads() if training else None,
            "fedTokens": self.fed_tokens,
            "spans": self.spans,
            "steps": self.steps,
            "logs": self.logs,
        }
        self.file.write_text(json.dumps(facts))


def start(folder: str) -> None:
    """Watch this process; `folder` gets one file per process."""
    probe = Probe(folder)
    for loader in (loaders._LoaderBasics, loaders.ExtensionFileLoader):
        loader.exec_module = probe.imported(loader.exec_module)
    atexit.register(probe.write)
