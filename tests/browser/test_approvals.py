"""A call waits, a human decides it in a browser, the call goes on: by mouse, by keyboard, by phone, without scripts.

Only what is about a no is answered with one: after five of them nobody is asked for this agent for an hour.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.hands import Hands
from tests.browser.house import House
from tests.browser.look import HEIGHTS, seen_by_all, window
from tests.browser.people import signed_in

HOSTILE = "\u202e<img src=x onerror=alert(1)>{{ 7 * 7 }}"
_amounts = count(101)


@pytest.fixture(scope="module")
def approver(browser: Browser, house: House) -> Any:
    return signed_in(browser, house, "approver")


@pytest.fixture(scope="module")
def owner_of_the_agent(browser: Browser, house: House) -> Any:
    return signed_in(browser, house, "person")


@contextmanager
def asking(house: House, **arguments: Any) -> Iterator[tuple[int, "Future[str]"]]:
    """An agent that asks for a refund of an amount nobody else asks for, and waits for what it is answered."""
    amount = next(_amounts)
    wanted = {"order_id": "O-5001", "amount": amount, "reason": "Arrived broken.", **arguments}

    def ask() -> str:
        with closing(house.caller()) as agent:
            return agent.call("billing_refund", **wanted).body.decode()

    with ThreadPoolExecutor(1) as pool:
        yield amount, pool.submit(ask)


def open_request(page: Page, amount: int) -> None:
    """From the inbox, into which it comes by itself."""
    if not page.url.endswith("/approvals/"):
        page.goto("/approvals/")
    page.get_by_role("link", name=f"amount {amount}").click()
    page.wait_for_url("**/approvals/*-*/")


def test_a_call_is_released_by_a_click(browser: Browser, house: House, approver: Any) -> None:
    with window(browser, house.origin, state=approver) as (page, complaints):
        page.goto("/approvals/")
        expect(page.get_by_role("heading", name="Approvals")).to_be_visible()
        with asking(house) as (amount, answer):
            open_request(page, amount)
            expect(page.get_by_role("heading", level=1)).to_contain_text(
                f"Triage bot wants to refund an order: amount {amount}"
            )
            page.get_by_role("button", name="Approve once").click()
            expect(page.get_by_text("Approved. The agent goes on.")).to_be_visible()
            assert "refund_id" in answer.result(30)
        expect(page.get_by_text("The system answered.")).to_be_visible()
        expect(page.get_by_role("button", name="Approve once")).to_have_count(0)
        assert not complaints


def test_a_denial_without_scripts(browser: Browser, house: House, approver: Any) -> None:
    with window(browser, house.origin, state=approver) as (page, _), asking(house) as (amount, answer):
        open_request(page, amount)
        context = browser.new_context(base_url=house.origin, storage_state=approver, java_script_enabled=False)
        with closing(context):
            plain = context.new_page()
            plain.goto(page.url)
            plain.get_by_label("Your reason").fill("Not this customer.")
            plain.get_by_role("button", name="Deny", exact=True).click()
            expect(plain.get_by_text("Denied. The agent is told so.")).to_be_visible()
        assert "refund_id" not in answer.result(30)
        expect(page.get_by_text("Not this customer.", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Deny", exact=True)).to_have_count(0)


def test_approving_without_scripts(browser: Browser, house: House, approver: Any) -> None:
    with window(browser, house.origin, state=approver) as (page, _), asking(house) as (amount, answer):
        open_request(page, amount)
        context = browser.new_context(base_url=house.origin, storage_state=approver, java_script_enabled=False)
        with closing(context):
            plain = context.new_page()
            plain.goto(page.url)
            plain.get_by_role("button", name="Approve once").click()
            assert "refund_id" in answer.result(30)


def test_approving_by_keyboard_alone(browser: Browser, house: House, approver: Any) -> None:
    with window(browser, house.origin, state=approver) as (page, complaints), asking(house) as (amount, answer):
        page.goto("/approvals/")
        expect(page.get_by_role("link", name=f"amount {amount}")).to_be_visible()
        hands = Hands(page)
        hands.go_to(f"Triage bot wants to refund an order: amount {amount}")
        hands.press("Enter")
        page.wait_for_url("**/approvals/*-*/")
        first = hands.tab()
        assert first is not None
        assert first.name == "Skip to the content"
        hands.press("Enter")
        hands.go_to("Your reason")
        hands.type("Checked with the customer.")
        hands.go_to("Approve once")
        hands.press("Enter")
        expect(page.get_by_text("Approved. The agent goes on.")).to_be_visible()
        assert "refund_id" in answer.result(30)
        assert not complaints


def test_enter_in_a_field_decides_nothing(browser: Browser, house: House, approver: Any) -> None:
    with window(browser, house.origin, state=approver) as (page, _), asking(house) as (amount, answer):
        open_request(page, amount)
        page.get_by_text("Narrow an argument").click()
        page.get_by_role("textbox", name="amount", exact=True).press("Enter")
        page.get_by_label("Your reason").press("Enter")
        expect(page.get_by_role("button", name="Approve once")).to_be_visible()
        page.get_by_role("button", name="Approve once").click()
        assert "refund_id" in answer.result(30)


def test_narrowed_to_less(browser: Browser, house: House, approver: Any) -> None:
    with window(browser, house.origin, state=approver) as (page, complaints), asking(house) as (amount, answer):
        open_request(page, amount)
        page.get_by_text("Narrow an argument").click()
        page.get_by_role("textbox", name="amount", exact=True).fill("1")
        page.get_by_role("button", name="Show the difference").click()
        expect(page.get_by_role("heading", name="Run this instead?")).to_be_visible()
        page.get_by_role("button", name="Run it with these values").click()
        expect(page.get_by_text("Approved. The agent goes on.")).to_be_visible()
        released = answer.result(30)
        assert "refund_id" in released
        assert f'"amount":{amount}' not in released.replace(" ", "").replace("\\", "")
        assert not complaints


def test_a_page_that_shows_what_was_decided_elsewhere(browser: Browser, house: House, approver: Any) -> None:
    """Two windows of one approver: what she typed in the second is refused, and she reads why."""
    with (
        window(browser, house.origin, state=approver) as (first, _),
        window(browser, house.origin, state=approver) as (second, _),
        asking(house) as (amount, answer),
    ):
        open_request(first, amount)
        second.route("**/ws/**", lambda route: route.abort())
        second.goto(first.url)
        first.get_by_role("button", name="Deny", exact=True).click()
        expect(first.get_by_text("Denied. The agent is told so.")).to_be_visible()
        assert "refund_id" not in answer.result(30)
        expect(second.get_by_text("Who decided")).to_be_visible()


def test_who_may_not_decide(browser: Browser, house: House, approver: Any, owner_of_the_agent: Any) -> None:
    with window(browser, house.origin, state=approver) as (page, _), asking(house) as (amount, answer):
        open_request(page, amount)
        with window(browser, house.origin, state=owner_of_the_agent) as (hers, _):
            hers.goto(page.url)
            expect(hers.get_by_text("You cannot approve your own agent's call.")).to_be_visible()
            expect(hers.get_by_role("button")).to_have_count(0)
        with window(browser, house.origin, state=signed_in(browser, house, "IT admin")) as (others, _):
            response = others.goto(page.url)
            assert response is not None
            assert response.status == 404
        page.get_by_role("button", name="Approve once").click()
        answer.result(30)


def test_hostile_arguments_are_only_text(browser: Browser, house: House, approver: Any) -> None:
    with (
        window(browser, house.origin, state=approver) as (page, complaints),
        asking(house, reason=HOSTILE) as (
            amount,
            answer,
        ),
    ):
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        open_request(page, amount)
        expect(page.get_by_role("table").get_by_text("⟦U+202E⟧<img src=x onerror=alert(1)>{{ 7 * 7 }}")).to_be_visible()
        assert page.locator("img[src=x]").count() == 0
        assert not complaints
        page.get_by_role("button", name="Approve once").click()
        answer.result(30)


@pytest.mark.parametrize("width", HEIGHTS)
def test_its_looks(width: int, browser: Browser, house: House, approver: Any) -> None:
    with (
        window(browser, house.origin, width=width, state=approver) as (page, complaints),
        asking(house) as (
            amount,
            answer,
        ),
    ):
        open_request(page, amount)
        found = seen_by_all(page, "approval")
        for summary in page.locator("summary").all():
            summary.click()
        found += seen_by_all(page, "approval-open")
        page.goto("/approvals/")
        found += seen_by_all(page, "approvals")
        open_request(page, amount)
        page.get_by_role("button", name="Deny", exact=True).click()
        answer.result(30)
        found += seen_by_all(page, "approval-denied")
        page.goto("/approvals/history/")
        found += seen_by_all(page, "approvals-history")
        page.goto("/me/access/")
        found += seen_by_all(page, "my-access")
        assert not (wrong := found + complaints), "\n".join(wrong)
