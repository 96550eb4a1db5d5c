"""What the tests of processes share."""

from collections.abc import Iterator

import pytest

from tests.contract.lifecycle.zygote import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Started by the first test that needs it, in ten seconds."""
    zygote = Zygote()
    yield zygote
    zygote.close()
