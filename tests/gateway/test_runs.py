"""Sessions outside the admin: who sees which, what a search by words leaves on record, what people keep of theirs."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from django.test import Client
from django.urls import reverse

from audit.models import AgentSession, EventRow
from audit.tally import count_new_calls
from gateway import actions, run_search
from gateway.models import SavedSearch
from governance.models import Agent, User
from tests.gateway.signing_in import TOO_LONG, browser_of, is_asked_again, let_time_pass, person, sign_in
from tests.gateway.test_evidence_pages import ARGUMENTS, a_call, a_refusal
from tests.gateway.test_text_search import index

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

HERS, OTHERS = (UUID(int=0x8 << 76 | 0x2 << 62 | n) for n in (1, 2))
LONG_AGO = timedelta(days=400)


@pytest.fixture
def ana() -> User:
    return _since_long_ago(person("ana@example.com"))


@pytest.fixture
def lee() -> User:
    return _since_long_ago(person("lee@example.com"))


def _since_long_ago(row: Any) -> Any:
    type(row).objects.filter(pk=row.pk).update(created_at=row.created_at - LONG_AGO)
    row.refresh_from_db()
    return row


@pytest.fixture
def world(ana: User, lee: User) -> None:
    """A run of an agent of Lee's for Ana, with a sealed question, and one of somebody else's."""
    with_owner = Agent.objects.create(name="triage-bot", owner=lee)
    _since_long_ago(with_owner)
    a_call(session=HERS, sealed=ARGUMENTS)
    a_refusal(session=OTHERS, agent="night-bot", person="ben@example.com", tool="pay")
    index()
    count_new_calls()


def shown(client: Client, **query: str) -> str:
    answer = client.get(reverse("runs"), query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def asked(client: Client, **form: str) -> Any:
    return client.post(reverse("runs"), form)


def searches() -> list[dict[str, Any]]:
    return [orjson.loads(bytes(row.header))["details"] for row in EventRow.objects.filter(kind="payload.searched")]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("who", ["for-her", "owner-of-agent"])
def test_a_person_sees_runs_for_her_and_of_her_agents_and_no_other(who: str, ana: User, lee: User) -> None:
    client = browser_of(ana if who == "for-her" else lee)
    text = shown(client)
    assert str(HERS) in text
    assert str(OTHERS) not in text
    page = client.get(reverse("run_page", args=[HERS])).content.decode()
    assert "ticket_get" in page
    assert "Somebody with permission to open them" in page
    assert "/admin/" not in page
    assert client.post(reverse("open_run", args=[HERS]), {"reason": "I am curious"}).status_code == 403
    for other in (OTHERS, uuid4()):
        assert client.get(reverse("run_page", args=[other])).status_code == 403
    assert str(OTHERS) not in shown(client, tool="pay", person="ben@example.com", finding="secret")


@pytest.mark.usefixtures("world")
def test_an_address_or_a_name_that_was_anothers_before_shows_nothing_of_then(ana: User, lee: User) -> None:
    User.objects.filter(pk=ana.pk).update(created_at=ana.created_at + LONG_AGO * 2)
    Agent.objects.update(created_at=ana.created_at + LONG_AGO * 2)
    for who in (ana, lee):
        client = browser_of(User.objects.get(pk=who.pk))
        assert str(HERS) not in shown(client)
        assert client.get(reverse("run_page", args=[HERS])).status_code == 403


def _by_a_person(agent: Agent, to: User) -> None:
    actions.transfer_agent(agent, to=to, ends_keys=True, by="person:it@example.com")


def _by_a_form(agent: Agent, to: User) -> None:
    row = Agent.objects.get(pk=agent.pk)
    row.owner = to
    row.save(update_fields=["owner"])


def _by_a_manifest(agent: Agent, to: User) -> None:
    Agent.objects.filter(pk=agent.pk).update(title="Triage", owner=to)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("hand_over", [_by_a_person, _by_a_form, _by_a_manifest])
def test_a_new_owner_sees_what_was_since_the_agent_is_hers(hand_over: Callable[[Agent, User], None], lee: User) -> None:
    eva = _since_long_ago(person("eva@example.com"))
    hand_over(Agent.objects.get(name="triage-bot"), eva)
    Agent.objects.filter(name="triage-bot").update(purpose="Sorts", owner=eva)
    since = UUID(int=HERS.int + 16)
    a_call(session=since, at=datetime.now(UTC) + timedelta(minutes=1))
    index()
    count_new_calls()
    client = browser_of(eva)
    assert client.post(reverse("save_search"), {"name": "Mine", "agent": "triage-bot"}).status_code == 302
    for text in (shown(client), shown(client, saved=str(SavedSearch.objects.get().pk))):
        assert (str(since) in text, str(HERS) in text) == (True, False)
    assert client.get(reverse("run_page", args=[since])).status_code == 200
    assert client.get(reverse("run_page", args=[HERS])).status_code == 403
    assert client.post(reverse("open_run", args=[HERS]), {"reason": "It is my agent"}).status_code == 403
    assert client.post(reverse("session_bundle", args=[HERS])).status_code in (302, 403)
    assert str(since) not in shown(browser_of(lee))


@pytest.mark.usefixtures("world")
def test_an_auditor_opens_payloads_there_for_a_reason() -> None:
    client = sign_in("auditor")
    assert client.get(reverse("run_page", args=[uuid4()])).status_code == 404
    answer = client.post(reverse("open_run", args=[HERS]), {"reason": "Complaint 17 of a customer"})
    assert "blue chair" in answer.content.decode()
    assert EventRow.objects.filter(kind="payload.opened").count() == 1
    let_time_pass(client, TOO_LONG)
    assert is_asked_again(client.post(reverse("open_run", args=[HERS]), {"reason": "Complaint 17 of a customer"}))


@pytest.mark.usefixtures("world")
def test_calls_are_found_by_what_is_recorded_in_the_clear_and_that_is_no_event() -> None:
    client = sign_in("auditor")
    assert str(OTHERS) in shown(client, tool="pay")
    assert str(OTHERS) in shown(client, decision="deny", outcome="refused")
    assert str(HERS) not in shown(client, agent="night-bot")
    assert "Nothing was found" in shown(client, finding="secret")
    assert not searches()


@pytest.mark.usefixtures("world")
def test_a_search_by_words_is_on_record_without_them() -> None:
    client = sign_in("auditor")
    answer = asked(client, text="the blue CHAIR", tool="ticket_get")
    text = answer.content.decode()
    line = EventRow.objects.get(kind="call.intent", session=HERS).pk
    assert f"{HERS}/?at={line}" in text
    (told,) = searches()
    assert (told["words"], told["filters"]) == (3, {"tool": "ticket_get"})
    assert "chair" not in str(told).lower()
    assert "Nothing was found" in asked(client, text="blue table").content.decode()
    assert len(searches()) == 2
    by = EventRow.objects.filter(kind="payload.searched").values_list("actor", flat=True)
    assert set(by) == {"person:noor@example.com"}


@pytest.mark.usefixtures("world")
def test_words_need_the_permission_to_open_payloads_and_a_fresh_sign_in(ana: User) -> None:
    assert asked(browser_of(ana), text="chair").status_code == 403
    assert asked(sign_in("security"), text="chair").status_code == 403
    client = sign_in("auditor", email="old@example.com")
    let_time_pass(client, TOO_LONG)
    assert is_asked_again(asked(client, text="chair"))
    assert not searches()


def test_pages_follow_one_another_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_search, "PER_PAGE", 2)
    for n in range(5):
        a_call(session=UUID(int=HERS.int + 16 + n), tool="ticket_get", sealed=ARGUMENTS)
    index()
    client, seen = sign_in("auditor"), []
    for ask in (
        lambda **more: client.get(reverse("runs"), {"tool": "ticket_get", **more}),
        lambda **more: asked(client, text="chair", **more),
    ):
        older, seen = {}, []
        while older is not None:
            found = ask(**older).context["found"]
            seen += [call.end.session for call in found.calls]
            older = {"older_than": str(found.older)} if found.older else None
        assert len(seen) == len(set(seen)) == 5


@pytest.mark.usefixtures("world")
def test_a_saved_search_is_a_link_its_words_are_sealed_and_others_use_it_if_they_may() -> None:
    client = sign_in("auditor")
    kept = {"name": "Chairs", "text": "blue chair", "agent": "triage-bot", "is_shared": "on"}
    assert client.post(reverse("save_search"), kept).status_code == 302
    row = SavedSearch.objects.get()
    assert b"chair" not in bytes(row.sealed_text)
    assert "chair" not in str([bytes(each.header) for each in EventRow.objects.filter(kind="search.saved")])
    colleague = sign_in("auditor", email="olga@example.com")
    assert "Run it and record it" in shown(colleague, saved=str(row.pk))
    assert not searches(), "following a link writes nothing"
    text = asked(colleague, saved=str(row.pk)).content.decode()
    assert str(HERS) in text
    assert "blue chair" not in text
    assert len(searches()) == 1
    let_time_pass(colleague, TOO_LONG)
    assert is_asked_again(asked(colleague, saved=str(row.pk)))
    stranger = browser_of(person("mallory@example.com"))
    assert stranger.get(reverse("runs"), {"saved": str(row.pk)}).status_code == 404
    assert asked(stranger, saved=str(row.pk)).status_code == 404
    assert colleague.post(reverse("drop_search", args=[row.pk])).status_code == 404
    assert client.post(reverse("drop_search", args=[row.pk])).status_code == 302
    assert not SavedSearch.objects.exists()


@pytest.mark.usefixtures("world")
def test_what_is_not_shared_is_not_there_for_others_and_a_person_keeps_her_own(ana: User) -> None:
    client = browser_of(ana)
    assert client.post(reverse("save_search"), {"name": "Mine", "agent": "triage-bot"}).status_code == 302
    row = SavedSearch.objects.get()
    assert str(HERS) in shown(client, saved=str(row.pk))
    assert sign_in("auditor").get(reverse("runs"), {"saved": str(row.pk)}).status_code == 404
    for wrong in ({"name": "x", "is_shared": "on"}, {"name": "x", "text": "chair"}):
        assert client.post(reverse("save_search"), wrong).status_code == 403
    assert AgentSession.objects.count() == 2
