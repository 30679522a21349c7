"""The offboarding screens by URL: who may, what is shown, what a click does, and what can be taken along."""

import hashlib
import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.db import connection
from django.test import Client
from django.urls import reverse

from gateway import actions, offboardings
from gateway.console.sockets import websocket_urlpatterns
from gateway.enforcement import CutCall, Enforcement, Gateway
from gateway.models import GatewayProcess
from gateway.receipts.pdf import printable, proof
from gateway.receipts.words import consequence, cut_count, fates, headline
from governance.models import Agent, Offboarding, Organization, User
from governance.offboarding import Plan
from tests.fresh_database import fresh_database
from tests.gateway.signing_in import TOO_LONG, browser_of, is_asked_again, let_time_pass, sign_in

__all__ = ("fresh_database",)

pytestmark = pytest.mark.database
real = pytest.mark.django_db

NAME = "Łukasz <b>Żółć</b>\u202e"


@pytest.fixture
def lukasz() -> User:
    """Two agents, three keys, a manager; an owner stays behind."""
    User.objects.create_superuser("owner@example.com")
    lee = User.objects.create_user("lee@example.com", name="Lee Wong")
    lukasz = User.objects.create_user("lukasz@example.com", name=NAME, manager=lee)
    for name, keys in (("billing-bot", 2), ("night-bot", 1)):
        agent = Agent.objects.create(name=name, owner=lukasz)
        for _ in range(keys):
            actions.issue_key(agent, by="command:test", expires_in=None)
    return lukasz


def person_page(person: User) -> str:
    return reverse("offboard_person", args=[person.pk])


def submitted(client: Client, person: User, **fields: str) -> Any:
    """The form as the page offers it, with these fields changed."""
    page = client.get(person_page(person)).content.decode()
    hidden = {name: html.unescape(value) for name, value in re.findall(r'name="(seen|marks)" value="([^"]*)"', page)}
    return client.post(person_page(person), {**hidden, "all": "suspend", "confirmed": "yes", **fields})


@real
@pytest.mark.parametrize(
    ("duty", "pages"),
    [("it-admin", (200, 200)), ("auditor", (200, 403)), ("security", (403, 403)), ("approver", (403, 403))],
)
def test_who_sees_what(lukasz: User, duty: str, pages: tuple[int, int]) -> None:
    client = sign_in(duty)
    assert tuple(client.get(url).status_code for url in (reverse("offboardings"), person_page(lukasz))) == pages


@real
def test_it_takes_a_fresh_sign_in(lukasz: User) -> None:
    client = sign_in("it-admin")
    let_time_pass(client, TOO_LONG)
    assert client.get(person_page(lukasz)).status_code == 302
    assert is_asked_again(client.post(person_page(lukasz), {"confirmed": "yes"}))
    lukasz.refresh_from_db()
    assert lukasz.is_active


@real
def test_a_person_is_found_by_part_of_name_or_address(lukasz: User) -> None:
    client = sign_in("it-admin")
    for words in ("ukasz", "lukasz@", "Żółć"):
        assert person_page(lukasz) in client.get(reverse("offboardings"), {"q": words}).content.decode()
    assert "Nobody of that name" in client.get(reverse("offboardings"), {"q": "xyz"}).content.decode()


@real
def test_looking_shows_all_and_changes_nothing(lukasz: User) -> None:
    page = sign_in("it-admin").get(person_page(lukasz)).content.decode()
    assert "Ends her sign-in, 3 keys of 2 agents. This cannot be undone" in page
    assert 'value="lee@example.com"' in page, "her manager is proposed"
    assert "<b>Żółć" not in page
    assert "&lt;b&gt;" in page
    assert not Offboarding.objects.exists()


@real
def test_one_click_ends_and_proves(lukasz: User) -> None:
    client = sign_in("it-admin")
    answer = submitted(client, lukasz, all="pass", all_to="lee@example.com", **{"fate-night-bot": "suspend"})
    done = Offboarding.objects.get()
    assert answer.headers["Location"] == reverse("offboarding", args=[done.pk])
    assert (done.state, done.created_by) == ("enforced", "person:noor@example.com")
    owners = dict(Agent.objects.values_list("name", "owner__email"))
    assert owners == {"billing-bot": "lee@example.com", "night-bot": "lukasz@example.com"}
    page = client.get(answer.headers["Location"]).content.decode()
    assert "None works" in page
    assert done.receipt_digest in page


@real
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"confirmed": ""}, "Tick the box"),
        ({"all": "pass", "all_to": "nobody@example.com"}, "is nobody who works here"),
        ({"fate-night-bot": "pass"}, "nobody is named"),
        ({"at": "someday"}, "The date is none"),
        ({"at": "2001-01-01T10:00"}, "That time is over"),
    ],
)
def test_what_is_not_clear_is_not_done(lukasz: User, fields: dict[str, str], message: str) -> None:
    answer = submitted(sign_in("it-admin"), lukasz, **fields)
    assert answer.status_code == 422
    assert message in answer.content.decode()
    lukasz.refresh_from_db()
    assert lukasz.is_active


