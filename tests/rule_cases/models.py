"""Cases of rules/model.py."""

from alignment_operator.api.rules.model import INIT_KEYS, LORA_FIELDS
from tests.rule_cases.case import LORA, OWN, Case, merge, method, model

# in the order of INIT_KEYS
INIT_VALUES = [
    "bfloat16",
    "bfloat16",
    "v2",
    "eager",
    True,
    True,
    {"load_in_4bit": "true"},
    "meta",
    True,
]

MODEL_CASES = [
    Case("model-source", model(modelNameOrPath=None), {}, raises="`model` and `ref_model` cannot be the same object"),
    Case(
        "model-source", model(fromJob="first"), model(modelNameOrPath=None, fromJob="first"), shows="one_model_is_used"
    ),
    Case(
        "from-job-revision",
        model(modelNameOrPath=None, fromJob="first", modelRevision="v2"),
        model(modelNameOrPath=None, fromJob="first"),
        shows="revision_of_a_folder_is_ignored",
    ),
    Case(
        "one-quantization",
        model(**LORA, loadIn4bit=True, loadIn8bit=True),
        model(**LORA, loadIn4bit=True),
        raises="You can't use 8 bit and 4 bit precision at the same time",
    ),
    Case(
        "reference-one-quantization",
        {"referenceModel": {"model": {**OWN, "loadIn4bit": True, "loadIn8bit": True}}},
        {"referenceModel": {"model": {**OWN, "loadIn4bit": True}}},
        raises="You can't use 8 bit and 4 bit precision at the same time",
    ),
    Case(
        "four-bit-dtype",
        model(**LORA, loadIn4bit=True, dtype="auto"),
        model(**LORA, loadIn4bit=True, dtype="bfloat16"),
        raises="has no attribute 'auto'",
    ),
    Case(
        "reference-four-bit-dtype",
        {"referenceModel": {"model": {**OWN, "loadIn4bit": True, "dtype": "auto"}}},
        {"referenceModel": {"model": {**OWN, "loadIn4bit": True, "dtype": "bfloat16"}}},
        raises="has no attribute 'auto'",
    ),
    *(
        Case(
            f"{prefix}four-bit-{field}",
            patch({field: value}),
            patch({field: value, "loadIn4bit": True}),
            shows="four_bit_options_alone_quantize_nothing",
        )
        for field, value in [("bnb4bitQuantType", "nf4"), ("useBnbNestedQuant", True), ("bnb4bitQuantStorage", "uint8")]
        for prefix, patch in [
            ("", lambda settings: model(**LORA, **settings)),
            ("reference-", lambda settings: {"referenceModel": {"model": {**OWN, **settings}}}),
        ]
    ),
    Case(
        "quantized-needs-adapter",
        model(loadIn4bit=True),
        model(loadIn4bit=True, **LORA),
        raises="You cannot perform fine-tuning on purely quantized models",
    ),
    Case(
        "quantized-needs-adapter",
        model(loadIn8bit=True),
        model(loadIn8bit=True, adapterNameOrPath="adapter"),
        raises="You cannot perform fine-tuning on purely quantized models",
    ),
    *(
        Case(
            f"lora-{field}",
            model(**{field: value}),
            model(**{field: value, **LORA, **({"loraDropout": 0} if field == "loraTargetParameters" else {})}),
            shows="lora_options_alone_train_all_weights",
        )
        for field, value in zip(
            LORA_FIELDS,
            [8, 16, 0.1, ["q_proj"], ["model.layers.0.mlp.gate_proj.weight"], ["lm_head"], "CAUSAL_LM", True, True],
            strict=True,
        )
    ),
    Case(
        "adapter-or-new-lora",
        model(**LORA, adapterNameOrPath="adapter"),
        model(adapterNameOrPath="adapter"),
        raises="You passed a `PeftModel` instance together with a `peft_config`",
    ),
    *(
        Case(
            "lora-head",
            merge(method(name), model(**LORA, loraTargetModules=["q_proj", "lm_head"])),
            merge(method(name), model(**LORA, loraTargetModules=["q_proj", "v_proj"], loraModulesToSave=["lm_head"])),
            raises="Applying a PEFT adapter to `lm_head` is not supported",
        )
        for name in ("dpo", "sft", "kto")
    ),
    Case(
        "lora-parameters-dropout",
        model(**LORA, loraTargetParameters=["mlp.gate_proj.weight"]),
        model(**LORA, loraTargetParameters=["mlp.gate_proj.weight"], loraDropout=0),
        raises="does not work with lora_dropout != 0",
    ),
    Case(
        "lora-parameters-dora",
        model(**LORA, loraTargetParameters=["mlp.gate_proj.weight"], loraDropout=0, useDora=True),
        model(**LORA, loraTargetParameters=["mlp.gate_proj.weight"], loraDropout=0),
        raises="does not work with use_dora=True",
    ),
    Case(
        "reward-task-type",
        merge(method("reward"), model(**LORA, loraTaskType="CAUSAL_LM")),
        merge(method("reward"), model(**LORA, loraTaskType="SEQ_CLS")),
        raises="has no attribute 'prepare_inputs_for_generation'",
    ),
    Case(
        "causal-task-type",
        model(**LORA, loraTaskType="SEQ_CLS"),
        model(**LORA, loraTaskType="CAUSAL_LM"),
        shows="classifier_adapter_cannot_be_loaded_as_a_language_model",
    ),
    *(
        Case(
            f"init-kwargs-{name}",
            method(name, modelInitKwargs={key: value}),
            method(name, modelInitKwargs={"attention_dropout": 0.1}),
            shows="init_kwargs_override_the_model_section",
        )
        for name in ("dpo", "sft", "orpo", "cpo", "kto", "reward")
        for key, value in zip(INIT_KEYS, INIT_VALUES, strict=True)
    ),
    Case(
        "reference-method",
        merge(method("orpo"), {"referenceModel": {"strategy": "Resident"}}),
        method("orpo"),
        shows="only_dpo_and_kto_take_a_reference",
    ),
    Case(
        "reference-model-name",
        {"referenceModel": {"model": {"loadIn4bit": True}}},
        {"referenceModel": {"model": {**OWN, "loadIn4bit": True}}},
        raises="couldn't",
    ),
    Case(
        "shared-adapter-needs-adapter",
        {"referenceModel": {"strategy": "SharedAdapter"}},
        {"referenceModel": {"strategy": "SharedAdapter"}, **model(**LORA)},
        shows="without_adapter_a_second_model_is_loaded",
    ),
    Case(
        "shared-adapter-own-model",
        {"referenceModel": {"strategy": "SharedAdapter", "model": OWN}, **model(**LORA)},
        {"referenceModel": {"strategy": "Resident", "model": OWN}, **model(**LORA)},
        shows="shared_adapter_uses_no_second_model",
    ),
    *(
        Case(
            f"strategy-beside-precompute-{name}",
            {**method(name, precomputeRefLogProbs=True), "referenceModel": {"strategy": "Resident"}},
            {**method(name, precomputeRefLogProbs=True), "referenceModel": {"strategy": "Precomputed"}},
            shows="precompute_keeps_no_reference",
        )
        for name in ("dpo", "kto")
    ),
    *(
        Case(
            f"precomputed-said-false-{name}",
            {**method(name, precomputeRefLogProbs=False), "referenceModel": {"strategy": "Precomputed"}},
            {**method(name), "referenceModel": {"strategy": "Precomputed"}},
            shows="precompute_false_keeps_a_reference",
        )
        for name in ("dpo", "kto")
    ),
]
