"""Who may what, and the end of it: its screens at both widths, light and dark; its acts without scripts or mouse."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.hands import Hands
from tests.browser.house import House
from tests.browser.identity import ASSISTANT, LEAVER, STRANGER, bring_identity
from tests.browser.look import HEIGHTS, seen_by_all, window
from tests.browser.people import signed_in

pytestmark = pytest.mark.timeout(600)
Window = tuple[Page, list[str]]
Address = Callable[[House], str]
OF_LEAVER = """
SELECT offboarding.id FROM governance_offboarding offboarding
JOIN governance_user person ON person.id = offboarding.person_id WHERE person.email = ?
"""


def at(path: str) -> Address:
    return lambda _: path


def of(path: str, table: str, **wanted: str) -> Address:
    return lambda house: path.format(house.id_of(f"governance_{table}", **wanted))


def left(path: str = "/admin/offboard/{}/") -> Address:
    return lambda house: path.format(house.one(OF_LEAVER, LEAVER))


def consent(bundle: str = "", client: str = ASSISTANT) -> Address:
    """Where a client sends the browser of a person."""
    asked = {
        "response_type": "code",
        "client_id": client,
        "redirect_uri": "http://127.0.0.1:43210/callback",
        "state": "xyz",
        "code_challenge": "a" * 43,
        "code_challenge_method": "S256",
    }
    return lambda house: f"/oauth/authorize?{urlencode({**asked, 'resource': f'{house.origin}/mcp{bundle}'})}"


OWNERS: dict[str, Address] = {
    "emergency": at("/admin/rotation/emergency/"),
    "emergency-agent": at("/admin/rotation/emergency/?what=agent&name=triage-bot"),
    "emergency-everything": at("/admin/rotation/emergency/?what=everything"),
    "rotation-tasks": at("/admin/governance/rotationtask/"),
    "rotation-task": of("/admin/governance/rotationtask/{}/change/", "rotationtask", reason="age"),
    "clients": at("/admin/governance/oauthclient/"),
    "client": of("/admin/governance/oauthclient/{}/change/", "oauthclient", client_id=ASSISTANT),
    "client-that-waits": of("/admin/governance/oauthclient/{}/change/", "oauthclient", status="pending", origin="cimd"),
    "authorizations": at("/admin/governance/authorization/"),
    "authorization": of("/admin/governance/authorization/{}/change/", "authorization", basis="consent"),
    "issuers": at("/admin/governance/trustedissuer/"),
    "issuer": of("/admin/governance/trustedissuer/{}/change/", "trustedissuer", name="okta"),
    "issuer-add": at("/admin/governance/trustedissuer/add/"),
    "directories": at("/admin/governance/directory/"),
    "directory-add": at("/admin/governance/directory/add/"),
    "directory-settings": of("/admin/governance/directory/{}/change/", "directory", name="okta"),
    "directory": of("/admin/directories/{}/", "directory", name="okta"),
    "directory-losses": of("/admin/directories/{}/losses/", "directory", name="okta"),
    "directory-token": of("/admin/directories/{}/token/", "directory", name="okta"),
    "directory-people": at("/admin/governance/directoryuser/?waits=problem"),
    "directory-person": of("/admin/governance/directoryuser/{}/change/", "directoryuser", user_name="ana@example.com"),
    "directory-adopt": of("/admin/directories/users/{}/adopt/", "directoryuser", user_name="ana@example.com"),
    "directory-messages": at("/admin/governance/directorymessage/"),
    "directory-message": of("/admin/governance/directorymessage/{}/change/", "directorymessage", method="PATCH"),
    "mappings": at("/admin/governance/groupmapping/"),
    "mapping": of("/admin/governance/groupmapping/{}/change/", "groupmapping", group_name="gw-support-leads"),
    "mapping-approve": of("/admin/directories/mappings/{}/approve/", "groupmapping", group_name="gw-support-leads"),
    "offboardings-all": at("/admin/offboard/"),
    "offboarding-done": left(),
    "offboarding-undo": left("/admin/offboard/{}/undo/"),
    "offboarding-planned": of("/admin/offboard/{}/", "offboarding", state="scheduled"),
    "offboarding-undone": of("/admin/offboard/{}/", "offboarding", state="undone"),
    "zombies": at("/admin/offboard/zombies/"),
    "break-glass-account": at("/admin/break-glass-account/"),
    "connector-accounts": of("/admin/connectors/{}/accounts/", "connector", name="crm"),
    "connected-accounts": at("/admin/governance/upstreamgrant/"),
    "connected-account": of("/admin/governance/upstreamgrant/{}/change/", "upstreamgrant", status="live"),
    "staff-identities": at("/admin/governance/staffidentity/"),
    "staff-identity": of("/admin/governance/staffidentity/{}/change/", "staffidentity", protocol="oidc"),
    "agent-register-key": of("/admin/agents/{}/keys/register/", "agent", name="triage-bot"),
    "agent-workload": of("/admin/agents/{}/keys/workload/", "agent", name="triage-bot"),
    "oauth-client-new": at("/admin/oauth-clients/new/"),
    "agent-revoke-keys": of("/admin/agents/{}/keys/revoke/", "agent", name="triage-bot"),
    "credentials": at("/admin/governance/agentcredential/"),
    "credential": of("/admin/governance/agentcredential/{}/change/", "agentcredential", kind="key"),
}
PERSONS: dict[str, Address] = {
    "my-sessions": at("/me/sessions/"),
    "my-accounts": at("/me/accounts/"),
    "my-account": of("/me/accounts/{}/", "connector", name="crm"),
    "my-end-all-keys": of("/me/agents/{}/end-keys/", "agent", name="triage-bot"),
    "consent": consent("/support"),
    "consent-to-all": consent(),
    "device": at("/oauth/device"),
}
TURNED_AWAY: dict[str, Address] = {
    "consent-waits": consent(client=STRANGER),
    "consent-refused": consent(client="nobody"),
}


@pytest.fixture(scope="module")
def known_house(house: House) -> House:
    bring_identity(house)
    return house


@pytest.fixture(scope="module")
def owner(browser: Browser, known_house: House) -> Any:
    return signed_in(browser, known_house, "owner")


@pytest.fixture(scope="module")
def person(browser: Browser, known_house: House) -> Any:
    return signed_in(browser, known_house, "person")


@pytest.fixture(scope="module", params=HEIGHTS)
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def owners_window(browser: Browser, known_house: House, owner: Any, width: int) -> Iterator[Window]:
    with window(browser, known_house.origin, width=width, state=owner) as opened:
        yield opened


@pytest.fixture(scope="module")
def persons_window(browser: Browser, known_house: House, person: Any, width: int) -> Iterator[Window]:
    with window(browser, known_house.origin, width=width, state=person) as opened:
        yield opened


def look(opened: Window, house: House, name: str, address: Address, *, status: int = 200) -> None:
    page, complaints = opened
    complaints.clear()
    response = page.goto(address(house))
    assert response is not None
    assert response.status == status, page.url
    found = seen_by_all(page, name)
    assert not page.title().startswith(("Welcome", "|")), "a page without a title of its own"
    assert house.key not in page.content()
    found += [line for line in complaints if f"status of {status}" not in line]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", OWNERS)
def test_screen(name: str, known_house: House, owners_window: Window) -> None:
    look(owners_window, known_house, name, OWNERS[name])


@pytest.mark.parametrize("name", PERSONS)
def test_screen_of_a_person(name: str, known_house: House, persons_window: Window) -> None:
    look(persons_window, known_house, name, PERSONS[name])


@pytest.mark.parametrize("name", TURNED_AWAY)
def test_screen_of_who_is_turned_away(name: str, known_house: House, persons_window: Window) -> None:
    look(persons_window, known_house, name, TURNED_AWAY[name], status=400)


# Without scripts


def test_a_client_is_let_in_and_ended(browser: Browser, known_house: House, person: Any) -> None:
    with window(browser, known_house.origin, state=person, scripts=False) as (page, _):
        page.route("http://127.0.0.1:43210/**", lambda route: route.fulfill(body="Back at the client"))
        page.goto(consent("/support")(known_house))
        page.get_by_role("button", name="Let it in").click()
        expect(page.get_by_text("Back at the client")).to_be_visible()
        answer = parse_qs(urlsplit(page.url).query)
        assert (answer["state"], answer["iss"], len(answer["code"])) == (["xyz"], [known_house.origin], 1)
        page.goto("/me/apps/")
        page.get_by_role("button", name="End it: Desk assistant").first.click()
        expect(page.get_by_role("status")).to_contain_text("Desk assistant can do nothing for you any more")


def test_a_device_is_let_in(browser: Browser, known_house: House, person: Any) -> None:
    said = urlencode({"client_id": ASSISTANT, "resource": f"{known_house.origin}/mcp"}).encode()
    with urlopen(Request(f"{known_house.origin}/oauth/device_authorization", said), timeout=30) as answer:
        code = json.loads(answer.read())["user_code"]
    with window(browser, known_house.origin, state=person, scripts=False) as (page, complaints):
        page.goto("/oauth/device")
        page.get_by_label("Code").fill("WRNG-CODE")
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_role("alert")).to_contain_text("No device waits with this code")
        page.get_by_label("Code").fill(code)
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="Let it in").click()
        expect(page.get_by_role("heading", name="Desk assistant is in")).to_be_visible()
        assert not complaints


def test_a_client_that_waits_is_approved_on_its_own_page(browser: Browser, known_house: House, owner: Any) -> None:
    with window(browser, known_house.origin, state=owner, scripts=False) as (page, complaints):
        page.goto(OWNERS["client-that-waits"](known_house))
        page.get_by_role("button", name="Approve…").click()
        expect(page.get_by_role("heading", name="Approve 1 OAuth client?").first).to_be_visible()
        page.get_by_role("button", name="Approve", exact=True).click()
        expect(page.get_by_role("row", name="Claude Code")).to_contain_text("approved")
        assert not complaints


def test_what_a_directory_takes_away_is_decided(browser: Browser, known_house: House, owner: Any) -> None:
    with window(browser, known_house.origin, state=owner, scripts=False) as (page, complaints):
        page.goto(OWNERS["directory"](known_house))
        page.get_by_role("link", name="See who, and decide").click()
        page.get_by_role("checkbox").first.uncheck()
        page.get_by_role("button", name="Let it happen").click()
        expect(page.get_by_role("checkbox")).to_have_count(1)
        page.get_by_role("button", name="Keep them as they are").click()
        expect(page.get_by_text("Nothing waits.")).to_be_visible()
        page.get_by_role("link", name="Back to Okta").click()
        assert not complaints


def test_a_proof_is_asked_for_again(browser: Browser, known_house: House, owner: Any) -> None:
    with window(browser, known_house.origin, state=owner, scripts=False) as (page, complaints):
        page.goto(left()(known_house))
        page.get_by_role("button", name="Check again").click()
        expect(page.locator("#check")).to_contain_text("None works")
        expect(page.locator("#check")).to_contain_text("by owner@example.com")
        assert not complaints


# By keyboard


def test_an_emergency_rotation_by_keyboard(browser: Browser, known_house: House, owner: Any) -> None:
    with window(browser, known_house.origin, state=owner) as (page, complaints):
        hands = Hands(page)
        page.goto("/admin/rotation/emergency/")
        hands.go_to("Name")
        hands.type("mia-reports")
        hands.go_to("Look at what would end")
        hands.press("Enter")
        page.wait_for_url("**/emergency/?*")
        expect(page.get_by_role("note")).to_contain_text("the agent mia-reports")
        hands.go_to("Reason")
        hands.type("Seen in a public repository")
        hands.go_to("End all of it now")
        hands.press("Enter")
        expect(page.get_by_role("heading", name="It is done").first).to_be_visible()
        hands.go_to("Copy the key")
        hands.go_to("What is now to be replaced")
        assert not complaints
