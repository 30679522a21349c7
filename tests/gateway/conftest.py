from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import Client

from tests.gateway.signing_in import sign_in


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Attempts to sign in, requests and numbers are counted in the cache, which outlives a test."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def owner() -> Client:
    """The browser of one."""
    return sign_in(owner=True, email="owner@example.com")


@pytest.fixture
def security() -> Client:
    """The browser of somebody with that duty."""
    return sign_in("security", email="sam@example.com")
