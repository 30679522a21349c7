"""The whole story in front of the screen: from the first sign-in to a leaver's receipt, by five people."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from playwright.sync_api import Browser, Page, expect

from tests.browser.house import House, at_home
from tests.browser.look import picture, window
from tests.browser.people import first_login
from tests.browser.warehouse import Warehouse, running_warehouse
from tests.end_to_end.upstreams import Background

NEWCOMER_SECONDS = 150
"""Of her three minutes; a quiet machine takes fifteen."""
STEPS_OF_A_CALL = ["Asked", "Decided", "Sent", "Came back", "Changed", "Answered"]
pytestmark = pytest.mark.timeout(900)


@dataclass
class Story:
    house: House
    browser: Browser
    warehouse: Warehouse
    client: dict[str, Any] = field(default_factory=dict, repr=False)
    """What the screen said to paste into an agent's client."""

    @property
    def key(self) -> str:
        return str(self.client["headers"]["Authorization"]).removeprefix("Bearer ")

    @property
    def told(self) -> Callable[[], AbstractContextManager[tuple[Page, list[str]]]]:
        return partial(window, self.browser, self.house.origin)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A newcomer's, made from nothing."""
    with at_home(House(tmp_path_factory.mktemp("house"), is_migrated=False)) as running:
        yield running


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Warehouse]:
    with running_warehouse() as running:
        yield running


def test_from_the_first_sign_in_to_a_leavers_receipt(
    house: House, browser: Browser, warehouse: Warehouse, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    story = Story(house, browser, warehouse)
    began = time.monotonic()
    with story.told() as (page, complaints):
        the_owner_arrives(story, page)
        she_connects_her_own_server(story, page)
        an_agent_calls_it(story)
        took = time.monotonic() - began
        record_property("newcomer_seconds", round(took, 1))
        print(f"newcomer, from the printed link to the first governed call: {took:.1f} s")
        assert took < NEWCOMER_SECONDS
        evidence_tells_of_the_call(story, page)
        explain_says_why(page)
        she_hands_the_agent_to_ana(page)
        assert not complaints
    the_person_sees_what_is_hers(story)
    the_approver_sees_what_is_hers(story)
    with story.told() as (page, complaints):
        it_offboards_ana(story, page)
        the_receipt_holds(page, tmp_path)
        assert not complaints
    her_keys_are_dead(story)
    assert json.loads(house.manage("verify_audit", "--json"))["sound"]


def the_owner_arrives(story: Story, page: Page) -> None:
    first_login(page, story.house.login("owner"))
    page.get_by_role("link", name="Not now, open the admin").click()
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    picture(page, "story-1-home")


def she_connects_her_own_server(story: Story, page: Page) -> None:
    page.goto("/admin/connectors/new/")
    page.get_by_label("Address").fill(story.warehouse.url)
    page.get_by_label("Name", exact=True).fill("warehouse")
    page.get_by_label("A new secret").check()
    page.get_by_label("Value").fill(story.warehouse.token)
    page.get_by_role("button", name="Save and test").click()
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
    picture(page, "story-2-tested")
    assert page.locator("[data-key=tools][data-state=good]").count() == 1
    page.get_by_role("link", name="Continue: classify the tools").click()
    expect(page.get_by_role("heading", name="What do the 2 tools do?")).to_be_visible()
    page.get_by_role("button", name=re.compile("Accept .* suggestion")).click()
    assert page.get_by_label("get_stock only reads").is_checked()
    page.get_by_role("button", name="Save and continue: publish").click()
    she_publishes_it(page)
    she_issues_a_key(story, page)


def she_publishes_it(page: Page) -> None:
    page.get_by_label("Name of the bundle").fill("stock")
    assert page.get_by_role("checkbox", name=re.compile("get_stock")).is_checked()
    assert not page.get_by_role("checkbox", name=re.compile("order_article")).is_checked()
    page.get_by_label("A new agent").check()
    page.get_by_label("Name of the agent").fill("stock-bot")
    page.get_by_role("button", name="Show what will happen").click()
    expect(page.get_by_role("heading", name="What will happen")).to_be_visible()
    picture(page, "story-3-what-will-happen")
    page.get_by_role("button", name="Publish now").click()


def she_issues_a_key(story: Story, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Issue a key").click()
    picture(page, "story-4-key")
    page.locator("[data-copy=key]").click()
    expect(page.locator("[data-copy=key]")).to_have_text("Copied")
    page.locator("summary", has_text="Cursor").click()
    story.client = next(iter(json.loads(page.locator("#cursor-1").inner_text())["mcpServers"].values()))
    assert page.evaluate("navigator.clipboard.readText()") == story.key
    page.goto(page.url)
    assert story.key not in page.content()


def an_agent_calls_it(story: Story) -> None:
    background = Background()
    try:
        tools, answer = background.run(_sdk_call(story.client, "get_stock", article="lamp"))
    finally:
        background.close()
    assert tools == ["get_stock"]
    assert answer == "lamp: 42 in stock"


async def _sdk_call(client: dict[str, Any], tool: str, **arguments: Any) -> tuple[list[str], str]:
    async with (
        create_mcp_http_client(headers=client["headers"]) as http,
        Client(streamable_http_client(client["url"], http_client=http)) as session,
    ):
        tools = [each.name for each in (await session.list_tools()).tools]
        result: Any = await session.call_tool(tool, arguments)
        return tools, result.content[0].text


def evidence_tells_of_the_call(story: Story, page: Page) -> None:
    page.goto("/admin/audit/eventrow/")
    page.get_by_label("Agent").fill("stock-bot")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.locator("#result_list tbody tr", has_text="called get_stock").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="stock-bot → get_stock")).to_be_visible()
    assert page.locator(".gh-story > li h3").all_inner_texts() == STEPS_OF_A_CALL
    times = page.locator(".gh-story time").evaluate_all("all => all.map((each) => each.textContent)")
    assert times == sorted(times)
    assert story.warehouse.token not in page.content()
    picture(page, "story-5-call")


