"""Rules about each method's own settings."""

from alignment_operator.api.rules.rule import (
    METHODS,
    REQUIRED,
    STREAMING,
    TRAINS_ADAPTER,
    Rule,
    get,
    has,
    on,
    precomputes,
    under,
    when,
)

__all__ = ["METHOD_RULES"]

_COUNT = " + ".join(f"(has(self.{method}) ? 1 : 0)" for method in METHODS)
_LOSSES = "['sigmoid']"
F_DIVERGENCE_LOSSES = "['sigmoid', 'sigmoid_norm', 'hinge', 'ipo', 'exo_pair', 'robust', 'discopop', 'sft']"


def _loss(*names: str) -> str:
    """CEL: one of DPO's losses is one of these."""
    options = ", ".join(f"'{name}'" for name in names)
    return f"{has('dpo.lossType')} && self.dpo.lossType.exists(loss, loss in [{options}])"


# TRL cuts their sequences whatever maxLength says
ALWAYS_CUT = ("orpo", "cpo")


def _lengths(method: str) -> list[Rule]:
    always_cut = method in ALWAYS_CUT
    set_at_least = "set at least 1" if always_cut else "set at least 1, or -1 for no truncation"
    length = Rule(
        f"max-length-{method}",
        when(has(f"{method}.maxLength"), f"self.{method}.maxLength != 0"),
        f"0 would cut away every token: {set_at_least}",
        f"{method}.maxLength",
        "every row is dropped or cut to nothing",
    )
    return [length, _always_cut(method) if always_cut else _padding(method)]


def _always_cut(method: str) -> Rule:
    return Rule(
        f"no-unlimited-length-{method}",
        when(has(f"{method}.maxLength"), f"self.{method}.maxLength != -1"),
        f"{method.upper()} cannot turn truncation off: set maxLength to the longest sequence that you have",
        f"{method}.maxLength",
        "TRL silently cuts at 512",
    )


def _padding(method: str) -> Rule:
    return Rule(
        f"pad-multiple-{method}",
        when(
            has(f"{method}.padToMultipleOf"),
            f"type(self.{method}.padToMultipleOf) == int ? self.{method}.padToMultipleOf > 0 : "
            f"self.{method}.padToMultipleOf == 'auto'",
        ),
        "must be a number of at least 1, or auto",
        f"{method}.padToMultipleOf",
        "invalid literal for int(), or a modulo by zero",
    )


def _reference(method: str) -> list[Rule]:
    """Rules that DPO and KTO share."""
    sync = on(f"{method}.syncRefModel")
    return [
        Rule(
            f"sync-peft-{method}",
            under(sync, f"!{TRAINS_ADAPTER}"),
            "syncRefModel needs a second model, with an adapter there is none: remove it, or train all weights",
            f"{method}.syncRefModel",
            "NotImplementedError: You passed `sync_ref_model=True` while using a PEFT model",
        ),
        Rule(
            f"sync-precompute-{method}",
            under(sync, f"!{precomputes(method)}"),
            "a reference that moves cannot be precomputed: remove syncRefModel, or precompute nothing",
            f"{method}.syncRefModel",
            "ValueError: You cannot use `sync_ref_model=True` together with `precompute_ref_log_probs=True`",
        ),
        Rule(
            f"sync-own-reference-{method}",
            under(sync, f"!({has('referenceModel.model')})"),
            "syncRefModel mixes the policy into the reference, so that has to be the policy: remove one of the two",
            f"{method}.syncRefModel",
            "parameters of two models are mixed by position",
        ),
        Rule(
            f"precompute-streaming-{method}",
            f"!({STREAMING} && {precomputes(method)})",
            "a streamed dataset cannot be precomputed: turn streaming off, or choose another reference strategy",
            f"{method}.precomputeRefLogProbs",
            "ValueError: `precompute_ref_log_probs=True` is not supported with IterableDataset",
        ),
    ]


