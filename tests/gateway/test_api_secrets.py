"""A new value through the API: tried at every system first, as on its page, while nothing else waits for it."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import orjson
import pytest
from django.db import connection

from audit.models import EventRow
from governance.fence.actor import governed_change
from governance.models import Connector, Secret, SecretVersion, Team
from governance.vault import keyring, open_secret_version, put_secret_value
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.upstreams import in_background
from tests.fresh_database import fresh_database
from tests.gateway.calling import Api, it_admin, person, problem
from tests.gateway.connecting import TOKEN, wants_token

__all__ = ("fresh_database",)

pytestmark = pytest.mark.database
real = pytest.mark.django_db

OLD, WRONG = "sk-old-55aa66bb77cc", "sk-wrong-1234567890"
NOWHERE = "http://127.0.0.1:9/mcp"


@pytest.fixture(autouse=True)
def reachable(settings: Any) -> None:
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def upstream() -> Iterator[ScriptedServer]:
    """Takes only the right token."""
    with in_background(scripted_server()) as server:
        server.be_modern()
        wants_token(server)
        yield server


def a_secret(*urls: str) -> Secret:
    secret = Secret.objects.create(name="helpdesk-token")
    with governed_change(by="test"):
        put_secret_value(secret, value=OLD, by="test", record=[].append, now=datetime.now(UTC))
    for index, url in enumerate(urls):
        Connector.objects.create(name=f"helpdesk-{index}", urls=[url], secret=secret)
    return secret


def send(api: Api, secret: Secret, value: str = TOKEN, *, headers: dict[str, str] | None = None, **more: Any) -> Any:
    """With the destinations that the secret is shown to have."""
    places = api.get(f"secrets/{secret.pk}").json()["destinations"]
    body = {"value": value, "destinations": places, **more}
    return api.post(f"secrets/{secret.pk}/value", body, **(headers or {}))


def live_value() -> str:
    return open_secret_version(SecretVersion.objects.get(retired_at=None), keyring=keyring())


def replaced() -> dict[str, Any]:
    """What the evidence tells."""
    details: dict[str, Any] = orjson.loads(bytes(EventRow.objects.get(kind="secret.replaced").header))["details"]
    return details


@real
def test_a_value_the_system_accepts_is_switched_to(upstream: ScriptedServer) -> None:
    noor, secret = it_admin(), a_secret(upstream.url)

    answer = send(noor, secret)

    assert (answer.status_code, live_value()) == (200, TOKEN)
    told = replaced()
    assert (told["verified"], told["accepted_by"], told["token"]) == (True, ["helpdesk-0"], noor.row.hint)
    assert TOKEN not in answer.content.decode()


@real
def test_a_value_the_system_refuses_changes_nothing(upstream: ScriptedServer, caplog: Any) -> None:
    noor, secret = it_admin(), a_secret(upstream.url)

    answer = send(noor, secret, WRONG)

    told = problem(answer, 409, "value_refused")
    assert [(error["field"], error["code"]) for error in told["errors"]] == [
        ("destinations.helpdesk-0", "not_accepted")
    ]
    assert "refused us" in told["errors"][0]["message"]
    assert live_value() == OLD
    assert not EventRow.objects.filter(kind="secret.replaced").exists()
    assert not any(WRONG in text for text in (answer.content.decode(), caplog.text))


@real
def test_one_of_two_that_refuses_is_enough_to_stop_unless_it_is_meant(upstream: ScriptedServer) -> None:
    noor, secret = it_admin(), a_secret(upstream.url, NOWHERE)

    told = problem(send(noor, secret), 409, "value_refused")
    assert [(error["field"], error["code"]) for error in told["errors"]] == [
        ("destinations.helpdesk-0", "accepted"),
        ("destinations.helpdesk-1", "not_accepted"),
    ]
    assert live_value() == OLD

    assert send(noor, secret, even_if_refused=True).status_code == 200
    assert live_value() == TOKEN
    assert (replaced()["verified"], replaced()["accepted_by"]) == (False, ["helpdesk-0"])


@real
def test_the_value_goes_nowhere_that_was_not_named(upstream: ScriptedServer) -> None:
    noor, secret = it_admin(), a_secret(upstream.url)

    problem(noor.post(f"secrets/{secret.pk}/value", {"value": TOKEN}), 409, "conflict")
    problem(send(noor, secret, "two\nlines"), 422, "refused")

    assert upstream.requests == []


@real
def test_an_answer_that_got_lost_is_repeated_without_asking_again(upstream: ScriptedServer) -> None:
    noor, secret = it_admin(), a_secret(upstream.url)

    first = send(noor, secret, headers={"Idempotency_Key": "k"})
    asked = len(upstream.requests)
    again = send(noor, secret, headers={"Idempotency_Key": "k"})

    assert (first.status_code, again.status_code, again["Idempotency-Replayed"]) == (200, 200, "true")
    assert len(upstream.requests) == asked
    assert SecretVersion.objects.count() == 2


def test_nobody_waits_while_the_system_takes_its_time(fresh_database: None, upstream: ScriptedServer) -> None:
    """A governed change goes through in the middle of the trial."""
    with governed_change(by="test"):
        noor, secret = it_admin(), a_secret(upstream.url)
    scripts = dict(upstream.scripts)
    upstream.scripts["tools/list"] = _after(a_change, scripts["tools/list"])

    assert send(noor, secret).status_code == 200
    assert Team.objects.filter(name="made-meanwhile").exists()


def test_a_listener_put_in_while_the_value_is_tried_gets_nothing_stored(
    fresh_database: None, upstream: ScriptedServer
) -> None:
    with governed_change(by="test"):
        noor, secret = it_admin(), a_secret(upstream.url)
    scripts = dict(upstream.scripts)

    def mallory() -> None:
        Connector.objects.create(name="mallory", urls=["https://mallory.example/"], secret=secret)

    upstream.scripts["tools/list"] = _after(mallory, scripts["tools/list"])

    problem(send(noor, secret), 409, "conflict")
    assert live_value() == OLD


def test_who_lost_the_right_while_the_value_was_tried_stores_nothing(
    fresh_database: None, upstream: ScriptedServer
) -> None:
    with governed_change(by="test"):
        noor, secret = it_admin(), a_secret(upstream.url)
    scripts = dict(upstream.scripts)

    def demoted() -> None:
        noor.person.duties = []
        noor.person.save()

    upstream.scripts["tools/list"] = _after(demoted, scripts["tools/list"])

    assert send(noor, secret).status_code in (403, 409)
    assert live_value() == OLD


def a_change() -> None:
    Team.objects.create(name="made-meanwhile")


def _after(change: Any, script: Any) -> Any:
    """Answers once the change is committed."""

    def changed() -> None:
        with governed_change(by="test"):
            change()
        connection.close()

    async def answer(turn: Turn) -> None:
        thread = threading.Thread(target=changed)
        thread.start()
        await asyncio.to_thread(thread.join)
        await script(turn)

    return answer


@real
def test_versions_tell_when_and_never_what() -> None:
    secret = a_secret()
    noor = it_admin()
    assert send(noor, secret).status_code == 200

    told = noor.get(f"secrets/{secret.pk}/versions").json()["results"]

    assert [(row["number"], row["retired_at"] is None) for row in told] == [(2, True), (1, False)]
    assert all(row.keys() == {"id", "number", "created_at", "retired_at"} for row in told)
    problem(Api(person("sam@example.com", "security")).get(f"secrets/{secret.pk}/versions"), 403, "permission_denied")
