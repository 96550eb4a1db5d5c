"""What to do about a failure whose own words name no field of the spec: the cures of diagnosis.py."""

from __future__ import annotations

MEMORY = (
    "In the order of what they cost: spec.training.gradientCheckpointing: true; halve "
    "spec.training.perDeviceTrainBatchSize and double spec.training.gradientAccumulationSteps; "
    "spec.referenceModel.strategy: Precomputed (DPO and KTO); a lower maxLength; spec.model.usePeft; "
    "spec.model.loadIn4bit."
)
STORAGE = "Give spec.output.volume (or spec.cache.volume) more space and check that the pod's user may write to it."
NAME = (
    "Check spec.model.modelNameOrPath, spec.model.modelRevision and spec.dataset.datasetName for spelling; "
    "if the repository is private, give spec.hub.secretName a token that may read it."
)
TOKEN = "Accept the repository's terms on the hub and give spec.hub.secretName a token that may read it."
NETWORK = "The hub or the network is down: it is tried again; with spec.cache.volume a download is kept."
CERTIFICATE = (
    "Mount a bundle that has the authority of the hub (or of the proxy before it) and name it in SSL_CERT_FILE, in "
    "spec.podTemplate or, for all jobs, in settings.pods.env of the chart."
)
TRACKER = (
    "Check the tracker's server, key and proxy in the env of spec.podTemplate; without them W&B and MLflow write files "
    "into the output folder. Or take it out of spec.training.reportTo."
)
DEVICE = "Check the node's GPU and driver; it is tried again, with luck on another node."
SETTINGS = "Change the field that the message names."
# Where a library's words name no field of ours
SETTINGS_BY_WORDS = {
    r"Target modules .* not found": "spec.model.loraTargetModules: name modules that the model has, or leave it out.",
    r"attn_implementation|attention implementation": "spec.model.attnImplementation: sdpa runs everywhere.",
    r"JIT load|CUDA_HOME|[Bb]uilding extension|[Nn]inja": "DeepSpeed cannot compile its optimizers here: leave "
    "`optimizer` out of spec.training.deepspeed; to offload, set zero_force_ds_cpu_optimizer: false in it.",
    r"[Dd]eep[Ss]peed": "Correct spec.training.deepspeed.",
}
DATA = "Check spec.dataset: the columns that the method needs, their types, and maxLength."
