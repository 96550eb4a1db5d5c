"""What becomes of the saved model: merged weights, a repository on the hub. Works from the output folder alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import cures, trackers
from .exits import AccessDenied, Infrastructure, ModelUnavailable, UserError

if TYPE_CHECKING:
    from .config import Config

MERGED = "merged"
_OURS = [
    "checkpoint-*",
    "attempts.jsonl",
    "heartbeat",
    "memory-rung.json",
    "attempt-*.log",
    "trained",
    "result.json",
    f"{MERGED}/*",
    f"{trackers.FOLDER}/*",
    "training_args.bin",
]
_GO_ON = (
    "Then delete the job and apply it again: the model is complete, and it goes on with the upload. "
    "Another spec.output.push.repository, or another spec.rerun, trains anew."
)
_TOKEN_CURE = f"Give spec.output.push.secretName a token that may write there. {_GO_ON}"
_XET_CURE = (
    f"This hub has no Xet storage: set the environment variable HF_HUB_DISABLE_XET to 1 in spec.podTemplate. {_GO_ON}"
)
_OFFLINE_CURE = f"HF_HUB_OFFLINE is set: set it to 0 in spec.podTemplate. {_GO_ON}"
_DOWN_CURE = "The hub or the network is down: the upload, and it alone, is tried again."


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
    from .vocabulary import fit_vocabulary
    from .zero import whole_models

    output, target = config.run.outputPath, os.path.join(config.run.outputPath, MERGED)
    plain = dataclasses.replace(config.model_args, load_in_4bit=False, load_in_8bit=False)
    tokenizer = AutoTokenizer.from_pretrained(output)
    with whole_models(config.training_args):  # the other processes are done
        base = get_model(plain, config.training_args, device_map={"": "cpu"}, use_cache=True)
        fit_vocabulary(base, output, len(tokenizer))
        merged = PeftModel.from_pretrained(base, output).merge_and_unload()
    merged.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _readable(target)
    return MERGED


def _readable(folder: str) -> None:
    """safetensors writes with mode 0600: who copies the result, or goes on from it, may have another user ID."""
    for entry in os.scandir(folder):
        if entry.name.endswith(".safetensors"):
            os.chmod(entry.path, 0o644)


def push(config: Config) -> str:
    """Upload the merged model if there is one, else the adapter or model. Returns `repository@commit`.

    Raises AccessDenied, UserError and Infrastructure in place of the hub's refusals, naming the field of the upload.
    """
    from huggingface_hub import HfApi

    target = config.run.push
    assert target is not None
    merged = os.path.join(config.run.outputPath, MERGED)
    folder = merged if os.path.isdir(merged) else config.run.outputPath
    _forget_local_base_model(folder)
    with _naming(target.repository):
        api = HfApi(token=os.environ.get("ALIGNMENT_PUSH_TOKEN"))  # None: HF_TOKEN; HF_ENDPOINT says where
        api.create_repo(target.repository, private=target.private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=target.repository,
            folder_path=folder,
            ignore_patterns=_OURS,
            commit_message=f"{config.run.method} by {config.run.job.namespace}/{config.run.job.name}",
        )
    return f"{target.repository}@{commit.oid}"


@contextmanager
def _naming(repository: str) -> Iterator[None]:
    """While `repository` is written. The hub answers alike for what is missing and for what may not be seen."""
    try:
        yield
    except Exception as error:
        from .diagnosis import classify

        known = classify(error)
        said = f"spec.output.push: {repository} cannot be written: {known.message}"
        if type(error).__name__ == "HFValidationError":
            raise UserError(said, "Set spec.output.push.repository to OWNER/NAME.") from error
        if type(error).__name__ == "OfflineModeIsEnabled":
            raise UserError(said, _OFFLINE_CURE) from error
        if re.search(r"404 Not Found.*xet-write-token", known.message):
            raise UserError(said, _XET_CURE) from error
        if known.cure == cures.CERTIFICATE:
            raise UserError(said, f"{known.cure} {_GO_ON}") from error
        if isinstance(known, AccessDenied | ModelUnavailable):
            raise AccessDenied(said, _TOKEN_CURE) from error
        if isinstance(known, Infrastructure):
            raise Infrastructure(said, _DOWN_CURE) from error
        raise


def _forget_local_base_model(folder: str) -> None:
    """PEFT writes where the base model lay into the model card; the hub refuses a card that names a folder there."""
    path = os.path.join(folder, "README.md")
    if not os.path.exists(path):
        return
    from huggingface_hub import ModelCard

    card = ModelCard.load(path, ignore_metadata_errors=True)
    if not os.path.isabs(str(card.data.base_model or "")):
        return
    card.data.base_model = None
    card.data.tags = [tag for tag in card.data.tags or () if not tag.startswith("base_model:")]
    card.save(path)
