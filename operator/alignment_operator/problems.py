"""The one exception that the pure core raises: a spec that cannot be run, with the path of the field at fault."""

from .api.constants import Reason


class SpecProblem(Exception):
    """A spec that the API server let through (an object that predates a rule, say) and that cannot become a run.

    `path` is the field as the user wrote it (`spec.output.volume`), `message` a sentence with the cure, `reason` that
    of the condition `Accepted=False`.
    """

    def __init__(self, path: str, message: str, reason: str = Reason.INVALID_SPEC) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message
        self.reason = reason
