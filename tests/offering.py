"""A real service for tests, or a test that is skipped and counted, or fails where services are required."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import pytest

from tests import services

Service = TypeVar("Service")
REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"
MISSING = "missing service: "


def offered(service: AbstractContextManager[Service]) -> Iterator[Service]:
    with ExitStack() as stack:
        try:
            found = stack.enter_context(service)
        except services.Unavailable as missing:
            if REQUIRED:
                pytest.fail(f"{MISSING}{missing}")
            pytest.skip(f"{MISSING}{missing}")
        yield found
