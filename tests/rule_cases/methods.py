"""Cases of rules/methods.py."""

from tests.rule_cases.case import LORA, OWN, Case, dataset, merge, method, model, training

METHOD_CASES = [
    Case("one-method", {"dpo": None}, {}, shows="no_method_no_trainer"),
    Case("one-method", {"sft": {}}, {}, shows="two_methods_one_is_ignored"),
    *(
        Case(
            f"max-length-{name}",
            method(name, maxLength=0),
            method(name, maxLength=64),
            shows="length_zero_trains_nothing",
        )
        for name in ("dpo", "sft", "orpo", "cpo", "kto", "reward")
    ),
    *(
        Case(
            f"no-unlimited-length-{name}",
            method(name, maxLength=-1),
            method(name, maxLength=2048),
            shows="no_limit_means_512",
        )
        for name in ("orpo", "cpo")
    ),
    *(
        Case(
            f"pad-multiple-{name}",
            method(name, padToMultipleOf=value),
            method(name, padToMultipleOf=8),
            raises=text,
        )
        for name in ("dpo", "sft", "kto", "reward")
        for value, text in [("many", "invalid literal for int()"), (0, "modulo")]
    ),
    *(
        Case(
            f"sync-peft-{name}",
            merge(method(name, syncRefModel=True), model(**LORA)),
            method(name, syncRefModel=True),
            raises="You passed `sync_ref_model=True` while using a PEFT model",
        )
        for name in ("dpo", "kto")
    ),
    *(
        Case(
            f"sync-precompute-{name}",
            method(name, syncRefModel=True, precomputeRefLogProbs=True),
            method(name, syncRefModel=True),
            raises="You cannot use `sync_ref_model=True` together with `precompute_ref_log_probs=True`",
        )
        for name in ("dpo", "kto")
    ),
    *(
        Case(
            f"sync-own-reference-{name}",
            {**method(name, syncRefModel=True, refModelSyncSteps=1), "referenceModel": {"model": OWN}},
            {**method(name, syncRefModel=True)},
            shows="sync_mixes_two_models",
        )
        for name in ("dpo", "kto")
    ),
    *(
        Case(
            f"precompute-streaming-{name}",
            merge(method(name, precomputeRefLogProbs=True), dataset(datasetStreaming=True)),
            merge(method(name), dataset(datasetStreaming=True)),
            raises="`precompute_ref_log_probs=True` is not supported with IterableDataset",
        )
        for name in ("dpo", "kto")
    ),
    Case(
        "loss-weights",
        method("dpo", lossWeights=[1, 0.5]),
        method("dpo", lossType=["sigmoid", "sft"], lossWeights=[1, 0.5]),
        raises="`loss_weights` must have the same length as `loss_type`",
    ),
    Case(
        "exo-pair-smoothing",
        method("dpo", lossType=["exo_pair"]),
        method("dpo", lossType=["exo_pair"], labelSmoothing=0.001),
        raises="Label smoothing must be greater than 0.0 when using 'exo_pair' loss",
    ),
    Case(
        "robust-smoothing",
        method("dpo", lossType=["robust"], labelSmoothing=0.5),
        method("dpo", lossType=["robust"], labelSmoothing=0.1),
        shows="robust_divides_by_zero",
    ),
    Case(
        "weighting-aot",
        method("dpo", lossType=["aot"], useWeighting=True),
        method("dpo", lossType=["sigmoid"], useWeighting=True),
        raises="WPO-style weighting is not implemented for 'aot'",
    ),
    Case(
        "f-divergence-loss",
        method("dpo", lossType=["apo_zero"], fDivergenceType="forward_kl"),
        method("dpo", lossType=["ipo"], fDivergenceType="forward_kl"),
        raises="is only supported for the following loss types",
    ),
    Case("dpo-padding-free", method("dpo", paddingFree=True), method("dpo"), shows="dpo_pads_all_the_same"),
    Case(
        "packing-length",
        method("sft", packing=True, maxLength=-1),
        method("sft", packing=True, maxLength=64),
        raises="When packing is enabled, `max_length` can't be `None`",
    ),
    Case(
        "padding-free-length",
        method("sft", paddingFree=True),
        method("sft", paddingFree=True, maxLength=-1),
        raises="When `padding_free=True` without packing, `max_length` is not enforced",
    ),
    Case(
        "kto-batch-size",
        merge(method("kto"), training(perDeviceTrainBatchSize=1)),
        method("kto"),
        raises="Actual (not effective) batch size must be > 1",
    ),
    Case(
        "kto-sampling",
        merge(method("kto"), training(trainSamplingStrategy="random")),
        merge(method("kto"), training(trainSamplingStrategy="sequential")),
        raises="train_sampling_strategy='sequential'",
    ),
    Case(
        "alphapo-cpo-alpha",
        method("cpo", lossType="alphapo", cpoAlpha=0.5),
        method("cpo", lossType="simpo", cpoAlpha=0.5),
        shows="alphapo_overwrites_alpha",
    ),
]
