"""Devices, processes and sharding."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.contract.rules import harness
from tests.contract.rules.harness import World
from tests.contract.rules.shown.case import bad
from tests.rule_cases import Case, Json, merge, spec


def flex_attention_has_no_cpu_backward(case: Case, world: World, out: Path) -> None:
    from torch.nn.attention.flex_attention import flex_attention

    query = torch.randn(1, 1, 16, 16, requires_grad=True)
    with pytest.raises(NotImplementedError, match="CPU"):
        torch.compile(flex_attention)(query, query, query).sum().backward()


def nccl_needs_gpus(case: Case, world: World, out: Path) -> None:
    import torch.distributed as dist

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    store = dist.HashStore()
    with pytest.raises((RuntimeError, ValueError), match=r"(?i)gpu|nccl"):
        dist.init_process_group("nccl", store=store, rank=0, world_size=1)


def deepspeed_text_is_a_path(case: Case, world: World, out: Path) -> None:
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    with pytest.raises(ValueError, match="path to an existing"):
        HfDeepSpeedConfig(bad(case)["training"]["deepspeed"])


def fsdp_and_deepspeed_exclude_each_other(case: Case, world: World, out: Path) -> None:
    """DeepSpeed is no part of the image, and a run dies for want of it. Were it there, it would die of the two."""
    from accelerate.state import AcceleratorState
    from transformers import TrainingArguments

    with pytest.raises(ImportError, match="deepspeed"):
        harness.trainer(bad(case), world, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AcceleratorState, "deepspeed_plugin", SimpleNamespace(zero_stage=2, enable_msamp=False))
        patch.setattr(TrainingArguments, "hf_deepspeed_config", object(), raising=False)
        with pytest.raises(ValueError, match="Using --fsdp xxx together with --deepspeed is not possible"):
            harness.trainer(merge(bad(case), {"training": {"deepspeed": None}}), world, out)


def fsdp_checkpoints_activations_itself(case: Case, world: World, out: Path) -> None:
    """accelerate makes FSDP's plugin on GPUs only; that it was made, of these very arguments, is pretended here."""
    with pytest.raises(ValueError, match="can't both be set to True"):
        _with_fsdp_plugin(bad(case), world, out)
    with pytest.raises(ValueError, match="Using fsdp only works in distributed training"):
        _with_fsdp_plugin(spec(case.good), world, out)  # past that check, to the next one, which the launcher heeds


def _with_fsdp_plugin(settings: Json, world: World, out: Path) -> None:
    from accelerate.state import AcceleratorState
    from accelerate.utils import FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin(**harness.training_config(settings, out).fsdp_plugin_args)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AcceleratorState, "fsdp_plugin", plugin, raising=False)
        harness.trainer(settings, world, out)


def processes_and_gpus_differ(case: Case, world: World, out: Path) -> None:
    """One process that sees two GPUs is refused by TRL; of four, two share a GPU, which NCCL refuses."""
    settings = bad(case)
    gpus, processes = settings["gpusPerNode"], settings["processesPerNode"]
    if processes < gpus:
        _one_process_sees(gpus, settings, world, out)
        return
    devices = [_device_of(rank, gpus) for rank in range(processes)]
    assert len(set(devices)) == gpus < processes


def _one_process_sees(gpus: int, settings: Json, world: World, out: Path) -> None:
    from transformers import TrainingArguments

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingArguments, "n_gpu", gpus)
        with pytest.raises(ValueError, match=r"does not support `nn\.DataParallel`"):
            harness.trainer(settings, world, out)


def _device_of(local_rank: int, gpus: int) -> str:
    """Where accelerate puts a process of a node with so many GPUs."""
    from accelerate import DistributedType, PartialState

    state = PartialState.__new__(PartialState)
    state.__dict__ = {
        "device": None,
        "distributed_type": DistributedType.MULTI_GPU,
        "local_process_index": local_rank,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: gpus)
        patch.setattr(torch.cuda, "set_device", lambda device: None)
        state.set_device()
    return str(state.device)
