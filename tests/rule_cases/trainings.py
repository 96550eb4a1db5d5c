"""Cases of rules/training.py."""

from tests.rule_cases.case import Case, merge, method, training

TRAINING_CASES = [
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
]
