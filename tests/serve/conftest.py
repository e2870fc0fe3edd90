"""Clients of a server of text and of one of values."""

import pytest
from serve.models import client_of, make_service, value_model


@pytest.fixture(scope="module")
def text_client():
    with client_of(make_service(max_inputs=50, max_tokens=5000)) as client:
        yield client


@pytest.fixture(scope="module")
def value_client():
    with client_of(make_service(value_model(), idle=0.3)) as client:
        yield client
