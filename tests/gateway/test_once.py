"""A key or token is made once for each form that asked for it, however often the answer is loaded again."""

import re
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from gateway.console.once import ShownAlready, make_once
from governance.agent_keys import NotIssuable
from governance.bundles import publish_bundle
from governance.models import Agent, AgentCredential, Bundle, BundleTool, Connector, PersonalToken, Role, User
from tests.gateway.signing_in import sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def it() -> Client:
    return sign_in("it-admin")


@pytest.fixture
def bot() -> Agent:
    return Agent.objects.create(name="triage-bot", owner=User.objects.create_user("ana@example.com"))


def ticket_on(page: Any) -> str:
    found = re.search(r'name="once" value="([^"]+)"', page.content.decode())
    assert found, "the form has no ticket"
    return found[1]


def sent_twice(client: Client, address: str, form: dict[str, Any]) -> tuple[Any, str]:
    """The answer to the form, and the page that comes when it is loaded again."""
    form = {**form, "once": ticket_on(client.get(address))}
    first = client.post(address, form)
    assert first.status_code == 200
    return first, client.post(address, form, follow=True).content.decode()


def test_loading_a_new_key_again_makes_no_other(it: Client, bot: Agent) -> None:
    first, again = sent_twice(it, reverse("agent_issue_key", args=[bot.pk]), {"expiry": "90"})
    key = AgentCredential.objects.get()
    assert f"id is {key.pk}" in again
    assert first.context["issued"].key not in again


def test_another_form_makes_another_key(it: Client, bot: Agent) -> None:
    address = reverse("agent_issue_key", args=[bot.pk])
    for _ in range(2):
        it.post(address, {"expiry": "90", "once": ticket_on(it.get(address))})
    assert bot.credentials.count() == 2


def test_a_form_that_was_refused_keeps_its_ticket(it: Client, bot: Agent) -> None:
    address = reverse("agent_issue_key", args=[bot.pk])
    refused = it.post(address, {"expiry": "soon", "once": ticket_on(it.get(address))})
    assert refused.status_code == 400
    assert it.post(address, {"expiry": "90", "once": ticket_on(refused)}).status_code == 200


def test_without_a_ticket_no_key_is_made(it: Client, bot: Agent) -> None:
    assert it.post(reverse("agent_issue_key", args=[bot.pk]), {"expiry": "90"}).status_code == 400
    assert not AgentCredential.objects.exists()


def test_the_key_at_the_end_of_the_wizard_is_made_once(it: Client, bot: Agent) -> None:
    connector, bundle = Connector.objects.create(name="helpdesk"), Bundle.objects.create(name="support")
    tools = [BundleTool(connector=connector, allow=["*"], deny=[])]
    rest: Any = {"names": "", "recording": "full", "by": "test", "record": [].append}
    publish_bundle(bundle, tools=tools, parents=[], policies=[], **rest)
    role = Role.objects.create(name="support-agent")
    role.bundles.add(bundle)
    role.agents.add(bot)
    _, again = sent_twice(it, reverse("connector_done", args=[connector.pk]), {})
    assert f"id is {AgentCredential.objects.get().pk}" in again
    it.post(reverse("connector_done", args=[connector.pk]))
    assert AgentCredential.objects.count() == 1


def test_loading_a_new_token_again_makes_no_other(it: Client) -> None:
    wish = {"name": "nightly export", "scopes": ["read"], "days": "30"}
    first, again = sent_twice(it, reverse("personal_tokens"), wish)
    assert f"id is {PersonalToken.objects.get().pk}" in again
    assert first.context["issued"].token not in again


def test_two_at_once_make_one() -> None:
    """The second comes while the first is still at work."""

    def work() -> str:
        with pytest.raises(ShownAlready, match="a moment ago"):
            make_once(lambda: "second", ticket="t", by="person:ana@example.com", told=str)
        return "first"

    cache.clear()
    assert make_once(work, ticket="t", by="person:ana@example.com", told=str) == "first"
    assert make_once(lambda: "hers", ticket="t", by="person:lee@example.com", told=str) == "hers"


def test_what_failed_may_be_tried_again() -> None:
    def fails() -> str:
        raise NotIssuable("no")

    cache.clear()
    with pytest.raises(NotIssuable):
        make_once(fails, ticket="t", by="person:ana@example.com", told=str)
    assert make_once(lambda: "made", ticket="t", by="person:ana@example.com", told=str) == "made"
