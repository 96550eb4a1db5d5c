"""Cases of rules/training.py."""

from tests.rule_cases.case import EVAL, GPU, TWO, Case, dataset, merge, method, mixture, model, training

TRAINING_CASES = [
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
    Case("max-steps", training(maxSteps=0), training(maxSteps=-1), shows="zero_steps_train_one"),
    Case(
        "logging-steps",
        training(loggingSteps=0),
        training(loggingSteps=0, loggingStrategy="no"),
        raises="requires non-zero --logging_steps",
    ),
    Case(
        "whole-loggingSteps",
        training(loggingSteps=1.5),
        training(loggingSteps=0.5),
        raises="--logging_steps must be an integer if bigger than 1",
    ),
    Case(
        "whole-saveSteps",
        training(saveSteps=1.5),
        training(saveSteps=2),
        raises="--save_steps must be an integer if bigger than 1",
    ),
    Case(
        "whole-evalSteps",
        training(evalStrategy="steps", evalSteps=1.5),
        training(**EVAL),
        raises="--eval_steps must be an integer if bigger than 1",
    ),
    Case(
        "save-steps",
        training(saveSteps=0),
        training(saveSteps=0, saveStrategy="no"),
        shows="zero_save_steps_write_no_checkpoint",
    ),
    Case(
        "streaming-max-steps",
        merge(dataset(datasetStreaming=True), training(maxSteps=None)),
        dataset(datasetStreaming=True),
        raises="max_steps has to be specified",
    ),
    Case(
        "best-model-strategy",
        training(loadBestModelAtEnd=True, saveSteps=1),
        training(loadBestModelAtEnd=True, saveSteps=1, **EVAL),
        raises="requires the save and eval strategy to match",
    ),
    Case(
        "best-model-steps",
        training(loadBestModelAtEnd=True, evalStrategy="steps", evalSteps=2, saveSteps=3),
        training(loadBestModelAtEnd=True, evalStrategy="steps", evalSteps=2, saveSteps=4),
        raises="multiple",
    ),
    Case(
        "best-model-steps",
        training(loadBestModelAtEnd=True, evalStrategy="steps", evalSteps=0.2, saveSteps=4),
        training(loadBestModelAtEnd=True, evalStrategy="steps", evalSteps=0.1, saveSteps=0.5),
        raises="mixing ratio",
    ),
    Case(
        "save-best-metric",
        training(saveStrategy="best", **EVAL),
        training(saveStrategy="best", metricForBestModel="loss", **EVAL),
        raises="`args.metric_for_best_model` must be",
    ),
    Case(
        "save-best-eval",
        training(saveStrategy="best", metricForBestModel="loss"),
        training(saveStrategy="best", metricForBestModel="loss", **EVAL),
        shows="best_without_eval_saves_nothing",
    ),
    *(
        Case(
            "plateau-eval",
            training(lrSchedulerType=name),
            training(lrSchedulerType=name, **EVAL),
            raises=f"lr_scheduler_type {name} requires an eval strategy",
        )
        for name in ("reduce_lr_on_plateau", "greedy")
    ),
    Case(
        "eval-on-start",
        training(evalOnStart=True),
        training(evalOnStart=True, **EVAL),
        raises="evaluation requires an eval_dataset",
    ),
    Case(
        "mixture-eval",
        merge(mixture({"path": "pairs"}), training(**EVAL)),
        merge(mixture({"path": "pairs"}, testSplitSize=0.5), training(**EVAL)),
        raises="'test'",
    ),
    Case(
        "needs-workers-dataloaderPrefetchFactor",
        training(dataloaderPrefetchFactor=2),
        training(dataloaderPrefetchFactor=2, dataloaderNumWorkers=1),
        raises="--dataloader_prefetch_factor can only be set",
    ),
    Case(
        "needs-workers-dataloaderPersistentWorkers",
        training(dataloaderPersistentWorkers=True),
        training(dataloaderPersistentWorkers=True, dataloaderNumWorkers=1),
        raises="persistent_workers option needs",
    ),
    Case(
        "needs-workers-dataloaderMultiprocessingContext",
        training(dataloaderMultiprocessingContext="fork"),
        training(dataloaderMultiprocessingContext="fork", dataloaderNumWorkers=1),
        raises="multiprocessing_context can only be used with",
    ),
    *(
        Case(
            "sampling-rebalance",
            merge(method(name), training(trainSamplingStrategy="batch_rebalance")),
            merge(method("sft"), training(trainSamplingStrategy="batch_rebalance")),
            raises="Can only automatically infer lengths",
        )
        for name in ("dpo", "orpo", "cpo", "reward")
    ),
    Case(
        "save-only-model",
        training(saveOnlyModel=True),
        training(saveOnlyModel=False),
        shows="resume_without_optimizer_differs",
    ),
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
    *(
        Case(
            "optimizer-targets",
            training(optim=name),
            training(optim=name, optimTargetModules=["all-linear"]),
            shows="optimizer_asks_for_targets",
        )
        for name in ("galore_adamw", "apollo_adamw")
    ),
    Case(
        "report-to-alone",
        training(reportTo=["none", "tensorboard"]),
        training(reportTo=["none"]),
        raises="none is not supported",
    ),
    Case(
        "dataset-source", dataset(datasetName=None), {}, raises="Either `datasets` or `dataset_name` must be provided"
    ),
    Case(
        "dataset-source",
        dataset(datasets=[{"path": "pairs"}]),
        mixture({"path": "pairs"}),
        shows="the_mixture_hides_the_name",
    ),
    *(
        Case(
            f"mixture-{field}",
            mixture({"path": "pairs"}, **{field: value}),
            mixture({"path": "pairs"}),
            shows="a_mixture_ignores_the_single_dataset",
        )
        for field, value in [("datasetConfig", "en"), ("datasetStreaming", True), ("datasetTrainSplit", "train_prefs")]
    ),
    *(
        Case(f"single-{field}", dataset(**{field: value}), {}, shows="a_single_dataset_ignores_the_mixture")
        for field, value in [("streaming", True), ("testSplitSize", 0.5)]
    ),
    Case(
        "fractions-all-or-none",
        mixture({"path": "pairs", "fraction": 0.5}, {"path": "pairs"}),
        mixture(*TWO),
        raises="`fraction` must be set for either all datasets",
    ),
    Case(
        "fractions-streaming",
        mixture(*TWO, streaming=True),
        mixture(*TWO),
        raises="Using a dataset `fraction` is not supported with streaming datasets",
    ),
    Case(
        "split-streaming",
        mixture({"path": "pairs"}, streaming=True, testSplitSize=0.5),
        mixture({"path": "pairs"}, streaming=True),
        raises="train_test_split",
    ),
    Case("dataset-path", mixture({"split": "train"}), mixture({"path": "pairs"}), raises="'path'"),
]
