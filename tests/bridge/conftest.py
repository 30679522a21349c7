from collections.abc import Iterator

import pytest

from tests.bridge.desk import Desk, opened_desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    with opened_desk() as desk:
        yield desk
