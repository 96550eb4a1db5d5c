"""The cross-field rules of an AlignmentJob, once: the CRD carries them as CEL, `render` evaluates the same text.

Each rule is proven twice: a real API server refuses a spec that breaks it, with the field's path; and the pinned TRL
raises on the same settings, or, where TRL checks nothing, a run without the rule dies or does something else than said.
"""

from alignment_operator.api.rules.change import CHANGE_RULES
from alignment_operator.api.rules.dataset import DATASET_RULES
from alignment_operator.api.rules.methods import METHOD_RULES
from alignment_operator.api.rules.model import MODEL_RULES
from alignment_operator.api.rules.placement import PLACEMENT_RULES
from alignment_operator.api.rules.rule import Rule
from alignment_operator.api.rules.training import TRAINING_RULES

__all__ = ["CHANGE_RULES", "RULES", "Rule"]

# Under `spec`, in the order in which a user would read a manifest.
RULES: list[Rule] = [*METHOD_RULES, *MODEL_RULES, *TRAINING_RULES, *DATASET_RULES, *PLACEMENT_RULES]
