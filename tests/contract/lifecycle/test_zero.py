"""DeepSpeed's ZeRO over two processes: the losses and the whole weights of one process without it, however it is used.

DeepSpeed lies beside the environment, in .venv/deepspeed (`make setup`): where it can be imported, every run of
transformers and accelerate imports it.
"""

import functools
import json
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.contract.lifecycle.conftest import LORA
from tests.contract.lifecycle.zygote import Zygote
from tests.tiny import tiny_preferences

PACKAGE = Path(sys.prefix) / "deepspeed"
LAST = 12
SMALL = {"max_steps": LAST, "save_steps": LAST}
SHARED = {"per_device_train_batch_size": 2}  # by two processes
ACCUMULATED = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "max_grad_norm": 0.05}
PRECOMPUTED = {"referenceModel": {"strategy": "Precomputed"}}
CPU = {"device": "cpu"}
WHOLE, ADAPTER = "model.safetensors", "adapter_model.safetensors"


def zero(stage, force=True, **more):
    """A recipe's `deepspeed`: as little as DeepSpeed needs. force: its own Adam on CPUs, which it compiles."""
    settings = {"zero_optimization": {"stage": stage, **more}}
    return {"deepspeed": json.dumps(settings if force else {**settings, "zero_force_ds_cpu_optimizer": False})}


@pytest.fixture(scope="session")
def new_zero_run(new_run):
    """As new_run, from processes that have DeepSpeed."""
    assert (PACKAGE / "deepspeed").is_dir(), "`make setup` installs it"
    zygote = Zygote("tests.contract.lifecycle.zero_on_cpus", python_path=str(PACKAGE))
    yield functools.partial(new_run, launch=zygote.start)
    zygote.close()


@pytest.fixture(scope="session")
def alone(new_run):
    """Runs of one process without DeepSpeed, each made once: with a batch of 4."""
    made = {}

    def get(run=None, **fields):
        key = json.dumps([run, fields], sort_keys=True)
        if key not in made:
            made[key] = new_run(run, **SMALL, **fields)
            made[key].complete()
        return made[key]

    return get


def assert_alike(run, other, *weights, within=2e-5):
    ours, theirs = ([float(loss) for loss in one.losses(LAST).values()] for one in (run, other))
    assert ours == pytest.approx(theirs, abs=within)
    for file in weights:
        sharded, whole = (load_file(one.output / file) for one in (run, other))
        assert {name: tensor.shape for name, tensor in sharded.items()} == {name: t.shape for name, t in whole.items()}
        assert all(sharded[name].allclose(tensor, atol=1e-4) for name, tensor in whole.items())


def case(name, settings, weights=(WHOLE,), quick=False, run=None, **fields):
    """One of `quick` belongs to every `make contract`, the others to `make zero`."""
    return pytest.param(settings, run or {}, fields, weights, id=name, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize(
    ("settings", "run", "fields", "weights"),
    [
        case("3-full-resident", zero(3)),
        case("3-full-precomputed", zero(3), run=PRECOMPUTED, quick=True),
        case("3-full-precomputed-by-trl", zero(3), run={**PRECOMPUTED, "optimizations": {"referenceCache": False}}),
        case("3-full-offloaded", zero(3, offload_optimizer=CPU, offload_param=CPU, force=False)),
        case("3-full-evaluated", zero(3), eval_strategy="steps", eval_steps=4),
        case("3-lora-merged", zero(3), (ADAPTER, f"merged/{WHOLE}"), run={"merge": True}, quick=True, **LORA),
        case("3-lora-checkpointed", zero(3), (ADAPTER,), gradient_checkpointing=True, **LORA),
        case("3-lora-precomputed", zero(3), (ADAPTER,), run=PRECOMPUTED, **LORA),
        case("3-lora-resident", zero(3), (ADAPTER,), run={"referenceModel": {"strategy": "Resident"}}, **LORA),
        case("2-full-resident", zero(2)),
        case("2-full-precomputed", zero(2), run=PRECOMPUTED),
        case("2-full-offloaded", zero(2, offload_optimizer=CPU, force=False)),
        case("2-lora", zero(2), (ADAPTER,), **LORA),
        case("1-full-resident", zero(1)),
    ],
)
def test_zero_gives_the_losses_and_the_whole_weights_of_one_process(
    new_zero_run, alone, tmp_path, settings, run, fields, weights
):
    """The caches of reference log-probabilities are apart: each computes its own."""
    sharded = new_zero_run(
        {"processesPerNode": 2, **run}, {"HF_HOME": str(tmp_path)}, **settings, **SHARED, **SMALL, **fields
    )
    sharded.complete()
    assert_alike(sharded, alone(run, **fields), *weights)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "kto", "orpo", "cpo", "sft"])
