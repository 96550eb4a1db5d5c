"""The one exception that the pure core raises: a spec that cannot be run, with the path of the field at fault."""


class SpecProblem(Exception):  # noqa: N818  a finding about the spec, shown to the user, rather than an error of ours
    """A spec that the API server let through (an object that predates a rule, say) and that cannot become a run.

    `path` is the field as the user wrote it (`spec.output.volume`), `message` a sentence with the cure.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message
