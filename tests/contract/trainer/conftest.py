"""One tiny model for all contract tests of the trainer's core."""

import os

import pytest

from tests.trainer_runs import Bench, offline

offline(os.environ)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))