def explain_says_why(page: Page) -> None:
    page.goto("/admin/explain/")
    for tool, answer in (("warehouse/get_stock", "Yes"), ("warehouse/order_article", "No")):
        page.get_by_label("Agent").fill("stock-bot")
        page.get_by_label("Tool").fill(tool)
        page.get_by_role("button", name="Explain", exact=True).click()
        expect(page.get_by_role("heading", name=f"{answer} stock-bot and {tool}")).to_be_visible()
    picture(page, "story-6-why-not")


def she_hands_the_agent_to_ana(page: Page) -> None:
    page.goto("/admin/search/?q=stock-bot")
    page.locator("#content").get_by_role("link", name="stock-bot").first.click()
    page.get_by_role("link", name="Transfer…").click()
    page.get_by_label("E-mail of the new owner").fill("ana@example.com")
    page.get_by_label("End its keys").uncheck()
    page.get_by_role("button", name="Transfer stock-bot").click()
    expect(page.get_by_text("ana@example.com").first).to_be_visible()


def the_person_sees_what_is_hers(story: Story) -> None:
    with story.told() as (page, complaints):
        first_login(page, story.house.login("person"))
        assert page.url.endswith("/me/")
        expect(page.get_by_role("link", name="Triage bot")).to_be_visible()
        expect(page.get_by_role("link", name="stock-bot")).to_be_visible()
        assert not complaints
        assert _is_refused(page, "/admin/")
        assert _is_refused(page, "/admin/governance/agent/")


def the_approver_sees_what_is_hers(story: Story) -> None:
    with story.told() as (page, complaints):
        first_login(page, story.house.login("approver"))
        picture(page, "story-7-approver")
        assert not complaints
        assert _is_refused(page, "/admin/governance/secret/")
        assert _is_refused(page, "/admin/offboard/")
        assert _is_refused(page, "/admin/connectors/new/")


def _is_refused(page: Page, path: str) -> bool:
    """Told so, or led to the sign-in or her own page; never shown the screen."""
    response = page.goto(path)
    return response is not None and (response.status == 403 or path not in page.url.partition("?")[0])


def it_offboards_ana(story: Story, page: Page) -> None:
    first_login(page, story.house.login("IT admin"))
    page.goto("/admin/offboard/")
    page.get_by_label("Name or e-mail address").fill("ana")
    page.get_by_role("button", name="Find", exact=True).click()
    page.get_by_role("link", name="Ana Lima").click()
    page.get_by_label("What becomes of triage-bot").select_option("pass")
    page.get_by_label("Who gets triage-bot").fill("lee@example.com")
    page.get_by_label("What becomes of stock-bot").select_option("suspend")
    page.get_by_label("I have looked at the list").check()
    picture(page, "story-8-plan")
    page.get_by_role("button", name="Offboard Ana Lima").click()
    expect(page.locator("#state")).to_have_text("Enforced everywhere")
    expect(page.locator("#headline")).to_contain_text("1 of 1 gateway")
    picture(page, "story-9-receipt")


def the_receipt_holds(page: Page, folder: Path) -> None:
    number = page.url.rstrip("/").rpartition("/")[2]
    told = _downloaded(page, "Receipt as JSON", folder)
    receipt = json.loads(told)
    assert receipt["person"] == "ana@example.com"
    fates = {item["name"]: item["action"] for item in receipt["items"] if item["kind"] == "agent"}
    assert "lee@example.com" in fates["triage-bot"]
    assert "suspend" in fates["stock-bot"]
    expect(page.locator("#check")).to_contain_text(hashlib.sha256(told).hexdigest())
    expect(page.locator("#check")).to_contain_text("None works")
    printed = _downloaded(page, "Receipt as PDF", folder)
    assert printed.startswith(b"%PDF-")
    assert number.encode() in printed


def _downloaded(page: Page, link: str, folder: Path) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file.read_bytes()


def her_keys_are_dead(story: Story) -> None:
    for key, path in ((story.key, "/mcp/stock"), (story.house.key, "/mcp/support")):
        with closing(story.house.caller(key, path=path)) as agent:
            assert agent.ask("tools/list").status == 401
