"""Every screen on a phone: see screens.py."""

import pytest

from tests.browser.look import PHONE
from tests.browser.screens import (  # noqa: F401  # tests, and what they ask for
    busy_house,
    owner,
    owners_window,
    person,
    persons_window,
    test_a_local_server_goes_through_the_wizard,
    test_a_person_replaces_a_key_and_copies_the_new_one,
    test_screen,
    test_screen_for_strangers,
    test_screen_of_a_person,
)


@pytest.fixture(scope="module")
def width() -> int:
    return PHONE
