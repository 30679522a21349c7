"""Offboarding and a new key by keyboard alone: every stop is seen, and the order is that of the page."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.hands import Hands
from tests.browser.house import House
from tests.browser.look import window
from tests.browser.people import signed_in

Desk = tuple[Page, Hands]


@pytest.fixture(scope="module")
def it_admin(browser: Browser, house: House) -> Any:
    return signed_in(browser, house, "IT admin")


@pytest.fixture
def desk(browser: Browser, house: House, it_admin: Any) -> Iterator[Desk]:
    with window(browser, house.origin, state=it_admin) as (page, complaints):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto("/admin/")
        yield page, Hands(page)
        assert not complaints


def test_the_first_stop_leads_past_the_navigation(desk: Desk) -> None:
    _, hands = desk
    first = hands.tab()
    assert first is not None
    assert first.name == "Skip to the content"
    hands.press("Enter")
    inside = hands.tab()
    assert inside is not None
    assert inside.top is not None


def test_offboarding(desk: Desk) -> None:
    page, hands = desk
    hands.go_to("Offboarding")
    hands.press("Enter")
    page.wait_for_url("**/offboard/")
    assert hands.here
    assert hands.here.name == "Name or e-mail address"
    hands.type("ana@")
    hands.press("Enter")
    page.wait_for_url("**/offboard/?q=*")
    hands.go_to("Ana Lima")
    hands.press("Enter")
    page.wait_for_url("**/offboard/person/**")
    hands.go_to("What becomes of triage-bot")
    hands.type("Pass")
    hands.go_to("Who gets triage-bot")
    hands.type("lee@example.com")
    hands.go_to("I have looked at the list")
    hands.press("Space")
    hands.go_to("Offboard Ana Lima")
    hands.press("Enter")
    expect(page.locator("#state")).to_have_text("Enforced everywhere")
    expect(page.locator("#content")).to_contain_text("lee@example.com")
    hands.go_to("Receipt as JSON")


def test_a_new_key(desk: Desk, house: House) -> None:
    page, hands = desk
    hands.go_to("Agents and roles")
    hands.go_to("Agents")
    hands.press("Enter")
    page.wait_for_url("**/governance/agent/")
    hands.go_to("triage-bot")
    hands.press("Enter")
    page.wait_for_url("**/admin/agents/*/")
    hands.go_to("Issue a key")
    hands.press("Enter")
    page.wait_for_url("**/keys/new/")
    hands.go_to("The key expires after")
    hands.type("30")
    hands.go_to("Issue the key")
    hands.press("Enter")
    expect(page.get_by_role("heading", name="New agent key of triage-bot").first).to_be_visible()
    hands.go_to("Copy the key")
    hands.press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_have_text("Copied")
    key = page.evaluate("navigator.clipboard.readText()")
    with closing(house.caller(key)) as agent:
        assert "ticket_get" in agent.tools()
