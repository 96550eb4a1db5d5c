"""Cases of rules/hardware.py."""

from tests.rule_cases.case import GPU, Case, merge, method, model, training

HARDWARE_CASES = [
    Case(
        "fp16-and-bf16",
        {**training(fp16=True, bf16=True), **GPU},
        {**training(fp16=True), **GPU},
        raises="At most one of fp16 and bf16 can be True, but not both",
    ),
    Case(
        "fp16-and-bf16-eval",
        training(fp16FullEval=True, bf16FullEval=True),
        training(bf16FullEval=True),
        raises="At most one of fp16 and bf16 can be True for full eval",
    ),
    Case("tf32-gpu", training(tf32=True), {**training(tf32=True), **GPU}, raises="--tf32 requires"),
    *(
        Case(
            f"activation-offloading-gpu-{name}",
            method(name, activationOffloading=True),
            {**method(name, activationOffloading=True), **GPU},
            raises="CUDA",
        )
        for name in ("dpo", "sft", "kto", "reward")
    ),
    Case(
        "attention-gpu-policy",
        model(attnImplementation="flash_attention_2"),
        model(attnImplementation="sdpa"),
        raises="FlashAttention",
    ),
    Case(
        "attention-gpu-policy",
        model(attnImplementation="flex_attention"),
        {**model(attnImplementation="flex_attention"), **GPU},
        shows="flex_attention_has_no_cpu_backward",
    ),
    Case("nccl-gpu", training(ddpBackend="nccl"), training(ddpBackend="gloo"), shows="nccl_needs_gpus"),
    Case(
        "checkpointing-twice",
        training(gradientCheckpointing=True, activationCheckpointing=False),
        training(activationCheckpointing=False),
        shows="the_new_checkpointing_name_wins",
    ),
    Case(
        "checkpointing-kwargs-twice",
        training(
            gradientCheckpointingKwargs={"use_reentrant": True}, activationCheckpointingKwargs={"use_reentrant": False}
        ),
        training(activationCheckpointingKwargs={"use_reentrant": False}),
        shows="the_new_checkpointing_name_wins",
    ),
    Case(
        "fsdp-or-deepspeed",
        {**training(fsdp="full_shard", deepspeed='{"zero_optimization": {"stage": 2}}'), "nodes": 2},
        {**training(fsdp="full_shard"), "nodes": 2},
        shows="fsdp_and_deepspeed_exclude_each_other",
    ),
    Case(
        "fsdp-processes",
        training(fsdp="full_shard"),
        {**training(fsdp="full_shard"), "nodes": 2},
        raises="Using fsdp only works in distributed training",
    ),
    Case(
        "fsdp-checkpointing",
        {**training(fsdp="full_shard", fsdpConfig={"activation_checkpointing": True}), "nodes": 2},
        {
            **training(fsdp="full_shard", fsdpConfig={"activation_checkpointing": True}, gradientCheckpointing=False),
            "nodes": 2,
        },
        shows="fsdp_checkpoints_activations_itself",
    ),
    Case(
        "fsdp-checkpointing",
        {
            **training(fsdp="full_shard", fsdpConfig={"activation_checkpointing": True}, activationCheckpointing=True),
            "nodes": 2,
        },
        {**training(fsdp="full_shard", fsdpConfig={"activation_checkpointing": False}), "nodes": 2},
        shows="fsdp_checkpoints_activations_itself",
    ),
    Case(
        "deepspeed-json",
        training(deepspeed="/etc/ds.json"),
        training(deepspeed='{"zero_optimization": {"stage": 2}}'),
        shows="deepspeed_text_is_a_path",
    ),
    *(
        Case(
            "fused-linear-cross-entropy",
            merge(method(name), training(useLigerKernel=True, ligerKernelConfig={"fused_linear_cross_entropy": True})),
            merge(method(name), training(useLigerKernel=False, ligerKernelConfig={"fused_linear_cross_entropy": True})),
            raises="fused_linear_cross_entropy",
        )
        for name in ("dpo", "sft", "kto")
    ),
]
