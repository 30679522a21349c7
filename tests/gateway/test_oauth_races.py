"""What may be used once, used by several at once: one wins. What a code or refresh token won ends with the family."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from gateway.oauth.client_assertions import ASSERTION_TYPE
from governance import oauth_clients
from governance.agent_clients import client_of_agent
from governance.agent_keys import register_public_key
from governance.fence.actor import governed_change
from governance.models import AccessToken
from governance.public_keys import read_public_key
from tests.fresh_database import fresh_database
from tests.gateway.letting_in import FACTS, SUPPORT, Flow, World, post, refresh, stands
from tests.gateway.statements import claims_of, new_key, signed

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]


@pytest.fixture
def world(fresh_database: None) -> World:
    return World()


def test_of_all_who_redeem_a_code_at_once_one_wins_and_the_family_ends(world: World) -> None:
    flow = Flow(world)
    code = flow.code()
    answers = at_once(lambda: flow.redeem(code), times=4)
    assert sorted(answer.status_code for answer in answers)[:1] == [200]
    assert [answer.status_code for answer in answers].count(200) == 1
    won = next(answer for answer in answers if answer.status_code == 200).json()
    assert not stands(won["access_token"])


def at_once(work: Any, *, times: int) -> list[Any]:
    def one(_: int) -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


def test_of_all_who_refresh_at_once_one_wins_and_the_family_ends(world: World) -> None:
    tokens = Flow(world).tokens()
    answers = at_once(lambda: refresh(world, tokens["refresh_token"]), times=4)
    assert [answer.status_code for answer in answers].count(200) == 1
    assert not stands(tokens["access_token"])


def test_of_all_who_show_a_device_code_at_once_one_gets_tokens(world: World) -> None:
    client = {"client_id": world.editor.client_id}
    codes = post("device_authorization", resource=SUPPORT, **client).json()
    world.browser.post("/oauth/device", {"user_code": codes["user_code"], "answer": "allow"})
    poll = {"grant_type": oauth_clients.DEVICE, "device_code": codes["device_code"], **client}
    answers = at_once(lambda: post("token", **poll), times=4)
    assert [answer.status_code for answer in answers].count(200) == 1
    assert AccessToken.objects.count() == 1


def test_of_all_who_show_a_statement_at_once_one_gets_a_token(world: World) -> None:
    key = new_key()
    public = read_public_key(str(key.as_pem(private=False), "ascii"))
    with governed_change(by="test"):
        client_of_agent(world.agent, by="test", record=FACTS.append)
        register_public_key(world.agent, public, by="test", record=FACTS.append, now=world.now, expires_at=None)
    statement = signed(claims_of("triage-bot", sub="triage-bot", aud=settings.PUBLIC_URL), key, kid=None)
    said = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": statement, "resource": SUPPORT}
    answers = at_once(lambda: post("token", grant_type="client_credentials", **said), times=4)
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    assert AccessToken.objects.count() == 1
