"""`spec` of an AlignmentJob: TRL's sections (`trl.py`) and what the operator adds to them."""

from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from alignment_operator.api import trl
from alignment_operator.api.constants import Method, ReferenceStrategy
from alignment_operator.api.podtemplate import PodTemplate, Volume
from alignment_operator.api.schema import Name, Number, Path, Section, Short, Text

Seconds = Annotated[int, Field(ge=1, le=31536000)]
# A name that becomes the value of a label, on the child Job.
LabelName = Annotated[str, Field(min_length=1, max_length=63, pattern="^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
# Kubernetes' own grammar; without it the API server refuses the Job without a word on the field.
_QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
_INT_OR_QUANTITY: Any = {"x-kubernetes-int-or-string": True, "pattern": _QUANTITY}
Quantity = Annotated[int | str, Field(json_schema_extra=_INT_OR_QUANTITY)]


class PolicyModel(trl.Model):
    """The model that is trained: TRL's ModelConfig, and where it comes from."""

    trust_remote_code: bool | None = Field(
        None, alias="trustRemoteCode", description="Run Python code that ships with a model of this job. Default false."
    )
    adapter_name_or_path: Path | None = Field(
        None,
        alias="adapterNameOrPath",
        description="Start from this adapter on top of modelNameOrPath, and go on training it.",
    )
    from_job: Annotated[str, Field(min_length=1, max_length=52)] | None = Field(
        None,
        alias="fromJob",
        description="Name of an AlignmentJob of this namespace, instead of modelNameOrPath: waits until its current "
        "run is Complete, then its output is the policy.",
    )


class ReferenceModel(Section):
    """The frozen model that DPO and KTO compare the policy with."""

    strategy: ReferenceStrategy = Field(
        ReferenceStrategy.AUTO,
        description="Auto: the policy's weights with the adapter off if there is one, else a second, resident model. "
        "SharedAdapter, Resident: as named. Precomputed: log-probabilities computed before training, no second model.",
    )
    model: trl.ReferenceModelConfig | None = Field(
        None, description="A reference of its own. Default: the policy as it was before training."
    )


class Dataset(trl.Dataset, trl.Mixture):
    """TRL's ScriptArguments (one dataset), or `datasets` (a mixture)."""


class Push(Section):
    """Upload of the finished model to a hub."""

    repository: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Target, as OWNER/NAME.")
    secret_name: Name | None = Field(
        None, alias="secretName", description="Secret with a token that may write, key `token`. Default: spec.hub."
    )
    private: bool | None = Field(None, description="Make the repository private. Default true.")


class Output(Section):
    """Where checkpoints and the model go."""

    volume: Volume = Field(description="A volume that outlives the pod.")
    sub_path: Annotated[str, Field(max_length=512)] | None = Field(
        None, alias="subPath", description="Folder on the volume below which every job writes a folder of its own."
    )
    merge: bool | None = Field(None, description="With PEFT: also write the base model with the adapter merged in.")
    push: Push | None = Field(None, description="Upload the finished model.")


class Cache(Section):
    """Models, datasets and reference log-probabilities, shared between jobs."""

    volume: Volume = Field(description="A volume that several pods may mount.")


class Hub(Section):
    """Credentials for gated models and datasets."""

    secret_name: Name = Field(alias="secretName", description="Secret that holds the hub token.")
    key: Annotated[str, Field(min_length=1, max_length=253)] = Field("token", description="Key in the Secret.")


class Optimizations(Section):
    """What the trainer does faster than TRL with equal losses. Each is on where the model allows it."""

    completion_head: bool | None = Field(
        None, alias="completionHead", description="LM head only where a completion token is scored. Default true."
    )
    packed_pairs: bool | None = Field(
        None,
        alias="packedPairs",
        description="Chosen and rejected share one pass over their prompt; pairs stand end to end, without padding. "
        "Default true.",
    )
    skip_adapter_casts: bool | None = Field(
        None, alias="skipAdapterCasts", description="LoRA layers without casts that autocast undoes. Default true."
    )
    fused_adapter_sum: bool | None = Field(
        None,
        alias="fusedAdapterSum",
        description="LoRA layers add the adapter's product as it is made. Default true.",
    )
    selective_checkpointing: bool | None = Field(
        None,
        alias="selectiveCheckpointing",
        description="Checkpointed layers keep their products where memory allows (CPU). Default true.",
    )
    wide_products: bool | None = Field(
        None,
        alias="wideProducts",
        description="CPUs without bf16 instructions multiply bf16 as fp32. Default true.",
    )
    reference_cache: bool | None = Field(
        None,
        alias="referenceCache",
        description="Precomputed reference log-probabilities are kept on the cache volume and shared between jobs. "
        "Default true.",
    )


class Health(Section):
    """When the metrics of a run mean that it learns no preference (docs/report.md)."""

    window_steps: Annotated[int, Field(ge=10, le=1000000)] | None = Field(
        None,
        alias="windowSteps",
        description="A finding is what has lasted for so many steps, after the warm-up of the learning rate. "
        "Default 100.",
    )
    min_margin: Annotated[Number, Field(ge=0)] | None = Field(
        None, alias="minMargin", description="ZeroMargins: no reward margin reaches it. Default 0.0001."
    )
    chosen_reward_drop: Annotated[Number, Field(gt=0)] | None = Field(
        None,
        alias="chosenRewardDrop",
        description="ChosenRewardFalls: rewards/chosen falls so far below its first value while margins rise. "
        "Default 1.",
    )
    chance_band: Annotated[Number, Field(ge=0, lt=0.5)] | None = Field(
        None, alias="chanceBand", description="AccuracyAtChance: accuracies stay so close to 0.5. Default 0.05."
    )


class ResourceClaim(Section):
    """A claim of the pod that the container uses."""

    name: Name = Field(description="Name in podTemplate.spec.resourceClaims.")
    request: Short | None = Field(None, description="One request of the claim. Default: all.")


class Resources(Section):
    """Resources of the container, beside the GPUs."""

    requests: dict[Name, Quantity] | None = Field(None, max_length=16, description="What the scheduler counts.")
    limits: dict[Name, Quantity] | None = Field(None, max_length=16, description="What the kubelet enforces.")
    claims: Annotated[list[ResourceClaim], Field(max_length=16)] | None = Field(
        None, description="Names of podTemplate.spec.resourceClaims that the container uses."
    )


class Spec(Section):
    """What to align, on what, against what, and how it runs."""

    model: PolicyModel = Field(description="The policy: TRL's ModelConfig.")
    reference_model: ReferenceModel | None = Field(
        None, alias="referenceModel", description="The reference model of DPO and KTO."
    )
    dataset: Dataset = Field(description="What to train on: TRL's ScriptArguments, or a mixture.")
    training: trl.Training | None = Field(None, description="TRL's training arguments, for every method.")
    dpo: trl.DPO | None = Field(None, description="Direct preference optimization. Exactly one method is set.")
    sft: trl.SFT | None = Field(None, description="Supervised fine-tuning. Exactly one method is set.")
    orpo: trl.ORPO | None = Field(None, description="Odds ratio preference optimization. Exactly one method is set.")
    cpo: trl.CPO | None = Field(
        None, description="Contrastive preference optimization, or SimPO. Exactly one method is set."
    )
    kto: trl.KTO | None = Field(None, description="Kahneman-Tversky optimization. Exactly one method is set.")
    reward: trl.Reward | None = Field(None, description="Reward modeling. Exactly one method is set.")

    nodes: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Number of pods.")
    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = Field(
        1, alias="gpusPerNode", description="GPUs of each pod. 0: CPU."
    )
    processes_per_node: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None, alias="processesPerNode", description="Processes of each pod. Default: gpusPerNode, or 1 on CPU."
    )
    gpu_resource: Name | None = Field(
        None, alias="gpuResource", description="Resource name of a GPU. Default: the operator's (nvidia.com/gpu)."
    )
    resources: Resources | None = Field(None, description="Resources of the container, beside the GPUs.")
    output: Output = Field(description="Where checkpoints and the model go.")
    cache: Cache | None = Field(None, description="A cache shared between jobs. Default: the operator's.")

    queue_name: LabelName | None = Field(None, alias="queueName", description="Kueue LocalQueue that admits the job.")
    workload_priority_class: LabelName | None = Field(
        None, alias="workloadPriorityClass", description="Kueue WorkloadPriorityClass."
    )
    priority_class_name: Name | None = Field(None, alias="priorityClassName", description="PriorityClass of the pods.")
    suspend: bool = Field(False, description="Stop after a checkpoint; go on when false again.")
    rerun: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="Any text. Changing it makes a new run from the spec as it then is."
    )

    backoff_limit: Annotated[int, Field(ge=0, le=1000)] = Field(
        3,
        alias="backoffLimit",
        description="Failures that count (docs/failures.md) before the run fails; preemptions do not.",
    )
    active_deadline_seconds: Seconds | None = Field(
        None,
        alias="activeDeadlineSeconds",
        description="Seconds that a run may be active, from its start; suspending begins the count anew.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31536000)] | None = Field(
        None,
        alias="ttlSecondsAfterFinished",
        description="Seconds from a run's end until its Job and pods are deleted. The AlignmentJob, its status and "
        "output stay.",
    )
    termination_grace_period_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        600,
        alias="terminationGracePeriodSeconds",
        description="Seconds to finish a step and write a checkpoint when stopped.",
    )
    hang_timeout_seconds: Seconds | None = Field(
        None,
        alias="hangTimeoutSeconds",
        description="End an attempt that made no step for so many seconds. Default: wait for ever.",
    )
    stop_on_unhealthy: bool | None = Field(
        None,
        alias="stopOnUnhealthy",
        description="End the run, with the model saved, when its metrics show that it learns no preference. "
        "Default false: findings are only reported.",
    )
    health: Health | None = Field(None, description="Limits of the findings. Default: those of docs/report.md.")
    memory_check: bool | None = Field(
        None,
        alias="memoryCheck",
        description="Refuse in seconds, before anything is loaded, what cannot fit into the GPU. Default true.",
    )
    out_of_memory_ladder: bool | None = Field(
        None,
        alias="outOfMemoryLadder",
        description="Out of GPU memory: go on with half the micro-batch and twice the accumulation, at last with "
        "gradient checkpointing. The global batch stays. Default false.",
    )
    optimizations: Optimizations | None = Field(None, description="Switches of the trainer's own speed-ups.")
    hub: Hub | None = Field(None, description="Token for gated models and datasets.")
    image: Text | None = Field(None, description="Trainer image. Default: the operator's.")
    image_pull_policy: Annotated[str, Field(pattern="^(Always|IfNotPresent|Never)$", max_length=16)] | None = Field(
        None, alias="imagePullPolicy", description="Always, IfNotPresent or Never."
    )
    pod_template: PodTemplate | None = Field(None, alias="podTemplate", description="Overlay over the trainer's pods.")

    @cached_property
    def text(self) -> str:
        """The spec as JSON text in the API's words, defaults included; made once, for a spec is not changed."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

    @property
    def method(self) -> Method:
        """The method whose section is set; the rules admit exactly one."""
        return next(method for method in Method if getattr(self, method.value) is not None)

    @property
    def method_config(self) -> trl.DPO | trl.SFT | trl.ORPO | trl.CPO | trl.KTO | trl.Reward:
        """The section of the method."""
        config: Any = getattr(self, self.method.value)
        return config

    @property
    def processes(self) -> int:
        """Processes of one pod."""
        return self.processes_per_node or max(self.gpus_per_node, 1)