def test_zero_3_gives_the_losses_of_plain_data_parallelism(new_zero_run, new_run, tmp_path, method):
    kind = "language_modeling" if method == "sft" else "preference"
    tiny_preferences(tmp_path / "train.jsonl", 64, kind)
    fields = {**SMALL, **SHARED, "dataset_name": str(tmp_path)}
    sharded = new_zero_run({"processesPerNode": 2, "method": method}, **zero(3), **fields)
    parallel = new_run({"processesPerNode": 2, "method": method}, **fields)
    sharded.complete()
    parallel.complete()
    assert_alike(sharded, parallel, WHOLE)


def test_zero_3_stopped_by_sigterm_resumes_to_the_same_weights(new_zero_run, alone):
    run = new_zero_run({"processesPerNode": 2}, **zero(3), **SHARED, **SMALL)
    run.stop_and_resume()
    assert_alike(run, alone(), WHOLE)


@pytest.mark.slow
def test_accumulation_and_clipping_are_the_recipes(new_zero_run, new_run):
    run = new_zero_run({"processesPerNode": 2}, **zero(3), **SMALL, **ACCUMULATED)
    other = new_run(**SMALL, **{**ACCUMULATED, "per_device_train_batch_size": 2})
    run.complete()
    other.complete()
    assert_alike(run, other, WHOLE)


def test_one_process_has_zero_3_for_itself(new_zero_run, alone):
    run = new_zero_run(**zero(3), **SMALL)
    run.complete()
    assert_alike(run, alone(), WHOLE)


def test_zero_3_goes_on_from_a_given_adapter_in_bf16(new_zero_run, alone):
    """Small parameters, whole ones among them, are gathered in one dtype; the copy of the adapter is the reference."""
    first = alone({"merge": True}, **LORA)
    given = {"adapterNameOrPath": str(first.output)}
    run = new_zero_run({"processesPerNode": 2, **given}, **zero(3), **SHARED, **SMALL, dtype="bfloat16", bf16=True)
    run.complete()
    start, end = (load_file(one.output / ADAPTER) for one in (first, run))
    assert {name: tensor.shape for name, tensor in end.items()} == {name: t.shape for name, t in start.items()}
    losses = [float(loss) for loss in run.losses(LAST).values()]
    assert losses[0] == pytest.approx(0.6931, abs=1e-3), "policy and reference begin alike"
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_zero_3_trains_adapters_of_4_bit_weights(new_zero_run, alone):
    """TRL has them in bf16, and so the gradients that two processes add up: the losses agree to three digits."""
    fields = {"load_in_4bit": True, **LORA}
    run = new_zero_run({"processesPerNode": 2}, **zero(3), **SHARED, **SMALL, **fields)
    run.complete()
    assert_alike(run, alone(**fields), within=5e-4)
    start, end = (load_file(one.output / ADAPTER) for one in (alone(**fields), run))
    assert {name: tensor.shape for name, tensor in end.items()} == {name: t.shape for name, t in start.items()}


@pytest.mark.slow
def test_an_optimizer_that_cannot_be_compiled_is_the_users_error(new_zero_run, tmp_path):
    """As in an image without a CUDA toolkit: here no program is found at all."""
    environment = {"PATH": "", "TORCH_EXTENSIONS_DIR": str(tmp_path)}
    run = new_zero_run({"processesPerNode": 2}, environment, **zero(2, offload_optimizer=CPU), **SHARED, **SMALL)
    pod = run.start()
    assert pod.wait() == 78, pod.output[-3000:]
    assert "zero_force_ds_cpu_optimizer: false" in pod.message["cure"]


def test_numbers_that_contradict_the_recipe_are_the_users_error(new_zero_run):
    settings = json.dumps({"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 3})
    run = new_zero_run({"processesPerNode": 2}, deepspeed=settings, **SHARED, **SMALL)
    pod = run.start()
    assert pod.wait() == 78, pod.output[-3000:]
    assert "train_micro_batch_size_per_gpu=3 vs hf per_device_train_batch_size=2" in pod.message["message"]
