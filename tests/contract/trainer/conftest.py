"""One tiny model for all contract tests of the trainer's core."""

import os
from collections.abc import Iterator

import pytest

from alignment_trainer.fast import wide_products
from tests.trainer_runs import Bench, offline

offline(os.environ)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(autouse=True)
def products_as_torch_makes_them() -> Iterator[None]:
    """A trainer of ours decides it for its process; the next test's stock trainer must not have it."""
    yield
    wide_products.use(False)
