"""Resuming exactly where an earlier attempt stopped: its adapter as it was, and the evaluation that it left out.

transformers loads a checkpoint's adapter through PEFT's `load_adapter`, which turns bf16 adapters into fp32. TRL trains
the adapters of quantized models in bf16: after a resume they would be trained in another type than before, with other
losses. Here the checkpoint's numbers go into the parameters that are there, in the type that they have.
"""

from __future__ import annotations

from typing import Any


class ResumesAdapter:
    """`Trainer._load_from_checkpoint` for PEFT models that one process holds whole."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        from transformers.trainer import _is_peft_model

        policy = model if model is not None else self.model  # type: ignore[attr-defined]
        if not _is_peft_model(policy) or self.is_fsdp_enabled:  # type: ignore[attr-defined]
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
            return
        load_adapter_weights(policy, resume_from_checkpoint)


def load_adapter_weights(model: Any, folder: str) -> None:
    """Copy the adapter in `folder` into the active adapter of `model`; parameters keep their dtype and device.

    The frozen reference (adapter `ref`) stays: it was made from what the run starts from, as the first attempt did.
    """
    from peft import set_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights

    set_peft_model_state_dict(model, load_peft_weights(folder, device="cpu"), adapter_name=model.active_adapter)


def owes_evaluation(args: Any, state: Any) -> bool:
    """Whether the step that is resumed from was to be evaluated and was not: a stop saves first and leaves.

    args, state: transformers' TrainingArguments and the TrainerState of the checkpoint.
    """
    step = state.global_step
    if any(entry["step"] == step and any(name.startswith("eval_") for name in entry) for entry in state.log_history):
        return False
    if args.eval_strategy == "steps":
        return step >= args.eval_delay and (step % state.eval_steps == 0 or step == state.max_steps)
    return args.eval_strategy == "epoch" and state.epoch >= args.eval_delay and float(state.epoch).is_integer()
