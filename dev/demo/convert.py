"""Runs in the trainer image: a GGUF file to a Hugging Face folder in bf16 safetensors.

Usage: convert.py GGUF_FILE FOLDER
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(gguf_file: Path, folder: Path) -> None:
    source = {"pretrained_model_name_or_path": str(gguf_file.parent), "gguf_file": gguf_file.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    # transformers has expanded the weights, but still takes the model for a quantized one and would refuse to save it.
    setattr(model, "hf_quantizer", None)  # noqa: B010
    for holder in (model, model.config):
        for name in ("quantization_config", "quantization_method", "is_quantized", "_is_quantized"):
            vars(holder).pop(name, None)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
