"""LLaMA-Factory's preference pairs in TRL's conversational preference format, split into training and held-out."""

import json
import random
from typing import Any

ROLES = {"system": "system", "human": "user", "gpt": "assistant"}
HELD_OUT = 30
SEED = 0


def convert(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """ShareGPT turns (`from`, `value`) to messages (`role`, `content`): prompt, chosen, rejected are lists of messages.

    The format: TRL, "Dataset formats and types", conversational preference with an explicit prompt.
    """
    return [
        {
            "prompt": [_message(turn) for turn in row["conversations"]],
            "chosen": [_message(row["chosen"])],
            "rejected": [_message(row["rejected"])],
        }
        for row in rows
    ]


def split(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training and held-out rows, the same on every machine; a prompt that occurs twice stays on one side."""
    prompts = sorted({_key(row) for row in rows})
    random.Random(SEED).shuffle(prompts)
    held_out = set(prompts[:HELD_OUT])
    return [row for row in rows if _key(row) not in held_out], [row for row in rows if _key(row) in held_out]


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _message(turn: dict[str, str]) -> dict[str, str]:
    return {"role": ROLES[turn["from"]], "content": turn["value"]}


def _key(row: dict[str, Any]) -> str:
    return json.dumps(row["prompt"])
