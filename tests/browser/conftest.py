"""One house and one browser for each module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.house import House, at_home
from tests.browser.look import AXE, CHROMIUM, CHROMIUM_FLAGS, WAIT_MS
from tests.conftest import MISSING, REQUIRED


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for longer: while it is open an event loop runs in this thread, in which Django refuses to work."""
    if not (Path(CHROMIUM).exists() and AXE.exists()):
        if REQUIRED:
            pytest.fail(f"{MISSING}Chromium or the npm packages")
        pytest.skip(f"{MISSING}Chromium or the npm packages")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """`make up` with the demo, for each module."""
    with at_home(House(tmp_path_factory.mktemp("house"))) as running:
        yield running
