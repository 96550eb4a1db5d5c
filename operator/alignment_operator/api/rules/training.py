"""Rules about training arguments."""

from alignment_operator.api.rules.hardware import HARDWARE_RULES
from alignment_operator.api.rules.rule import FORBIDDEN, REQUIRED, Rule, get, has, on, when
from alignment_operator.api.rules.schedule import SCHEDULE_RULES

__all__ = ["TRAINING_RULES"]


def _needs_workers(field: str, why: str, value: str = "") -> Rule:
    return Rule(
        f"needs-workers-{field}",
        when(value or has(f"training.{field}"), f"{get('training.dataloaderNumWorkers', '0')} > 0"),
        "needs worker processes: set dataloaderNumWorkers to at least 1, or remove it",
        f"training.{field}",
        why,
    )


LOADER_RULES = [
    _needs_workers(
        "dataloaderPrefetchFactor",
        "ValueError: --dataloader_prefetch_factor can only be set when data is loaded in a ...",
    ),
    _needs_workers(
        "dataloaderPersistentWorkers",
        "ValueError: persistent_workers option needs num_workers > 0",
        on("training.dataloaderPersistentWorkers"),
    ),
    _needs_workers(
        "dataloaderMultiprocessingContext",
        "ValueError: multiprocessing_context can only be used with multi-process loading (num_workers > 0)",
    ),
    Rule(
        "sampling-rebalance",
        f"{get('training.trainSamplingStrategy', chr(39) * 2)} != 'batch_rebalance' || has(self.sft)",
        "batch_rebalance reads input_ids, which only sft has: set group_by_length",
        "training.trainSamplingStrategy",
        "ValueError: Can only automatically infer lengths for datasets whose items are dictionaries with",
    ),
]

OTHER_RULES = [
    Rule(
        "save-only-model",
        f"!{on('training.saveOnlyModel')}",
        "a checkpoint without optimizer state cannot be resumed: remove saveOnlyModel",
        "training.saveOnlyModel",
        "resumes with a fresh optimizer and schedule: other losses than the straight run",
        FORBIDDEN,
    ),
    Rule(
        "optimizer-targets",
        when(f"{get('training.optim', chr(39) * 2)}.matches('^(galore|apollo)')", has("training.optimTargetModules")),
        "GaLore and APOLLO need to know which modules: set optimTargetModules, for example [all-linear]",
        "training.optimTargetModules",
        "ValueError: You need to define `optim_target_modules` to use GaLore/APOLLO optimizers",
        REQUIRED,
    ),
    Rule(
        "report-to-alone",
        when(
            f"{has('training.reportTo')} && size(self.training.reportTo) > 1",
            "!self.training.reportTo.exists(name, name == 'none' || name == 'all')",
        ),
        "none and all stand alone: remove them, or the others",
        "training.reportTo",
        "ValueError: none is not supported",
    ),
]

TRAINING_RULES = [*HARDWARE_RULES, *SCHEDULE_RULES, *LOADER_RULES, *OTHER_RULES]
