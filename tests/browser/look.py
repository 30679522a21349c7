"""What is asked of every screen: it fits, it can be read with any pair of eyes, and nothing on it complains."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Page, Response

from tests.end_to_end.installation import REPOSITORY

AXE = REPOSITORY / "tests" / "node" / "node_modules" / "axe-core" / "axe.min.js"
ARTEFACTS = os.environ.get("ARTEFACTS", "")
"""A folder for pictures of each screen, at each width and in each scheme; without one none is taken."""
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK, PHONE = 1440, 390
HEIGHTS = {DESK: 900, PHONE: 844}
"""Of the window, by its width."""
TALLEST_PICTURE = 3000
WAIT_MS = 45_000

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, Scheme] = ("light", "dark")
CHOOSE_THEME = """(scheme) => {
    if (window.Alpine) Alpine.$data(document.documentElement).adminTheme = scheme;
    return new Promise(requestAnimationFrame);
}"""
SERIOUS = """async (rules) => {
    const {violations} = await axe.run(document, {resultTypes: ['violations'], ...rules});
    return violations.filter(({impact}) => impact === 'serious' || impact === 'critical').flatMap(
        ({id, impact, help, nodes}) => nodes.slice(0, 5).map(({target, html, any}) =>
            `${id} (${impact}): ${help}: ${target} ${html.slice(0, 200)} ${any[0]?.message ?? ''}`));
}"""
ONLY_COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
PAST_THE_EDGE = """() => {
    const {scrollWidth, clientWidth} = document.documentElement;
    if (scrollWidth <= clientWidth + 1) return [];
    const wide = [...document.body.querySelectorAll('*')].filter(
        (element) => element.getBoundingClientRect().right > clientWidth + 1);
    return [`${scrollWidth} px wide in ${clientWidth} px: ` + wide.slice(0, 4).map(
        (element) => `${element.tagName}.${element.className}`).join(', ')];
}"""


@contextmanager
def window(
    browser: Browser, origin: str, *, width: int = DESK, state: Any = None, scripts: bool = True
) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what its console complains of while it is ours: errors, blocked content, failed requests.

    What a sign-in provider's own pages lack is the provider's matter.
    """
    context = browser.new_context(
        base_url=origin,
        viewport={"width": width, "height": HEIGHTS[width]},
        color_scheme="light",
        reduced_motion="reduce",
        storage_state=state,
        accept_downloads=True,
        java_script_enabled=scripts,
    )
    context.set_default_timeout(WAIT_MS)
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        source = message.location["url"]
        if message.type in ("error", "warning") and (not source or source.startswith(origin)):
            complaints.append(f"{message.text} {source}".rstrip())

    def answered(response: Response) -> None:
        if response.status >= 500:
            complaints.append(f"{response.status} {response.url}")

    try:
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", answered)
        yield page, complaints
    finally:
        context.close()


def seen_by_all(page: Page, name: str) -> list[str]:
    """What is wrong with the screen in both schemes, one line each.

    The dark colours are the same at both widths, so they are held against each other at the desk only.
    """
    found = [f"wider than the screen: {line}" for line in page.evaluate(PAST_THE_EDGE)]
    page.evaluate(_axe())
    is_at_the_desk = (page.viewport_size or {"width": 0})["width"] > PHONE
    for scheme in SCHEMES if is_at_the_desk or ARTEFACTS else SCHEMES[:1]:
        page.emulate_media(color_scheme=scheme)
        page.evaluate(CHOOSE_THEME, scheme)
        picture(page, name, scheme)
        if scheme == "light":
            found += page.evaluate(SERIOUS, {})
        elif is_at_the_desk:
            found += [f"dark: {line}" for line in page.evaluate(SERIOUS, ONLY_COLOURS)]
    return found


@cache
def _axe() -> str:
    return AXE.read_text()


def picture(page: Page, name: str, scheme: Scheme = "light") -> None:
    if not ARTEFACTS:
        return
    folder = Path(ARTEFACTS) / "screens"
    folder.mkdir(parents=True, exist_ok=True)
    size = page.viewport_size or {"width": 1440, "height": 900}
    height = min(int(page.evaluate("document.documentElement.scrollHeight")), TALLEST_PICTURE)
    page.screenshot(
        path=folder / f"{name}-{size['width']}-{scheme}.png",
        full_page=True,
        clip={"x": 0, "y": 0, "width": size["width"], "height": max(height, size["height"])},
    )
