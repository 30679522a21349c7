"""Somebody signs in at a real OpenID provider, works in the admin, and is out once the provider locks her."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.house import House, at_home
from tests.browser.look import seen_by_all, window
from tests.browser.people import signed_in
from tests.canaille import CLIENT, PASSWORD, SECRET, Canaille

pytestmark = pytest.mark.timeout(600)
CALLBACK = "/account/single-sign-on/callback/"
NOT_ASKED_FOR_LONG = """
from django.contrib.sessions.models import Session
for row in Session.objects.all():
    session = row.get_decoded()
    if "single_sign_on" in session:
        session["single_sign_on"]["checked_at"] -= 660
        row.session_data = Session.get_session_store_class()().encode(session)
        row.save()
"""


@pytest.fixture(scope="module")
def house(openid_provider: Canaille, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {
        "OIDC_ISSUER": openid_provider.issuer,
        "OIDC_CLIENT_ID": CLIENT,
        "OIDC_CLIENT_SECRET": SECRET,
        "OIDC_SCOPES": "openid email profile groups",
        "OIDC_NAME": "Example ID",
        "UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    with at_home(House(tmp_path_factory.mktemp("house"), settings)) as running:
        back = f"{running.origin}/account/login/"
        openid_provider.put_client(f"{running.origin}{CALLBACK}", post_logout_redirect_uris=[back])
        yield running


def prove_at_provider(page: Page, user_name: str) -> None:
    """canaille asks for the name first, then for the password."""
    page.wait_for_url("**/login**")
    page.locator("input[name=login]").fill(user_name)
    page.locator("input[name=login]").press("Enter")
    page.wait_for_url("**/password**")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=password]").press("Enter")


def come_in_again(page: Page, house: House) -> None:
    """By the session at the provider, which now and then answers 500 to the second code of one second."""
    page.goto("/account/single-sign-on/start/")
    again = page.get_by_role("link", name="Try again with Example ID")
    for _ in range(3):
        if not again.is_visible():
            break
        page.wait_for_timeout(1100)
        again.click()
    page.wait_for_url(f"{house.origin}/admin/")


def test_in_by_one_click_and_out_with_the_provider(browser: Browser, house: House, openid_provider: Canaille) -> None:
    email = house.email("IT admin")
    openid_provider.put_user("noor", email=email)
    with window(browser, house.origin) as (page, complaints):
        page.goto("/admin/governance/agent/")
        assert not seen_by_all(page, "single-sign-on")
        page.get_by_role("link", name="Sign in with Example ID").click()
        prove_at_provider(page, "noor")
        page.wait_for_url(f"{house.origin}/admin/governance/agent/")
        expect(page.get_by_role("link", name="triage-bot").first).to_be_visible()

        house.manage("shell", "-c", NOT_ASKED_FOR_LONG)
        page.goto("/admin/governance/connector/")
        page.wait_for_url(f"{house.origin}/admin/governance/connector/")

        openid_provider.lock_user("noor")
        house.manage("shell", "-c", NOT_ASKED_FOR_LONG)
        page.goto("/admin/")
        expect(page.get_by_text("You are not signed in at your identity provider any more.")).to_be_visible()
        assert not seen_by_all(page, "single-sign-on-over")
        page.goto("/admin/")
        page.wait_for_url("**/account/login/**")
        openid_provider.unlock_user("noor")
        assert [line for line in complaints if "403" not in line] == []


def test_an_owner_connects_herself_and_signs_out_there_too(
    browser: Browser, house: House, openid_provider: Canaille
) -> None:
    openid_provider.put_user("olga", email="olga@elsewhere.example")
    with window(browser, house.origin, state=signed_in(browser, house, "owner")) as (page, complaints):
        page.goto("/account/single-sign-on/")
        page.get_by_role("button", name="Connect Example ID").click()
        page.get_by_role("link", name="Continue").click()
        prove_at_provider(page, "olga")
        page.wait_for_url(f"{house.origin}/account/single-sign-on/")
        expect(page.get_by_text("Connected to olga")).to_be_visible()
        page.goto("/account/logout/")
        page.get_by_role("button", name="Sign out").click()
        come_in_again(page, house)
        page.goto("/account/logout/")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("link", name="Sign out there, too").click()
        page.wait_for_url(f"{house.origin}/account/login/")
        page.goto("/account/single-sign-on/start/")
        page.wait_for_url(f"{openid_provider.issuer}/**")
        assert [line for line in complaints if "403" not in line] == []
