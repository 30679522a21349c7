"""A person's own page and what hangs on it: what she sees, what she ends, what she replaces; nobody else's."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway.bridge_client import admit_bridge
from gateway.bridge_file import bridge_digest, bridge_file
from gateway.console import me, me_connect
from gateway.console.once import new_ticket
from gateway.models import McpSession
from governance import rotation
from governance.agent_keys import live, looks_like_key
from governance.models import Agent, AgentCredential, Authorization, CredentialUse, OAuthClient, User
from tests.gateway.rows import a_key
from tests.gateway.signing_in import TOO_LONG, browser_of, is_asked_again, let_time_pass, person

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

NOW = datetime.now(UTC)


@pytest.fixture
def ana() -> User:
    return person("ana@example.com", name="Ana Lima")


@pytest.fixture
def bot(ana: User) -> Agent:
    return Agent.objects.create(name="triage-bot", owner=ana, purpose="Sorts new tickets")


@pytest.fixture
def browser(ana: User) -> Client:
    return browser_of(ana)


@pytest.fixture
def stranger() -> Client:
    return browser_of(person("mallory@example.com"))


def let_in(owner: User, agent: Agent, name: str = "Editor <b>") -> Authorization:
    client = OAuthClient.objects.create(client_id=f"id-of-{name}", name=name, status="approved", created_by="test")
    return Authorization.objects.create(
        client=client,
        agent=agent,
        person=owner,
        resource="http://testserver/mcp",
        expires_at=NOW + timedelta(days=30),
        created_by="test",
    )


def page(client: Client, name: str, *arguments: Any, **query: Any) -> str:
    answer = client.get(reverse(name, args=arguments), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_her_page_tells_what_there_is(ana: User, bot: Agent, browser: Client) -> None:
    used = a_key(bot, "gate_ak_used")
    CredentialUse.objects.create(
        credential=used, first_used_at=NOW, last_used_at=datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
    )
    a_key(bot, "gate_ak_more")
    let_in(ana, bot)
    text = page(browser, "me")
    assert "2 live keys" in text
    assert "2026-11-03 09:30" in text
    for name in (
        "connect_client",
        "my_apps",
        "my_sessions",
        "my_access",
        "personal_tokens",
        "usersessions_list",
        "approvals",
    ):
        assert reverse(name) in text


class TestApps:
    def test_they_are_told_by_name_and_ended_by_one_click(self, ana: User, bot: Agent, browser: Client) -> None:
        row = let_in(ana, bot)
        text = page(browser, "my_apps")
        assert "Editor &lt;b&gt;" in text
        browser.post(reverse("end_my_app", args=[row.pk]))
        row.refresh_from_db()
        assert row.revoked_by == "person:ana@example.com"
        assert "Editor &lt;b&gt;" not in page(browser, "my_apps").split("<h1>")[-1]
        assert browser.post(reverse("end_my_app", args=[row.pk])).status_code == 404

    def test_somebody_elses_are_not_there(self, ana: User, bot: Agent, stranger: Client) -> None:
        row = let_in(ana, bot)
        assert "Editor" not in page(stranger, "my_apps")
        assert stranger.post(reverse("end_my_app", args=[row.pk])).status_code == 404
        row.refresh_from_db()
        assert row.revoked_at is None


class TestOneAgent:
    def test_its_keys_its_uses_and_its_open_sessions(self, bot: Agent, browser: Client) -> None:
        key = a_key(bot, "gate_ak_abcd", label="build server <i>")
        at = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)
        CredentialUse.objects.create(credential=key, first_used_at=at, last_used_at=at, last_used_from="192.0.2.7")
        facts = {"agent_id": bot.pk, "revision": "2025-11-25", "created_at": NOW, "seen_at": NOW}
        McpSession.objects.create(digest=b"1" * 32, client="Editor <script>", **facts)
        McpSession.objects.create(digest=b"2" * 32, client="over", **{**facts, "ended_at": NOW})
        text = page(browser, "my_agent", bot.pk)
        assert "build server &lt;i&gt;" in text
        assert "2026-11-03 09:30 UTC" in text
        assert "192.0.2.7" in text
        assert "Editor &lt;script&gt;" in text
        assert ">over<" not in text

    def test_one_key_is_ended_after_a_look(self, bot: Agent, browser: Client, stranger: Client) -> None:
        key, other = a_key(bot, "gate_ak_abcd"), a_key(bot, "gate_ak_efgh")
        way = reverse("end_my_key", args=[bot.pk, key.pk])
        assert "cannot be undone" in page(browser, "end_my_key", bot.pk, key.pk)
        assert stranger.post(way).status_code == 404
        assert browser.post(way).status_code == 302
        key.refresh_from_db()
        other.refresh_from_db()
        assert (key.revoked_by, other.revoked_at) == ("person:ana@example.com", None)
        assert browser.post(way).status_code == 404

    def test_a_key_of_another_agent_is_not_there(self, ana: User, bot: Agent, browser: Client) -> None:
        other = Agent.objects.create(name="other-bot", owner=person("lee@example.com"))
        key = a_key(other, "gate_ak_abcd")
        for name in ("end_my_key", "replace_my_key"):
            assert browser.get(reverse(name, args=[bot.pk, key.pk])).status_code == 404
            assert browser.post(reverse(name, args=[other.pk, key.pk])).status_code == 404


class TestSessions:
    """Those of clients that keep one."""

    def begun(self, agent: Agent, digest: bytes = b"1" * 32, **facts: Any) -> McpSession:
        known = {"revision": "2025-11-25", "created_at": NOW, "seen_at": NOW, "capabilities": {"sampling": {}}}
        return McpSession.objects.create(digest=digest, agent_id=agent.pk, **known | facts)

    def end(self, browser: Client, row: McpSession) -> int:
        return browser.post(reverse("end_my_session", args=[row.name_in_addresses])).status_code

    def test_one_is_told_by_its_client_and_ended_by_one_click(self, bot: Agent, browser: Client) -> None:
        since, last = datetime(2026, 11, 3, 9, 30, tzinfo=UTC), NOW - timedelta(hours=1)
        row = self.begun(bot, client="Editor <script>", bundle="support", created_at=since, seen_at=last)
        other = self.begun(bot, b"2" * 32, client="Another")
        text = page(browser, "my_sessions")
        for told in ("Editor &lt;script&gt;", "triage-bot", "support", "2026-11-03 09:30", f"{last:%Y-%m-%d %H:%M}"):
            assert told in text
        assert self.end(browser, row) == 302
        row.refresh_from_db()
        other.refresh_from_db()
        assert (row.ended_at is not None, row.capabilities, other.ended_at) == (True, {}, None)
        assert "Editor" not in page(browser, "my_sessions").split("<h1>")[-1]
        event = orjson.loads(bytes(EventRow.objects.get(kind="mcp_session.ended").header))
        assert (event["actor"], event["details"]["client"]) == ("person:ana@example.com", "Editor <script>")
        assert event["details"]["session"] == (b"1" * 32).hex()[:32], "as in the evidence of its calls"
        assert self.end(browser, row) == 404
        assert EventRow.objects.filter(kind="mcp_session.ended").count() == 1

    def test_somebody_elses_and_what_is_over_are_not_there(self, bot: Agent, browser: Client, stranger: Client) -> None:
        row, idle = self.begun(bot, client="Editor"), self.begun(bot, b"2" * 32, seen_at=NOW - timedelta(days=2))
        assert "Editor" not in page(stranger, "my_sessions")
        assert self.end(stranger, row) == 404
        assert self.end(browser, idle) == 404
        assert browser.post("/me/sessions/no-digest/end/").status_code == 404
        assert browser.get(reverse("end_my_session", args=[row.name_in_addresses])).status_code == 405
        assert not McpSession.objects.exclude(ended_at=None).exists()


class TestReplacing:
    def test_she_is_told_which_are_due(self, ana: User, bot: Agent, browser: Client) -> None:
        key = a_key(bot, "gate_ak_abcd")
        rotation.ask_for(
            rotation.of_credential(key),
            reason="age",
            owner=ana,
            due_at=datetime(2027, 1, 31, tzinfo=UTC),
            by="test",
            record=[].append,
            now=NOW,
        )
        assert ">replace a key<" in page(browser, "me")
        assert "replace it by 2027-01-31" in page(browser, "my_agent", bot.pk)
        browser.post(self.way(key), {"once": new_ticket()})
        assert ">replace a key<" not in page(browser, "me")

    def way(self, key: AgentCredential) -> str:
        return reverse("replace_my_key", args=[key.agent_id, key.pk])

    def test_a_new_key_is_shown_once_and_the_old_one_ends_by_itself(self, bot: Agent, browser: Client) -> None:
        key = a_key(bot, "gate_ak_abcd", label="build server")
        ticket = {"once": new_ticket()}
        shown = browser.post(self.way(key), ticket).content.decode()
        new = bot.credentials.get(successor_of=key)
        (text,) = {word for word in shown.replace("<", " ").replace(">", " ").split() if looks_like_key(word)}
        assert new.hint in text
        assert new.label == "build server"
        key.refresh_from_db()
        assert key.revoked_at is None
        assert key.expires_at is not None
        again = browser.post(self.way(key), ticket, follow=True).content.decode()
        assert text not in again
        assert bot.credentials.filter(live(datetime.now(UTC))).count() == 2

    def test_it_wants_a_fresh_sign_in(self, bot: Agent, browser: Client) -> None:
        key = a_key(bot, "gate_ak_abcd")
        let_time_pass(browser, TOO_LONG)
        assert is_asked_again(browser.post(self.way(key), {"once": new_ticket()}))
        assert bot.credentials.count() == 1

    def test_what_we_do_not_make_cannot_be_replaced_here(self, bot: Agent, browser: Client) -> None:
        key = AgentCredential.objects.create(
            agent=bot,
            kind="workload",
            issuer="https://ci.example.com",
            claims={"sub": "x"},
            hint="ci",
            created_by="test",
        )
        assert "cannot be replaced here" in page(browser, "replace_my_key", bot.pk, key.pk)
        assert browser.post(self.way(key), {"once": new_ticket()}).status_code == 404
        assert bot.credentials.count() == 1

    def test_a_suspended_agent_gets_none(self, bot: Agent, browser: Client) -> None:
        key = a_key(bot, "gate_ak_abcd")
        Agent.objects.update(status="suspended")
        answer = browser.post(self.way(key), {"once": new_ticket()})
        assert (answer.status_code, bot.credentials.count()) == (409, 1)


class TestConnecting:
    def test_where_people_sign_in_no_key_is_told(self, browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (me, me_connect):
            monkeypatch.setattr(module, "people_can_sign_in", lambda: True)
        assert "Connect the assistant" in page(browser, "me")
        text = page(browser, "connect_client")
        assert "cursor://anysphere.cursor-deeplink/mcp/install" in text
        assert "vscode:mcp/install" in text
        assert "YOUR_AGENT_KEY" not in text
        assert "You hold no bundle at this time" in text
        assert "--sign-in" not in text
        admit_bridge(by="test")
        assert "--sign-in" in page(browser, "connect_client")

    def test_an_address_that_is_not_hers_is_not_shown(self, browser: Client) -> None:
        assert "/mcp/payroll" not in page(browser, "connect_client", endpoint="payroll")

    def test_the_bridge_is_what_its_digest_says(self, browser: Client) -> None:
        assert bridge_digest() in page(browser, "connect_client")
        answer = browser.get(reverse("bridge"))
        assert sha256(answer.content).hexdigest() == bridge_digest()
        assert answer.content == bridge_file()
        assert answer["Content-Disposition"] == 'attachment; filename="gatehouse-bridge.pyz"'
        assert Client().get(reverse("bridge")).status_code == 302
