"""What becomes of a saved adapter: merged weights that stand alone."""

from __future__ import annotations

from tests.trainer_runs import LORA, Bench


def test_merged_weights_without_new_tokens_keep_their_vocabulary(bench: Bench) -> None:
    from transformers import AutoModelForCausalLM

    done = bench.run(bench.recipe(**LORA, dtype="float32"), merge=True)
    merged = AutoModelForCausalLM.from_pretrained(done.output / "merged")
    assert merged.config.vocab_size == AutoModelForCausalLM.from_pretrained(bench.model).config.vocab_size
