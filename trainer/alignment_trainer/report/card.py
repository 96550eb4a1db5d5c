"""README.md: the model card, so that a model that is passed on says what it is.

In place of TRL's own, whose example names the repository `None` and which knows no commit and no metric.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import yaml

CARD_FILE = "README.md"
SHOWN = (
    "loss", "eval_loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
    "eval_rewards/margins", "eval_rewards/accuracies", "margin", "accuracy", "eval_margin", "eval_accuracy",
    "mean_token_accuracy", "eval_mean_token_accuracy", "train_loss",
)  # fmt: skip
PACKAGES = ("trl", "transformers", "torch", "peft", "accelerate", "datasets", "bitsandbytes")
_HERE = ("output_dir", "dataset_name", "model_name_or_path", "datasets")  # told elsewhere, or true only here


def render(receipt: Mapping[str, Any], *, adapter: bool, curves: bool) -> str:
    """The card. adapter: the weights beside it are a PEFT adapter; curves: the report's picture lies below it."""
    job, method = receipt["job"], receipt["method"].upper()
    parts = [
        f"---\n{yaml.safe_dump(front_matter(receipt, adapter=adapter), sort_keys=False)}---",
        f"# {job['name']}",
        _origin(receipt, adapter, method),
        _use(receipt, adapter),
        "## Metrics\n\n" + _metrics(receipt.get("metrics", {})),
    ]
    if curves:
        parts.append("![How loss, rewards and learning rate went](report/curves.png)")
    parts += ["## Recipe\n\n" + _recipe(receipt), "## Made with\n\n" + _made_with(receipt)]
    return "\n\n".join(parts) + "\n"


def front_matter(receipt: Mapping[str, Any], *, adapter: bool) -> dict[str, Any]:
    """What a hub reads. It knows no folders, so a local base model or dataset is left out."""
    base, dataset = receipt["model"]["name"], receipt["dataset"]
    names = [part.get("name") for part in dataset.get("mixture", [dataset])]
    known: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-classification" if receipt["method"] == "reward" else "text-generation",
        "base_model": None if is_folder(base) else base,
        "datasets": [name for name in names if name and not is_folder(name)],
        "tags": ["trl", receipt["method"], "alignment-operator", *(["lora"] if adapter else [])],
    }
    return {name: value for name, value in known.items() if value}


def is_folder(name: str) -> bool:
    """A path rather than a hub's OWNER/NAME."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or os.path.exists(name)


def _origin(receipt: Mapping[str, Any], adapter: bool, method: str) -> str:
    job, dataset = receipt["job"], receipt["dataset"]
    what = "An adapter for" if adapter else "Fine-tuned from"
    lines = [
        f"{what} {_named(receipt['model'])}, trained with {method}{_paper(receipt)} by run {job['run']} of the "
        f"AlignmentJob `{job['namespace']}/{job['name']}`.",
        "",
        "| | |",
        "|---|---|",
        f"| model | {_named(receipt['model'])} |",
    ]
    if "adapter" in receipt:
        lines.append(f"| adapter to begin with | {_named(receipt['adapter'])} |")
    if "referenceModel" in receipt:
        reference = receipt["referenceModel"]
        own = f": {_named(reference)}" if "name" in reference else ""
        lines.append(f"| reference model | {reference['strategy']}{own} |")
    parts = dataset.get("mixture", [dataset])
    lines.append(f"| data | {'; '.join(_data(part) for part in parts)}{_commits(dataset)} |")
    if steps := receipt.get("steps"):
        attempts = len(receipt.get("attempts") or [1])
        lines.append(f"| steps | {steps['done']} of {steps['total']}, in {attempts} attempt{'s' * (attempts > 1)} |")
    return "\n".join([*lines, *(f"| finding | {finding} |" for finding in receipt.get("findings", []))])


def _named(model: Mapping[str, Any]) -> str:
    """`OWNER/NAME` at COMMIT; a folder by its last part, for the rest means nothing elsewhere."""
    name = os.path.basename(model["name"].rstrip("/")) if is_folder(model["name"]) else model["name"]
    return f"`{name}` at commit `{model['commit']}`" if model.get("commit") else f"`{name}`"


def _data(part: Mapping[str, Any]) -> str:
    config = f" ({part['config']})" if part.get("config") else ""
    return f"{_named({'name': part.get('name', '?')})}{config}, split `{part.get('split', 'train')}`"


def _commits(dataset: Mapping[str, Any]) -> str:
    rows = f", {dataset['rows']} rows" if "rows" in dataset else ""
    commits = ", ".join(f"`{commit}`" for commit in dataset.get("commits", []))
    return rows + (f", at commit {commits}" if commits else "")


def _paper(receipt: Mapping[str, Any]) -> str:
    paper = receipt.get("paper")
    return f" ({paper['title']}, arXiv:{paper['id']})" if paper and {"title", "id"} <= paper.keys() else ""


def _use(receipt: Mapping[str, Any], adapter: bool) -> str:
    classifier = receipt["method"] == "reward"
    kind = "SequenceClassification" if classifier else "CausalLM"
    auto = f"AutoPeftModelFor{kind}" if adapter else f"AutoModelFor{kind}"
    arguments = ", num_labels=1" if classifier else ""
    return (
        "```python\n"
        f"from {'peft' if adapter else 'transformers'} import {auto}\n"
        "from transformers import AutoTokenizer\n\n"
        f'model = {auto}.from_pretrained("."{arguments})  # this folder or repository\n'
        'tokenizer = AutoTokenizer.from_pretrained(".")\n'
        "```"
    )


def _metrics(metrics: Mapping[str, float]) -> str:
    """The last logged values; of the accuracies that of the rewards, where there are rewards."""
    shown = [name for name in SHOWN if name in metrics]
    if "rewards/accuracies" in metrics:
        shown = [name for name in shown if "token_accuracy" not in name]
    rows = [f"| {name} | {metrics[name]:.4g} |" for name in shown]
    return "\n".join(["| last value of | |", "|---|---|", *rows]) if rows else "None was logged."


def _recipe(receipt: Mapping[str, Any]) -> str:
    recipe = {name: value for name, value in receipt["configuration"]["recipe"].items() if name not in _HERE}
    return (
        "What was set beside model and data, in TRL's words. Every other setting, with seeds, versions, hardware and "
        "digests, is in `report/receipt.json` of the run's output.\n\n"
        f"```yaml\n{yaml.safe_dump(recipe, sort_keys=False)}```"
    )


def _made_with(receipt: Mapping[str, Any]) -> str:
    packages = receipt["software"]["packages"]
    return ", ".join(f"{name} {packages[name]}" for name in PACKAGES if name in packages) + (
        f", Python {receipt['software']['python']}."
    )