@real
def test_what_changed_meanwhile_is_shown_first(lukasz: User) -> None:
    client = sign_in("it-admin")
    page = client.get(person_page(lukasz)).content.decode()
    hidden = dict(re.findall(r'name="(seen|marks)" value="([^"]*)"', page))
    Agent.objects.create(name="brand-new-bot", owner=lukasz)
    actions.revoke_key(Agent.objects.get(name="night-bot").credentials.get(), by="command:test")
    answer = client.post(person_page(lukasz), {**hidden, "all": "suspend", "confirmed": "yes"})
    told = answer.content.decode()
    assert answer.status_code == 409
    assert "agent brand-new-bot" in told
    assert "1 of what you saw is not there any more" in told
    assert not Offboarding.objects.exists()
    assert submitted(client, lukasz).status_code == 302


@real
def test_owners_are_for_owners_and_the_last_one_stays(lukasz: User) -> None:
    owner = User.objects.get(email="owner@example.com")
    assert "by owners only" in sign_in("it-admin").get(person_page(owner)).content.decode()
    hers = browser_of(owner)
    page = hers.get(person_page(owner)).content.decode()
    assert "last owner" in page
    assert 'name="confirmed"' not in page
    assert submitted(hers, owner).status_code == 422
    User.objects.create_superuser("second@example.com")
    assert "This is you" in hers.get(person_page(owner)).content.decode()
    assert submitted(hers, owner).status_code == 302
    owner.refresh_from_db()
    assert not owner.is_active


@real
def test_a_date_is_in_the_organizations_time(lukasz: User) -> None:
    Organization.objects.update_or_create(defaults={"timezone": "America/New_York"})
    client = sign_in("it-admin")
    answer = submitted(client, lukasz, at="2099-01-31T18:00")
    planned = Offboarding.objects.get()
    assert planned.due_at == datetime(2099, 1, 31, 23, 0, tzinfo=UTC)
    assert "2099-01-31 18:00 (America/New_York)" in client.get(answer.headers["Location"]).content.decode()
    assert client.post(reverse("cancel_offboarding", args=[planned.pk])).status_code == 302
    planned.refresh_from_db()
    assert planned.state == "cancelled"


@real
def test_an_auditor_looks_and_checks_but_cancels_nothing(lukasz: User) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    planned = offboardings.schedule_offboarding(lukasz, plan=Plan(), due_at=later, by="command:test")
    auditor = sign_in("auditor")
    assert auditor.post(reverse("cancel_offboarding", args=[planned.pk])).status_code == 403
    done = offboardings.offboard(lukasz, plan=Plan(), by="command:test")
    assert auditor.post(reverse("check_offboarding", args=[done.pk])).status_code == 302
    done.refresh_from_db()
    assert done.checked["by"] == "person:noor@example.com"


@real
def test_she_does_not_cancel_her_own(lukasz: User) -> None:
    User.objects.filter(pk=lukasz.pk).update(is_staff=True, duties=["it-admin"])
    lukasz.refresh_from_db()
    later = datetime.now(UTC) + timedelta(days=1)
    planned = offboardings.schedule_offboarding(lukasz, plan=Plan(), due_at=later, by="command:test")
    hers = browser_of(lukasz)
    assert "Cancel this plan" not in hers.get(reverse("offboarding", args=[planned.pk])).content.decode()
    assert hers.post(reverse("cancel_offboarding", args=[planned.pk])).status_code == 403
    planned.refresh_from_db()
    assert planned.state == "scheduled"


@real
def test_the_receipt_as_files(lukasz: User) -> None:
    done = offboardings.offboard(lukasz, plan=Plan("lee@example.com"), by="command:test")
    client = sign_in("auditor")
    as_json = client.get(reverse("offboarding_json", args=[done.pk]))
    assert hashlib.sha256(as_json.content).hexdigest() == done.receipt_digest
    assert json.loads(as_json.content)["name"] == NAME
    as_pdf = client.get(reverse("offboarding_pdf", args=[done.pk]))
    assert as_pdf.headers["Content-Disposition"].startswith("attachment")
    assert as_pdf.content.startswith(b"%PDF-")
    assert b"DejaVuSans" in as_pdf.content, "names need letters that the built-in fonts lack"


@real
def test_the_paper_says_which_edition_it_is_and_how_to_check_it(lukasz: User) -> None:
    done = offboardings.offboard(lukasz, plan=Plan("lee@example.com"), by="command:test")
    told = dict(proof(done, json.loads(done.receipt), None))
    assert told["SHA-256 of the JSON receipt"] == done.receipt_digest
    assert told["Replaces"].startswith("nothing")
    assert "edition 1" in told["Signature"]
    assert f"verify_receipt offboarding-{done.pk}.json" in told["How to check"]
    Offboarding.objects.update(signature="")
    done.refresh_from_db()
    assert dict(proof(done, json.loads(done.receipt), None))["Signature"].startswith("not signed yet")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Łukasz Żółć", "Łukasz Żółć"),
        ("<b>bold</b> & more", "&lt;b&gt;bold&lt;/b&gt; &amp; more"),
        ("a\u202eb\u200bc", "a[U+27E6]U+202E[U+27E7]b[U+27E6]U+200B[U+27E7]c"),
        ("漢 שלום", "[U+6F22] [U+05E9][U+05DC][U+05D5][U+05DD]"),
    ],
)
def test_paper_never_reads_differently_from_the_record(text: str, printed: str) -> None:
    assert printable(text).replace("⟦", "[U+27E6]").replace("⟧", "[U+27E7]") == printed


