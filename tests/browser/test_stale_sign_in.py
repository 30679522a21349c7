"""Somebody types for longer than her sign-in is fresh: she signs in again beside the form and loses nothing."""

from playwright.sync_api import Browser, expect

from tests.browser.house import House
from tests.browser.look import seen_by_all, window
from tests.browser.people import PASSWORD, signed_in

HALF_AN_HOUR_AGO = """
import time
from django.contrib.sessions.models import Session
for row in Session.objects.all():
    session = row.get_decoded()
    if "signed_in_at" in session:
        session["signed_in_at"] = time.time() - 1800
        row.session_data = Session.get_session_store_class()().encode(session)
        row.save()
"""


def test_a_policy_typed_for_half_an_hour(browser: Browser, house: House) -> None:
    with window(browser, house.origin, state=signed_in(browser, house, "owner")) as (page, complaints):
        page.goto("/admin/governance/policy/add/")
        page.get_by_label("Name", exact=False).first.fill("typed-slowly")
        page.get_by_role("button", name="Add a rule").click()
        page.get_by_label("What happens").first.select_option("deny")
        page.get_by_label("Why").first.fill("Because it took half an hour")
        house.manage("shell", "-c", HALF_AN_HOUR_AGO)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("Your sign-in is older than 15 minutes.")).to_be_visible()
        expect(page.get_by_label("Why").first).to_have_value("Because it took half an hour")
        assert not seen_by_all(page, "stale-sign-in")

        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Sign in again in a new tab").click()
        beside = opened.value
        beside.locator("input[type=password]").fill(PASSWORD)
        beside.get_by_role("button", name="Go on").click()
        expect(beside.get_by_text("Close this tab")).to_be_visible()
        beside.close()

        page.get_by_role("button", name="Save", exact=True).click()
        page.wait_for_url("**/governance/policy/")
        expect(page.locator("#result_list").get_by_role("link", name="typed-slowly")).to_be_visible()
        assert [line for line in complaints if "403" not in line] == []
