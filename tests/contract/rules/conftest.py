"""The world that the specs of the table name: tiny models, an adapter, datasets."""

import pytest

from tests.contract.rules.harness import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Written once."""
    return World.make(tmp_path_factory.mktemp("world"))
