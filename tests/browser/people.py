"""What people do in front of the screen, said once."""

from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.house import House
from tests.browser.look import window

PASSWORD = "copper lantern quiet harbour"


def first_login(page: Page, link: str) -> None:
    """By the printed one-time link, choosing a password."""
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account/password/first/**")
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.get_by_role("button", name="Save the password").click()
    page.wait_for_url(lambda url: "/account/password/first" not in url)


def signed_in(browser: Browser, house: House, role: str) -> Any:
    """The cookies of a person who has just signed in for the first time."""
    with window(browser, house.origin) as (page, _):
        first_login(page, house.login(role))
        return page.context.storage_state()
