"""Rules about the policy and the reference model."""

from alignment_operator.api.rules.rule import (
    FORBIDDEN,
    METHODS,
    QUANTIZED,
    REQUIRED,
    STRATEGY,
    TRAINS_ADAPTER,
    Rule,
    each,
    get,
    has,
    on,
    under,
    when,
)

__all__ = ["MODEL_RULES"]

LORA_FIELDS = [
    "loraR",
    "loraAlpha",
    "loraDropout",
    "loraTargetModules",
    "loraTargetParameters",
    "loraModulesToSave",
    "loraTaskType",
    "useRslora",
    "useDora",
]
FOUR_BIT_FIELDS = ["bnb4bitQuantType", "useBnbNestedQuant", "bnb4bitQuantStorage"]
INIT_KEYS = [
    "dtype",
    "torch_dtype",
    "revision",
    "attn_implementation",
    "load_in_4bit",
    "load_in_8bit",
    "quantization_config",
    "device_map",
    "trust_remote_code",
]


def _switched(rule: str, where: str, fields: list[str], switch: str, why: str) -> list[Rule]:
    """One rule per field that means nothing unless a switch beside it is on."""
    return [
        Rule(
            f"{rule}-{field}",
            when(has(f"{where}.{field}"), on(f"{where}.{switch}")),
            f"has no effect without {switch}: set {where}.{switch}: true, or remove {field}",
            f"{where}.{field}",
            why,
        )
        for field in fields
    ]


def _without_peft(field: str) -> Rule:
    """At the path of the cure, so that a job with usePeft is asked once for all of them (`joined.py`)."""
    return Rule(
        f"lora-{field}",
        under(f"!{on('model.usePeft')}", f"!has(self.model.{field})"),
        f"{field} has no effect without usePeft: set model.usePeft: true, or remove {field}",
        "model.usePeft",
        "TRL ignores it and trains all weights",
    )


def _quantization(where: str, rule: str) -> list[Rule]:
    return [
        Rule(
            f"{rule}one-quantization",
            f"!({on(f'{where}.loadIn4bit')} && {on(f'{where}.loadIn8bit')})",
            "loadIn4bit and loadIn8bit exclude each other: remove one",
            f"{where}.loadIn8bit",
            "ModelConfig: You can't use 8 bit and 4 bit precision at the same time",
        ),
        Rule(
            f"{rule}four-bit-dtype",
            when(on(f"{where}.loadIn4bit"), f"{get(f'{where}.dtype', chr(39) * 2)} != 'auto'"),
            "4-bit needs a compute dtype, auto is none: set dtype: bfloat16",
            f"{where}.dtype",
            "BitsAndBytesConfig: module 'torch' has no attribute 'auto'",
        ),
        *_switched(
            f"{rule}four-bit", where, FOUR_BIT_FIELDS, "loadIn4bit", "TRL ignores it and loads unquantized weights"
        ),
    ]


def _init_kwargs(method: str) -> Rule:
    where = f"{method}.modelInitKwargs"
    named = " || ".join(f"has(self.{where}.{key})" for key in INIT_KEYS)
    return Rule(
        f"init-kwargs-{method}",
        when(has(where), f"!({named})"),
        f"may not set {', '.join(INIT_KEYS)}: set dtype, modelRevision, attnImplementation, loadIn4bit, loadIn8bit, "
        "trustRemoteCode under spec.model (the trainer places the model)",
        where,
        "TRL lets them override ModelConfig silently (torch_dtype is ignored), or raises for quantization_config",
        FORBIDDEN,
    )


_HEAD = "names.exists(name, name == 'lm_head' || name.endsWith('.lm_head'))"

