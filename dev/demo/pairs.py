"""LLaMA-Factory's preference pairs in TRL's conversational formats, split into training and held-out.

Pairs with a long prompt are left out: the demonstration trains on a CPU for minutes, with short sequences, and a prompt
that fills them leaves nothing of the answers to compare.
"""

import json
import random
from typing import Any

ROLES = {"system": "system", "human": "user", "gpt": "assistant"}
PROMPT_CHARACTERS = 400  # at most 149 tokens of SmolLM2, 72 on average; 119 of the 300 pairs
HELD_OUT = 20
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


def short(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows whose prompt has at most PROMPT_CHARACTERS characters; the answers may have any length."""
    return [row for row in rows if sum(len(message["content"]) for message in row["prompt"]) <= PROMPT_CHARACTERS]


def conversations(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The preferred conversations alone, for SFT (TRL's conversational language modeling format)."""
    return [{"messages": row["prompt"] + row["chosen"]} for row in rows]


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
