"""Somebody who uses no mouse: she sees where she is, tabs on, and presses keys. Nothing is found by selector."""

from dataclasses import dataclass

from playwright.sync_api import Page

MOST_STOPS = 120
ROW_PIXELS = 60
WHERE = """() => {
    const here = document.activeElement;
    if (!here || here === document.body) return null;
    const looks = (element) => {
        const {outline, boxShadow, borderColor, backgroundColor} = getComputedStyle(element);
        return [outline, boxShadow, borderColor, backgroundColor].join();
    };
    const differsFromItsTwin = (element) => {
        const twin = element.cloneNode(false);
        twin.removeAttribute('name');
        element.after(twin);
        const differs = looks(element) !== looks(twin);
        twin.remove();
        return differs;
    };
    const said = here.cloneNode(true);
    for (const icon of said.querySelectorAll('.material-symbols-outlined, [aria-hidden=true]')) icon.remove();
    const name = here.ariaLabel || here.labels?.[0]?.textContent || said.textContent || here.placeholder || here.title;
    const box = here.getBoundingClientRect();
    return {
        name: (name || '').trim().replace(/\\s+/g, ' '),
        html: here.outerHTML.slice(0, 200),
        has_ring: [here, here.parentElement, here.parentElement.parentElement].some(differsFromItsTwin),
        is_on_screen: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0
            && box.left < innerWidth,
        top: here.closest('#content') && box.top + scrollY,
    };
}"""


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the focus stands; `top` only inside the content, where the order is asked for."""

    name: str
    html: str
    has_ring: bool
    is_on_screen: bool
    top: float | None


class Hands:
    def __init__(self, page: Page) -> None:
        self._page = page

    @property
    def here(self) -> Stop | None:
        found = self._page.evaluate(WHERE)
        return Stop(**found) if found else None

    def press(self, *keys: str) -> None:
        for key in keys:
            self._page.keyboard.press(key)

    def type(self, text: str) -> None:
        self._page.keyboard.type(text)

    def tab(self) -> Stop | None:
        """On to the next stop, which must be seen to be one."""
        self.press("Tab")
        stop = self.here
        assert stop is None or stop.has_ring, f"no visible focus: {stop.html}"
        assert stop is None or stop.is_on_screen, f"the focus is off the screen: {stop.html}"
        return stop

    def go_to(self, name: str) -> None:
        """Tabs on, downwards all the way, until something of that name is reached."""
        stops: list[Stop] = []
        while len(stops) < MOST_STOPS:
            stop = self.tab()
            if stop is None:
                continue
            assert _is_below(stop, stops), f"{stop.html} comes after {stops[-1].html}"
            stops.append(stop)
            if stop.name.startswith(name):
                return
        raise AssertionError(f"no {name!r} among {[stop.name for stop in stops]}")


def _is_below(stop: Stop, before: list[Stop]) -> bool:
    """Or beside it: what stands in one row may differ by its height."""
    if not before or before[-1].top is None or stop.top is None:
        return True
    return stop.top >= before[-1].top - ROW_PIXELS
