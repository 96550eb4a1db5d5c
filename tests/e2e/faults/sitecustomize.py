"""Mounted into the pod of a real trainer image: makes its worker fail in one chosen way (FAULT), at its second step.

Python imports this by itself, before anything else. Only what no real input can bring about on demand is done here: a
crash, a hang, an allocation that a GPU would refuse.
"""

import os
import signal
import sys
import threading
import time

FAULT = os.environ.get("FAULT", "")


def fails(self, inputs):
    """Before a step of TRL's trainer."""
    if FAULT == "out-of-memory" or (FAULT == "no-room-for-two" and len(inputs["input_ids"]) > 2):
        import torch  # of a pair, chosen and rejected are two rows

        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if self.state.global_step < 1:
        return
    if FAULT == "exception":
        raise RuntimeError("a bug of ours")
    if FAULT == "hang":
        time.sleep(100_000)
    if FAULT.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, FAULT))
        time.sleep(100)


def when_imported(module, attribute, then):
    """Call `then(module)` once that module has the attribute."""
    while not hasattr(sys.modules.get(module), attribute):
        time.sleep(0.005)
    then(sys.modules[module])


def break_steps(trainer):
    step = trainer.Trainer.training_step

    def training_step(self, model, inputs, *args, **kwargs):
        fails(self, inputs)
        return step(self, model, inputs, *args, **kwargs)

    trainer.Trainer.training_step = training_step


def shrink_gpu(device):
    """The pod has a GPU by Kubernetes' books and none in truth: this stands for its free memory."""
    device.gpu_free_bytes = lambda: 4 << 20


if os.environ.get("ALIGNMENT_REPORT_FD"):  # in workers only
    if FAULT == "small-gpu":
        what = ("alignment_trainer.memory.device", "gpu_free_bytes", shrink_gpu)
    else:
        what = ("transformers.trainer", "Trainer", break_steps)
    threading.Thread(target=when_imported, args=what, daemon=True).start()
