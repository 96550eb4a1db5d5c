"""Weights that are spread over processes: FSDP2 gives the losses and the whole weights of one process."""

import pytest
from accelerate.utils.constants import OPTIMIZER_NAME
from safetensors.torch import load_file

from tests.contract.lifecycle.conftest import LORA

LAST = 12
SMALL = {"max_steps": LAST, "save_steps": LAST}
# Stands for GPUs. Without any, accelerate leaves FSDP out and says nothing; and gathered weights, which are copied from
# the GPU when they have arrived, are on the CPU already, arrived or not.
SHARDS_ON_CPUS = """
import os

if os.environ.get("ALIGNMENT_REPORT_FD"):  # in workers only
    import torch.distributed.checkpoint.state_dict as gathering
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType
    from torch.distributed._functional_collectives import AsyncCollectiveTensor
    from torch.utils._pytree import tree_map_only

    def begin(self, *args, fsdp_plugin=None, **kwargs):
        init(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        self.fsdp_plugin = fsdp_plugin or vars(self).get("fsdp_plugin")  # all states share their attributes
        if self.fsdp_plugin and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.FSDP

    def arrived(gather):
        return lambda *args, **kwargs: tree_map_only(AsyncCollectiveTensor, lambda t: t.wait(), gather(*args, **kwargs))

    init, AcceleratorState.__init__ = AcceleratorState.__init__, begin
    gathering.get_model_state_dict = arrived(gathering.get_model_state_dict)
    gathering.get_optimizer_state_dict = arrived(gathering.get_optimizer_state_dict)
"""
FSDP2 = {"fsdp": "full_shard", "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}}


@pytest.mark.parametrize(
    ("fields", "weights"), [({}, "model.safetensors"), (LORA, "adapter_model.safetensors")], ids=["full", "lora"]
)
def test_fsdp2_gives_the_losses_and_the_whole_weights_of_one_process_and_resumes(new_run, tmp_path, fields, weights):
    alone = new_run(**fields, **SMALL)
    alone.complete()
    (tmp_path / "sitecustomize.py").write_text(SHARDS_ON_CPUS)
    environment = {"PYTHONPATH": str(tmp_path)}
    run = new_run({"processesPerNode": 2}, environment, per_device_train_batch_size=2, **FSDP2, **fields, **SMALL)
    run.stop_and_resume()
    assert (run.output / f"checkpoint-{LAST}" / f"{OPTIMIZER_NAME}.bin").exists(), "FSDP's own gathering wrote it"
    ours, theirs = ([float(loss) for loss in one.losses(LAST).values()] for one in (run, alone))
    assert ours == pytest.approx(theirs, abs=2e-5)
    sharded, whole = (load_file(one.output / weights) for one in (run, alone))
    assert {name: tensor.shape for name, tensor in sharded.items()} == {name: t.shape for name, t in whole.items()}
    assert all(sharded[name].allclose(tensor, atol=1e-4) for name, tensor in whole.items())
