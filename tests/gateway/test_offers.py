"""Which prompts and resources a system offers: asked for on its page and by the API, shown beside patterns."""

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway import asked
from gateway.console.connecting import offers_page
from governance.models import Connector, User
from tests.connectors.servers import ScriptedServer, Turn
from tests.gateway.calling import Api, problem
from tests.gateway.connecting import TOKEN, a_known_connector, add, reachable, step, upstream, wants_token
from tests.gateway.signing_in import sign_in

__all__ = ("reachable", "upstream")

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql, pytest.mark.usefixtures("reachable")]

LISTS: dict[str, dict[str, Any]] = {
    "prompts/list": {"prompts": [{"name": "summarize", "title": "Sums\u202eup <b>all</b>"}, {"name": "greet"}]},
    "resources/list": {"resources": [{"uri": "file:///handbook/a.md", "name": "Handbook"}]},
    "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "file:///tickets/{id}", "name": "Ticket"}]},
}


def says(result: dict[str, Any]) -> Any:
    async def answer(turn: Turn) -> None:
        await turn.result({**result, "resultType": "complete"})

    return answer


@pytest.fixture(autouse=True)
def _offering(upstream: ScriptedServer) -> None:
    cache.clear()
    upstream.be_modern(capabilities={"tools": {}, "prompts": {}, "resources": {}})
    upstream.scripts |= {method: says(result) for method, result in LISTS.items()}


def page_after_asking(client: Client, connector: Connector) -> str:
    return client.post(reverse("connector_offers", args=[connector.pk]), follow=True).content.decode()


def told(client: Client, connector: Connector, kind: str, *globs: str) -> str:
    answer = client.get(reverse("matching_offers", args=[kind]), {"connector": str(connector.pk), "glob": globs})
    return str(answer.json()["told"])


def test_they_are_asked_for_and_shown_with_unseen_letters_seen(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    assert "Ask what it offers" in owner.get(step("overview", connector)).content.decode()
    page = page_after_asking(owner, connector)
    for shown in (
        "summarize",
        "Sums⟦U+202E⟧up &lt;b&gt;all&lt;/b&gt;",
        "file:///handbook/a.md",
        "file:///tickets/{id}",
    ):
        assert shown in page
    assert EventRow.objects.filter(kind="connector.offers_asked").count() == 1


def test_who_writes_patterns_sees_what_they_take_in(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    security = sign_in("security", email="sam@example.com")
    assert "is not known here" in told(security, connector, "prompt", "*")
    page_after_asking(owner, connector)
    assert told(security, connector, "prompt", "sum*") == "Takes in 1 known today: summarize"
    assert told(security, connector, "resource", "file:///handbook/*", "nothing") == (
        "Takes in 1 known today: file:///handbook/a.md"
    )
    assert told(security, connector, "resource", "file:///t*") == "Takes in 1 known today: file:///tickets/{id}"
    assert told(security, connector, "resource", "sum*") == "Takes in nothing that is known today."
    assert told(security, connector, "prompt", "") == ""
    assert "Ask again" not in security.get(step("overview", connector)).content.decode()


def test_a_list_that_is_not_answered_spoils_no_other(owner: Client, upstream: ScriptedServer) -> None:
    """Many servers declare resources and know nothing of templates."""

    async def unheard_of(turn: Turn) -> None:
        await turn.error(-32601, status="200 OK")

    upstream.scripts["resources/templates/list"] = unheard_of
    page = page_after_asking(owner, a_known_connector(owner, upstream))
    assert "did not answer resources/templates/list" in page
    assert "file:///handbook/a.md" in page


def test_what_repeats_our_secret_is_left_out(owner: Client, upstream: ScriptedServer) -> None:
    echo = [{"name": "greet"}, {"name": "echo", "description": f"Say {TOKEN}"}]
    upstream.scripts["prompts/list"] = says({"prompts": echo})
    wants_token(upstream)
    page = page_after_asking(owner, add(owner, upstream.url, use="new", value=TOKEN))
    assert "greet" in page
    assert "echo" not in page
    assert TOKEN not in page


def test_one_that_is_down_is_told_in_words_and_what_it_said_stays(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    page_after_asking(owner, connector)

    async def refuse(turn: Turn) -> None:
        await turn.respond(b"{}", status="503 Service Unavailable")

    upstream.scripts |= dict.fromkeys(LISTS, refuse)
    page = page_after_asking(owner, connector)
    assert "Something answers, but with an error." in page
    assert "summarize" in page


def test_it_takes_a_turn_as_trials_do(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    with asked.only_one(str(connector.pk)):
        assert "right now" in page_after_asking(owner, connector)
    assert upstream.sent("prompts/list") == []


def test_what_was_asked_of_another_address_is_not_kept(
    owner: Client, upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = a_known_connector(owner, upstream)

    def ask_and_move(row: Connector) -> asked.Asked:
        wanted = asked.asked(row)
        Connector.objects.update(urls=["https://elsewhere.example/mcp"])
        return wanted

    monkeypatch.setattr(offers_page, "asked", ask_and_move)
    assert "changed meanwhile" in page_after_asking(owner, connector)
    assert "summarize" not in owner.get(step("overview", connector)).content.decode()


@pytest.mark.parametrize("duties", [(), ("security",), ("auditor",)])
def test_who_may_not_test_may_not_ask(owner: Client, upstream: ScriptedServer, duties: tuple[str, ...]) -> None:
    connector = a_known_connector(owner, upstream)
    assert (
        sign_in(*duties, email="sam@example.com").post(reverse("connector_offers", args=[connector.pk])).status_code
        == 403
    )
    assert upstream.sent("prompts/list") == []


def test_by_the_api(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    api = Api(User.objects.get())
    prompts, resources, templates = api.post(f"connectors/{connector.pk}/offers", {}).json()["lists"]
    assert prompts["offers"][1] == {"name": "greet", "title": ""}
    assert resources["offers"] == [{"name": "file:///handbook/a.md", "title": "Handbook"}]
    assert (templates["kind"], templates["total"]) == ("resource", 1)
    Connector.objects.update(is_enabled=False)
    problem(api.post(f"connectors/{connector.pk}/offers", {}), 409, "conflict")