MODEL_RULES = [
    Rule(
        "model-source",
        f"({has('model.modelNameOrPath')}) != ({has('model.fromJob')})",
        "set exactly one of modelNameOrPath and fromJob",
        "model.modelNameOrPath",
        "TRL needs a model: NoneType; with both, one would be ignored",
        REQUIRED,
    ),
    Rule(
        "from-job-revision",
        f"!({has('model.fromJob')} && {has('model.modelRevision')})",
        "the output of a job has no revisions: remove modelRevision, or set modelNameOrPath instead of fromJob",
        "model.modelRevision",
        "a revision of a local folder is ignored",
        FORBIDDEN,
    ),
    *_quantization("model", ""),
    *_quantization("referenceModel.model", "reference-"),
    Rule(
        "quantized-needs-adapter",
        when(QUANTIZED, TRAINS_ADAPTER),
        "quantized weights cannot be trained: set usePeft: true or adapterNameOrPath, or remove the quantization",
        "model.usePeft",
        "Trainer: You cannot perform fine-tuning on purely quantized models",
    ),
    *map(_without_peft, LORA_FIELDS),
    Rule(
        "adapter-or-new-lora",
        f"!({has('model.adapterNameOrPath')} && {on('model.usePeft')})",
        "usePeft adds a new adapter, adapterNameOrPath goes on with an existing one: remove one",
        "model.usePeft",
        "DPOTrainer: You passed a `PeftModel` instance together with a `peft_config`",
    ),
    Rule(
        "lora-head",
        each("model.loraTargetModules", "names", f"!({_HEAD} && (has(self.dpo) || has(self.sft) || has(self.kto)))"),
        "an adapter on lm_head would never be trained (the log-probabilities are computed from its weight): remove it, "
        "or list lm_head in loraModulesToSave",
        "model.loraTargetModules",
        "DPOTrainer: Applying a PEFT adapter to `lm_head` is not supported",
    ),
    Rule(
        "lora-parameters-dropout",
        when(
            f"{has('model.loraTargetParameters')} && {on('model.usePeft')}", f"{get('model.loraDropout', '1.0')} == 0.0"
        ),
        "loraTargetParameters does not work with dropout (TRL's default is 0.05): set loraDropout: 0",
        "model.loraDropout",
        "peft: lora.ParamWrapper does not work with lora_dropout != 0",
    ),
    Rule(
        "lora-parameters-dora",
        f"!({has('model.loraTargetParameters')} && {on('model.useDora')})",
        "loraTargetParameters does not work with DoRA: remove useDora",
        "model.useDora",
        "peft: lora.ParamWrapper does not work with use_dora=True",
    ),
    Rule(
        "reward-task-type",
        when(f"has(self.reward) && {has('model.loraTaskType')}", "self.model.loraTaskType == 'SEQ_CLS'"),
        "a reward model is a sequence classifier: remove loraTaskType, or set SEQ_CLS",
        "model.loraTaskType",
        "AttributeError: no attribute 'prepare_inputs_for_generation'",
    ),
    Rule(
        "causal-task-type",
        when(f"{has('model.loraTaskType')} && !has(self.reward)", "self.model.loraTaskType == 'CAUSAL_LM'"),
        "SEQ_CLS is for reward jobs: remove loraTaskType",
        "model.loraTaskType",
        "TRL trains on, and saves an adapter that loads as a classifier only",
    ),
    *(_init_kwargs(method) for method in METHODS),
    Rule(
        "reference-method",
        "!has(self.referenceModel) || has(self.dpo) || has(self.kto)",
        "only dpo and kto compare with a reference model: remove referenceModel",
        "referenceModel",
        "no other method of TRL has a reference model",
        FORBIDDEN,
    ),
    Rule(
        "reference-model-name",
        when(has("referenceModel.model"), has("referenceModel.model.modelNameOrPath")),
        "an own reference model needs modelNameOrPath; to compare with the policy itself remove referenceModel.model",
        "referenceModel.model.modelNameOrPath",
        "a reference without a name would silently be the policy, unquantized or not",
        REQUIRED,
    ),
    Rule(
        "shared-adapter-needs-adapter",
        under("has(self.referenceModel)", f"{STRATEGY} != 'SharedAdapter' || {TRAINS_ADAPTER}"),
        "SharedAdapter means the policy with its adapter off: set model.usePeft: true, or strategy Auto",
        "referenceModel.strategy",
        "without an adapter TRL loads a second model",
    ),
    Rule(
        "shared-adapter-own-model",
        f"!({STRATEGY} == 'SharedAdapter' && {has('referenceModel.model')})",
        "SharedAdapter uses the policy's own weights: remove referenceModel.model, or set strategy Resident",
        "referenceModel.strategy",
        "the named model would be ignored",
    ),
]
for _method in ("dpo", "kto"):
    _precompute = f"{_method}.precomputeRefLogProbs"
    MODEL_RULES += [
        Rule(
            f"strategy-beside-precompute-{_method}",
            under("has(self.referenceModel)", f"{STRATEGY} in ['Auto', 'Precomputed'] || !{on(_precompute)}"),
            "precomputeRefLogProbs: true contradicts this strategy: remove it, or set strategy Precomputed",
            "referenceModel.strategy",
            "TRL drops the reference model after precomputing: Resident or SharedAdapter would be a lie",
        ),
        Rule(
            f"precomputed-said-false-{_method}",
            when(f"{STRATEGY} == 'Precomputed' && {has(_precompute)}", f"self.{_precompute}"),
            "strategy Precomputed contradicts precomputeRefLogProbs: false: remove one",
            _precompute,
            "one of the two would be ignored",
        ),
    ]
