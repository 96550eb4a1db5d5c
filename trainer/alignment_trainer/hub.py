"""What the model hub answers when it refuses, in the user's words: the field that asked, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from . import diagnosis
from .exits import AccessDenied, ModelUnavailable, TrainerError, UserError


@contextmanager
def naming(field: str, name: str, revision: str | None = None) -> Iterator[None]:
    """While something of `name` is loaded that `field` asked for; the revision's field lies beside it.

    Raises AccessDenied or ModelUnavailable in place of the hub's refusals; every other error passes.
    """
    try:
        yield
    except Exception as error:
        known = _refusal(error, field, name, revision)
        if known is None:
            raise
        raise known from error


def check_certificate() -> None:
    """One request to the hub, before anything is loaded from it. Raises UserError if its certificate is not trusted.

    Libraries take that for a network that is down: they try again for half a minute, and datasets then says no more
    than that it could not reach the hub. Any other trouble is left to them.
    """
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode() or not constants.ENDPOINT.startswith("https:"):
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:
        known = diagnosis.classify(error)
        if isinstance(known, UserError):
            raise known from error


def ask(name: str, revision: str | None) -> None:
    """Fetch the one file that every model has, unless `name` is a folder or the file is in the cache.

    A hub that does not answer is known after half a minute of retries here. Loading would go on to ask it for a dozen
    files that a model may have, half a minute for each, with GPUs in hand.

    Raises what huggingface_hub raises; nothing for a repository without that file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if os.path.isdir(name):
        return
    try:
        hf_hub_download(name, "config.json", revision=revision)
    except LocalEntryNotFoundError:  # neither the hub nor the cache; also an EntryNotFoundError
        raise
    except EntryNotFoundError:
        return


def _refusal(error: BaseException, field: str, name: str, revision: str | None) -> TrainerError | None:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    token = "Give spec.hub.secretName a token that may read it"
    for link in _chain(error):
        if isinstance(link, GatedRepoError):  # is a RepositoryNotFoundError too
            return AccessDenied(
                f"{field}: the hub refuses {name}, which is gated.", cure=f"{token}, after accepting its terms."
            )
        if isinstance(link, RevisionNotFoundError):
            revision_field = f"{field.rpartition('.')[0]}.modelRevision"
            return ModelUnavailable(
                f"{revision_field}: {name} has no revision {revision!r}.", cure=f"Correct {revision_field}."
            )
        if isinstance(link, RepositoryNotFoundError):  # the hub answers alike for private and for missing ones
            return ModelUnavailable(
                f"{field}: the hub has no {name}, or does not show it to this run.",
                cure=f"Correct {field}. If the repository is private: {token[0].lower()}{token[1:]}.",
            )
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
