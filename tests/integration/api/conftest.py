"""The client of the API tests."""

import pytest

from tests.integration.api.server import Client
from tests.integration.apiserver import ApiServer


@pytest.fixture
def client(apiserver: ApiServer) -> Client:
    """A client in the namespace `default`, for dry runs."""
    return Client(apiserver)


@pytest.fixture
def own_client(apiserver: ApiServer, namespace: str) -> Client:
    """A client in a namespace of this test's own."""
    return Client(apiserver, namespace)
