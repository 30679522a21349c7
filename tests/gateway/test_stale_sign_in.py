"""A sign-in that grew old while somebody typed: nothing is saved, and nothing that she typed is lost."""

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway.one_time_links import one_time_login_url
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    Connector,
    Offboarding,
    PersonalToken,
    Policy,
    Secret,
    SecretVersion,
    Tool,
    User,
)
from tests.gateway.signing_in import PASSWORD, enter, is_asked_again, let_time_pass, person

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

TOO_LONG = 16 * 60
TYPED = "Typed for a long while"
Stale = Callable[..., Client]


@pytest.fixture
def stale() -> Stale:
    """A browser that checks tokens of forms as browsers have them, of somebody who signed in too long ago."""

    def stale(*duties: str, owner: bool = False) -> Client:
        person("sam@example.com", is_staff=True, is_superuser=owner, duties=list(duties))
        client = Client()
        assert enter(client, "sam@example.com").status_code == 302
        let_time_pass(client, TOO_LONG)
        return client

    return stale


@pytest.fixture
def bot() -> Agent:
    return Agent.objects.create(name="triage-bot", owner=User.objects.create_user("ana@example.com"))


def way_to_sign_in_again(answer: Any) -> str:
    """The link of the notice, as the browser opens it."""
    link = re.search(r'<a [^>]*href="([^"]+)" target="_blank">Sign in again in a new tab</a>', answer.content.decode())
    assert link, "no way to sign in again"
    return html.unescape(link[1])


def is_kept(answer: Any, typed: str = TYPED) -> bool:
    """Whether it is the page that says so, with what was typed."""
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "Your sign-in is older than 15 minutes" in page
    assert way_to_sign_in_again(answer).startswith("/account/again/")
    return typed in html.unescape(page)


def versions() -> dict[str, str]:
    return {f"versions-{count}_FORMS": "0" for count in ("TOTAL", "INITIAL")}


def rule(**fields: str) -> dict[str, str]:
    typed = {"effect": "deny", "tools": "ticket_*", "on": "arguments", "approver_count": "1", **fields}
    return {"rules-TOTAL_FORMS": "1", "rules-INITIAL_FORMS": "0"} | {f"rules-0-{name}": typed[name] for name in typed}


def evidence() -> int:
    return EventRow.objects.count()


def test_a_new_bundle_stays_on_the_page_as_typed(stale: Stale) -> None:
    tool = Tool.objects.create(connector=Connector.objects.create(name="helpdesk"), name="ticket_get")
    policy, client = Policy.objects.create(name="care"), stale("security")
    before = evidence()

    form = {"name": "support", "title": TYPED, "is_published": "on", "tools": [str(tool.pk)], "recording": "metadata"}
    answer = client.post(reverse("admin:governance_bundle_add"), {**form, "policies": [str(policy.pk)], **versions()})

    assert is_kept(answer)
    page = answer.content.decode()
    assert re.search(rf'value="{tool.pk}" checked', page)
    assert re.search(rf'<option value="{policy.pk}" selected', page)
    assert re.search(r'<option value="metadata" selected', page)
    assert (Bundle.objects.count(), evidence()) == (0, before)


def test_signing_in_again_beside_it_lets_the_same_form_be_saved() -> None:
    person("sam@example.com", is_staff=True, duties=["security"])
    client = Client(enforce_csrf_checks=True)
    token = client.get("/account/login/").cookies["csrftoken"].value
    client.post("/account/login/", {"login": "sam@example.com", "password": PASSWORD, "csrfmiddlewaretoken": token})
    let_time_pass(client, TOO_LONG)
    address = reverse("admin:governance_policy_add")
    form = {"name": "care", "title": TYPED, "is_in_force": "on", **rule(reason="Because"), **versions()}

    answer = client.post(address, {**form, "csrfmiddlewaretoken": client.cookies["csrftoken"].value})
    assert is_kept(answer)
    assert is_kept(answer, "Because")
    on_the_page = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.content.decode())[-1]
    way = way_to_sign_in_again(answer)
    asked = client.get(way).content.decode()
    other_tab = dict(re.findall(r'name="(csrfmiddlewaretoken|next)" value="([^"]+)"', asked))
    proven = client.post("/account/again/", {"password": PASSWORD, **other_tab})

    assert "You have signed in again. Close this tab" in client.get(proven["Location"]).content.decode()
    assert client.post(address, {**form, "csrfmiddlewaretoken": on_the_page}).status_code == 302
    assert Policy.objects.get().title == TYPED


def test_a_new_one_time_link_in_another_tab_lets_the_same_form_be_saved() -> None:
    sam, client = User.objects.create_user("sam@example.com", is_staff=True, duties=["security"]), Client(True)
    come_by_link(client, sam)
    let_time_pass(client, TOO_LONG)
    address = reverse("admin:governance_policy_add")
    form = {"name": "care", "title": TYPED, "is_in_force": "on", **rule(reason="Because"), **versions()}
    answer = client.post(address, {**form, "csrfmiddlewaretoken": client.cookies["csrftoken"].value})
    assert way_to_sign_in_again(answer) == reverse("account_link_too_old")

    come_by_link(client, sam)

    form["csrfmiddlewaretoken"] = tokens_on(answer)[-1]
    assert client.post(address, form).status_code == 302
    assert Policy.objects.get().title == TYPED


