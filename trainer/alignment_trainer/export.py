"""What becomes of the saved model: merged weights, a repository on the hub. Works from the output folder alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import Config

MERGED = "merged"
_OURS = [
    "checkpoint-*",
    "attempts.jsonl",
    "heartbeat",
    "attempt-*.log",
    "trained",
    "result.json",
    f"{MERGED}/*",
    "training_args.bin",
]


def saved(config: Config) -> dict[str, str]:
    """Artifacts at the top of the output folder: an adapter or a model."""
    _readable(config.run.outputPath)
    is_adapter = os.path.exists(os.path.join(config.run.outputPath, "adapter_config.json"))
    return {"adapter" if is_adapter else "model": "."}


def merge(config: Config) -> str:
    """Write `merged/`: the base in the recipe's dtype, never quantized, with the adapter added into its weights.

    Returns the path relative to the output folder. Runs on the CPU: the GPU may still hold the policy.
    """
    import dataclasses

    from peft import PeftModel
    from transformers import AutoTokenizer

    from .models import get_model

    output, target = config.run.outputPath, os.path.join(config.run.outputPath, MERGED)
    plain = dataclasses.replace(config.model_args, load_in_4bit=False, load_in_8bit=False)
    base = get_model(plain, config.training_args, device_map={"": "cpu"}, use_cache=True)
    merged = PeftModel.from_pretrained(base, output).merge_and_unload()
    merged.save_pretrained(target)
    AutoTokenizer.from_pretrained(output).save_pretrained(target)
    _readable(target)
    return MERGED


def _readable(folder: str) -> None:
    """safetensors writes with mode 0600: who copies the result, or goes on from it, may have another user ID."""
    for entry in os.scandir(folder):
        if entry.name.endswith(".safetensors"):
            os.chmod(entry.path, 0o644)


def push(config: Config) -> str:
    """Upload the merged model if there is one, else the adapter or model. Returns `repository@commit`."""
    from huggingface_hub import HfApi

    target = config.run.push
    assert target is not None
    api = HfApi(token=os.environ.get("ALIGNMENT_PUSH_TOKEN"))  # None: HF_TOKEN; HF_ENDPOINT says where
    api.create_repo(target.repository, private=target.private, exist_ok=True)
    merged = os.path.join(config.run.outputPath, MERGED)
    commit = api.upload_folder(
        repo_id=target.repository,
        folder_path=merged if os.path.isdir(merged) else config.run.outputPath,
        ignore_patterns=_OURS,
        commit_message=f"{config.run.method} by {config.run.job.namespace}/{config.run.job.name}",
    )
    return f"{target.repository}@{commit.oid}"