DPO_RULES = [
    Rule(
        "loss-weights",
        when(has("dpo.lossWeights"), f"size(self.dpo.lossWeights) == size({get('dpo.lossType', _LOSSES)})"),
        "must have one weight for each loss of lossType: make both lists equally long",
        "dpo.lossWeights",
        "DPOConfig: `loss_weights` must have the same length as `loss_type`",
    ),
    Rule(
        "exo-pair-smoothing",
        when(_loss("exo_pair"), f"{get('dpo.labelSmoothing', '0.0')} > 0.0"),
        "exo_pair needs labelSmoothing above 0: set, for example, labelSmoothing: 0.001",
        "dpo.labelSmoothing",
        "ValueError: Label smoothing must be greater than 0.0 when using 'exo_pair' loss",
    ),
    Rule(
        "robust-smoothing",
        when(_loss("robust"), f"{get('dpo.labelSmoothing', '0.0')} < 0.5"),
        "robust divides by 1 - 2 * labelSmoothing: set labelSmoothing below 0.5",
        "dpo.labelSmoothing",
        "TRL warns only; at 0.5 the loss is infinite, above it its sign is turned",
    ),
    Rule(
        "weighting-aot",
        f"!({on('dpo.useWeighting')} && {_loss('aot', 'aot_unpaired')})",
        "useWeighting does not work with aot and aot_unpaired (they sort the samples): remove one",
        "dpo.useWeighting",
        "NotImplementedError: WPO-style weighting is not implemented for 'aot' or 'aot_unpaired'",
    ),
    Rule(
        "f-divergence-loss",
        when(
            f"{get('dpo.fDivergenceType', chr(39) + 'reverse_kl' + chr(39))} != 'reverse_kl'",
            f"{get('dpo.lossType', _LOSSES)}.all(loss, loss in {F_DIVERGENCE_LOSSES})",
        ),
        f"fDivergenceType works with these losses only: {F_DIVERGENCE_LOSSES[1:-1]}",
        "dpo.fDivergenceType",
        "ValueError: `f_divergence_type=...` is only supported for the following loss types",
    ),
    Rule(
        "dpo-padding-free",
        f"!{on('dpo.paddingFree')}",
        "TRL accepts paddingFree for DPO and pads all the same: remove it",
        "dpo.paddingFree",
        "`padding_free=True` is temporarily unavailable: accepted, warned about, ignored",
    ),
]

SFT_RULES = [
    Rule(
        "packing-length",
        when(on("sft.packing"), f"{get('sft.maxLength', '1024')} > 0"),
        "packing fills sequences of maxLength tokens: set maxLength to at least 1",
        "sft.maxLength",
        "ValueError: When packing is enabled, `max_length` can't be `None`",
    ),
    Rule(
        "padding-free-length",
        when(f"{on('sft.paddingFree')} && !{on('sft.packing')}", f"{get('sft.maxLength', '1024')} == -1"),
        "paddingFree does not cut sequences: add packing: true, or set maxLength: -1",
        "sft.paddingFree",
        "ValueError: When `padding_free=True` without packing, `max_length` is not enforced",
    ),
]

KTO_RULES = [
    Rule(
        "kto-batch-size",
        when(
            f"has(self.kto) && {get('kto.lossType', chr(39) + 'kto' + chr(39))} == 'kto'",
            f"{get('training.perDeviceTrainBatchSize', '8')} > 1",
        ),
        "KTO's loss needs the other rows of the batch: set at least 2, or kto.lossType: apo_zero_unpaired",
        "training.perDeviceTrainBatchSize",
        "ValueError: Actual (not effective) batch size must be > 1",
    ),
    Rule(
        "kto-sampling",
        when(
            f"has(self.kto) && {get('kto.lossType', chr(39) + 'kto' + chr(39))} == 'kto'",
            f"{get('training.trainSamplingStrategy', chr(39) + 'sequential' + chr(39))} == 'sequential'",
        ),
        "KTO's loss pairs neighbouring rows: remove trainSamplingStrategy, or set sequential",
        "training.trainSamplingStrategy",
        "ValueError: Loss type `'kto'` ... requires `train_sampling_strategy='sequential'`",
    ),
]

CPO_RULES = [
    Rule(
        "alphapo-cpo-alpha",
        when(f"{get('cpo.lossType', chr(39) * 2)} == 'alphapo' && {has('cpo.cpoAlpha')}", "self.cpo.cpoAlpha == 0.0"),
        "alphapo sets cpoAlpha to 0: remove cpoAlpha",
        "cpo.cpoAlpha",
        "CPOConfig overwrites it silently",
    ),
]

METHOD_RULES = [
    Rule(
        "one-method",
        f"{_COUNT} == 1",
        f"set exactly one of {', '.join(METHODS)} (it may be empty: dpo: {{}})",
        "dpo",
        "the operator would have to guess the method",
        REQUIRED,
    ),
    *(rule for method in METHODS for rule in _lengths(method)),
    *(rule for method in ("dpo", "kto") for rule in _reference(method)),
    *DPO_RULES,
    *SFT_RULES,
    *KTO_RULES,
    *CPO_RULES,
]