@real
def test_a_receipt_is_for_those_who_may_see_it(lukasz: User) -> None:
    done = offboardings.offboard(lukasz, plan=Plan(), by="command:test")
    security = sign_in("security")
    for name in ("offboarding", "offboarding_json", "offboarding_pdf"):
        assert security.get(reverse(name, args=[done.pk])).status_code == 403


@real
def test_the_list_asks_few_questions(lukasz: User, django_assert_max_num_queries: Callable[[int], Any]) -> None:
    for number in range(60):
        person = User.objects.create_user(f"p{number}@example.com")
        offboardings.offboard(person, plan=Plan(), by="command:test")
    client = sign_in("it-admin")
    client.get(reverse("offboardings"))
    with django_assert_max_num_queries(12):
        page = client.get(reverse("offboardings")).content.decode()
    older = html.unescape(re.findall(r'href="(\?before=[^"]*)"', page)[0])
    assert client.get(f"{reverse('offboardings')}{older}").content.decode().count("Enforced everywhere") == 10


def test_the_headline_counts_what_was_cut() -> None:
    seen = Enforcement(
        epoch=9,
        gateways=(Gateway("a", "x:1", 40), Gateway("b", "x:2", 84)),
        calls=(CutCall("1", "a", "t", "failed"), CutCall("2", "a", "t", "unknown"), CutCall("3", "a", "t", "ok")),
    )
    assert headline(Offboarding(state="enforced", enforcement=seen.as_json())) == (
        "Enforced in 2 of 2 gateways, 84 ms, 2 calls cut"
    )
    assert Enforcement.from_json(seen.as_json()) == seen
    assert cut_count(Enforcement(calls=(CutCall("1", "a", "t"),))) == "0 calls cut, 1 still running"
    assert consequence([]) == "Ends her sign-in. This cannot be undone: what is ended stays ended."


@pytest.mark.usefixtures("fresh_database")
async def test_progress_is_pushed_until_it_is_done() -> None:
    begun, gateway, person = await database_sync_to_async(_under_way)()
    socket = _socket(begun.pk, person)
    assert (await socket.receive_output(5))["type"] == "websocket.accept"
    first = json.loads((await socket.receive_output(5))["text"])
    assert (first["state"], first["gateways"]) == ("enforcing", [{"name": "gate:7", "milliseconds": None}])
    await database_sync_to_async(GatewayProcess.objects.filter(pk=gateway.pk).update)(applied_epoch=10**6)
    last = json.loads((await socket.receive_output(5))["text"])
    assert last["done"]
    assert last["headline"].startswith("Enforced in 1 of 1 gateway, ")
    assert (await socket.receive_output(5))["code"] == 1000
    await _closed(socket)


@pytest.mark.usefixtures("fresh_database")
async def test_progress_is_for_those_who_may_see_it() -> None:
    begun, _, _ = await database_sync_to_async(_under_way)()
    stranger = await database_sync_to_async(User.objects.create_user)("mallory@example.com", is_staff=True)
    socket = _socket(begun.pk, stranger)
    assert (await socket.receive_output(5)) == {"type": "websocket.close", "code": 4403}
    await _closed(socket)


def _under_way() -> tuple[Offboarding, GatewayProcess, User]:
    now = datetime.now(UTC)
    owner = User.objects.create_superuser("owner@example.com")
    gateway = GatewayProcess.objects.create(host="gate", pid=7, started_at=now, beat_at=now, applied_epoch=0)
    person = User.objects.create_user("leaver@example.com")
    return offboardings.begin_offboarding(person, plan=Plan(), by="command:test"), gateway, owner


def _socket(offboarding_id: object, person: User) -> ApplicationCommunicator:
    path = f"/ws/offboardings/{offboarding_id}/"
    scope = {"type": "websocket", "path": path, "user": person, "query_string": b"", "headers": [], "subprotocols": []}
    socket = ApplicationCommunicator(URLRouter(websocket_urlpatterns), scope)
    socket.input_queue.put_nowait({"type": "websocket.connect"})
    return socket


async def _closed(socket: ApplicationCommunicator) -> None:
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(5)
    await database_sync_to_async(_hang_up)()


def _hang_up() -> None:
    """Of the thread that runs it."""
    connection.close()


@pytest.mark.parametrize(("calls", "told"), [(1, ["1 answer withheld"]), (3, ["3 answers withheld"])])
def test_what_became_of_calls_is_told_in_the_right_number(calls: int, told: list[str]) -> None:
    cut = tuple(CutCall(str(number), "triage-bot", "ticket_get", "withheld") for number in range(calls))
    assert fates(Enforcement(calls=cut)) == told
