"""Cases of rules/schedule.py."""

from tests.rule_cases.case import EVAL, Case, dataset, merge, mixture, training

SCHEDULE_CASES = [
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
]