def test_a_one_time_link_of_somebody_else_leaves_no_token_good() -> None:
    sam, lee = (User.objects.create_user(f"{name}@example.com") for name in ("sam", "lee"))
    client = Client(True)
    come_by_link(client, sam)
    before = client.cookies["csrftoken"].value
    come_by_link(client, lee)
    assert client.cookies["csrftoken"].value != before
    assert client.post("/account/logout/", {"csrfmiddlewaretoken": before}).status_code == 403


def come_by_link(client: Client, person: User) -> None:
    person.refresh_from_db()
    page = one_time_login_url(person).removeprefix("http://127.0.0.1:8000")
    assert client.post(page, {"csrfmiddlewaretoken": tokens_on(client.get(page))[-1]}).status_code == 302


def tokens_on(answer: Any) -> list[str]:
    return re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.content.decode())


def test_a_person_stays_on_an_owners_page_as_typed(stale: Stale) -> None:
    ana = User.objects.create_user("ana@example.com", name="Ana")

    form = {"email": "ana@example.com", "name": TYPED, "is_superuser": "on", "duties": ["auditor"]}
    answer = stale(owner=True).post(reverse("admin:governance_user_change", args=[ana.pk]), form)

    assert is_kept(answer)
    assert re.search(r'value="auditor"[^>]*checked', answer.content.decode())
    ana.refresh_from_db()
    assert (ana.name, ana.is_superuser) == ("Ana", False)


def test_the_form_asks_when_it_is_opened_by_who_may_save_it(stale: Stale) -> None:
    bundle = Bundle.objects.create(name="support")
    page = reverse("admin:governance_bundle_change", args=[bundle.pk])
    client = stale("security")
    assert is_asked_again(client.get(page))
    assert is_asked_again(client.get(reverse("admin:governance_policy_add")))
    User.objects.update(duties=["auditor"])
    assert client.get(page).status_code == 200


def test_a_preview_saves_nothing_and_so_asks_nothing(stale: Stale) -> None:
    form = {"name": "support", "title": TYPED, "is_published": "on", "recording": "full", "_preview": "1", **versions()}
    answer = stale("security").post(reverse("admin:governance_bundle_add"), form)
    assert (answer.status_code, Bundle.objects.count()) == (200, 0)


def test_the_choice_of_a_key_stays(stale: Stale, bot: Agent) -> None:
    answer = stale("it-admin").post(reverse("agent_issue_key", args=[bot.pk]), {"expiry": "365"})
    assert is_kept(answer, '<option value="365" selected>')
    assert not AgentCredential.objects.exists()


def test_agents_chosen_for_retiring_stay_chosen(stale: Stale, bot: Agent) -> None:
    form = {"action": "retire", "_selected_action": [str(bot.pk)], "confirmed": "yes"}
    answer = stale("it-admin").post(reverse("admin:governance_agent_changelist"), form)
    assert is_kept(answer, f'name="_selected_action" value="{bot.pk}"')
    bot.refresh_from_db()
    assert bot.status == Agent.Status.LIVE


def test_the_plan_of_an_offboarding_stays(stale: Stale, bot: Agent) -> None:
    form = {"all": "pass", "all_to": "lee@example.com", "at": "2031-02-03T04:05", "confirmed": "yes"}
    answer = stale("it-admin").post(reverse("offboard_person", args=[bot.owner_id]), form)
    assert is_kept(answer, 'value="lee@example.com"')
    assert is_kept(answer, 'value="2031-02-03T04:05"')
    assert not Offboarding.objects.exists()


def test_what_to_publish_of_a_connector_stays_with_what_it_would_do(stale: Stale) -> None:
    connector = Connector.objects.create(name="helpdesk")
    Tool.objects.create(connector=connector, name="ticket_get")
    form = {"tools": ["ticket_get"], "bundle_name": "typed-name", "receiver": "nobody", "confirmed": "yes"}
    answer = stale("security").post(reverse("connector_publish", args=[connector.pk]), form)
    assert is_kept(answer, 'value="typed-name"')
    assert "What will happen" in answer.content.decode()
    assert not Bundle.objects.exists()


def test_the_wish_for_a_token_stays(stale: Stale) -> None:
    wish = {"name": TYPED, "scopes": ["read"], "days": "365"}
    answer = stale().post(reverse("personal_tokens"), wish)
    assert is_kept(answer)
    assert is_kept(answer, '<option value="365" selected>')
    assert not PersonalToken.objects.exists()


def test_the_value_of_a_secret_is_never_given_back(stale: Stale) -> None:
    secret = Secret.objects.create(name="helpdesk-token", kind=Secret.Kind.BEARER)
    answer = stale("it-admin").post(reverse("secret_replace", args=[secret.pk]), {"value": "opensesame-opensesame"})
    assert not is_kept(answer, "opensesame-opensesame")
    assert is_kept(answer, "neither sent nor kept: enter it again")
    assert "opensesame" not in str([row.get_decoded() for row in Session.objects.all()])
    assert not SecretVersion.objects.exists()
