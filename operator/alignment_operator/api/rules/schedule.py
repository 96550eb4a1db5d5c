"""Rules about when training stops, logs, saves and evaluates."""

from alignment_operator.api.rules.rule import EVALUATES, REQUIRED, STREAMING, Rule, each, get, has, on, under, when

__all__ = ["SCHEDULE_RULES"]

_STEPS = "'steps'"
_NO = "'no'"
_SAVE = get("training.saveStrategy", _STEPS)
_EVAL = get("training.evalStrategy", _NO)
_SAVE_STEPS = get("training.saveSteps", "500.0")
# Unset (or 0), TRL takes loggingSteps, whose default in TRL is 10.
_EVAL_STEPS = (
    f"({has('training.evalSteps')} && self.training.evalSteps > 0.0 ? self.training.evalSteps : "
    f"{get('training.loggingSteps', '10.0')})"
)
_BEST = f"({on('training.loadBestModelAtEnd')} && {_SAVE} != 'best')"


def _whole(field: str, strategy: str, default: str) -> Rule:
    path = f"training.{field}"
    counts_steps = f"{get(f'training.{strategy}', default)} == 'steps'"
    whole = f"steps <= 1.0 || double(int(steps)) == steps || !({counts_steps})"
    return Rule(
        f"whole-{field}",
        each(path, "steps", whole, usual=field != "evalSteps"),
        "above 1 it counts steps: set a whole number, or a share between 0 and 1",
        path,
        f"ValueError: --{field} must be an integer if bigger than 1",
    )


STEP_RULES = [
    Rule(
        "max-steps",
        when(has("training.maxSteps"), "self.training.maxSteps != 0"),
        "0 is no number of steps: set at least 1, or remove it and set numTrainEpochs",
        "training.maxSteps",
        "TRL trains one step and stops, one step of zero",
    ),
    Rule(
        "logging-steps",
        each("training.loggingSteps", "steps", f"steps > 0.0 || {get('training.loggingStrategy', _STEPS)} != 'steps'"),
        "must be above 0, or set loggingStrategy: 'no' (quoted)",
        "training.loggingSteps",
        "ValueError: logging strategy steps requires non-zero --logging_steps",
    ),
    _whole("loggingSteps", "loggingStrategy", _STEPS),
    _whole("saveSteps", "saveStrategy", _STEPS),
    _whole("evalSteps", "evalStrategy", _NO),
    Rule(
        "save-steps",
        each("training.saveSteps", "steps", f"steps > 0.0 || {_SAVE} != 'steps'"),
        "must be above 0, or set saveStrategy: 'no' (quoted)",
        "training.saveSteps",
        "no checkpoint is ever written",
    ),
    Rule(
        "streaming-max-steps",
        when(STREAMING, f"{get('training.maxSteps', '-1')} > 0"),
        "a streamed dataset has no known length: set maxSteps",
        "training.maxSteps",
        "ValueError: The train_dataset does not implement __len__ ... max_steps has to be specified",
        REQUIRED,
    ),
]

BEST_MODEL_RULES = [
    Rule(
        "best-model-strategy",
        under(_BEST, f"{_EVAL} == {_SAVE}"),
        "loadBestModelAtEnd needs evalStrategy and saveStrategy to be the same (saveStrategy is steps if unset)",
        "training.loadBestModelAtEnd",
        "ValueError: --load_best_model_at_end requires the save and eval strategy to match",
    ),
    Rule(
        "best-model-steps",
        under(
            _BEST,
            f"!({_EVAL} == 'steps' && {_SAVE} == 'steps' && {_EVAL_STEPS} > 0.0) || "
            f"(({_EVAL_STEPS} < 1.0) == ({_SAVE_STEPS} < 1.0) && int({_SAVE_STEPS} * 1000000.0) % "
            f"int({_EVAL_STEPS} * 1000000.0) == 0)",
        ),
        "loadBestModelAtEnd needs saveSteps (500 if unset) to be a multiple of evalSteps (loggingSteps if unset)",
        "training.loadBestModelAtEnd",
        "ValueError: --load_best_model_at_end requires the saving steps to be a round multiple of the evaluation steps",
    ),
    Rule(
        "save-best-metric",
        when(f"{_SAVE} == 'best' && !{on('training.loadBestModelAtEnd')}", has("training.metricForBestModel")),
        "saveStrategy best needs a metric: set metricForBestModel, for example loss",
        "training.metricForBestModel",
        "ValueError: `args.metric_for_best_model` must be provided when using 'best' save_strategy",
        REQUIRED,
    ),
    Rule(
        "save-best-eval",
        when(f"{_SAVE} == 'best'", EVALUATES),
        "saveStrategy best saves after an evaluation: set evalStrategy",
        "training.evalStrategy",
        "no checkpoint is ever written",
    ),
]

EVALUATION_RULES = [
    Rule(
        "plateau-eval",
        when(f"{get('training.lrSchedulerType', chr(39) * 2)} in ['reduce_lr_on_plateau', 'greedy']", EVALUATES),
        "reduce_lr_on_plateau and greedy follow an evaluation metric: set evalStrategy",
        "training.lrSchedulerType",
        "ValueError: lr_scheduler_type reduce_lr_on_plateau requires an eval strategy",
    ),
    Rule(
        "eval-on-start",
        when(on("training.evalOnStart"), EVALUATES),
        "evalOnStart needs an evaluation dataset: set evalStrategy",
        "training.evalOnStart",
        "ValueError: Trainer: evaluation requires an eval_dataset",
    ),
    Rule(
        "mixture-eval",
        when(f"{has('dataset.datasets')} && {EVALUATES}", has("dataset.testSplitSize")),
        "a mixture has no test split of its own: set testSplitSize, or turn evaluation off",
        "dataset.testSplitSize",
        "KeyError: 'test'",
        REQUIRED,
    ),
]

SCHEDULE_RULES = [*STEP_RULES, *BEST_MODEL_RULES, *EVALUATION_RULES]
