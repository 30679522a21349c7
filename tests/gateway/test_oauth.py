"""The authorization server through its endpoints: what is let in, what is turned away, and how it ends."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from governance import agent_keys, oauth_clients
from governance.models import (
    AccessToken,
    Agent,
    AgentCredential,
    Authorization,
    AuthorizationCode,
    OAuthClient,
    RefreshToken,
    TokenRevocation,
    User,
)
from governance.oauth_resources import resource_of
from tests.gateway.letting_in import (
    FACTS,
    SUPPORT,
    UNION,
    USED,
    Flow,
    World,
    is_live,
    post,
    refresh,
    sent_back,
    stands,
)
from tests.gateway.signing_in import TOO_LONG, is_asked_again, let_time_pass

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    cache.clear()


@pytest.fixture
def world(db: None) -> World:
    return World()


# -- discovery


@pytest.mark.parametrize("path", ["", "/mcp", "/mcp/support"])
def test_the_metadata_names_the_public_address_whatever_the_host_says(world: World, path: str) -> None:
    told = Client().get(f"/.well-known/oauth-authorization-server{path}", headers={"host": "localhost"}).json()
    assert told["issuer"] == settings.PUBLIC_URL
    assert told["token_endpoint"] == f"{settings.PUBLIC_URL}/oauth/token"
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["response_types_supported"] == ["code"]
    assert told["authorization_response_iss_parameter_supported"] is True
    assert not {"password", "implicit"} & set(told["grant_types_supported"])


# -- a person lets a client in


def test_a_client_that_nobody_has_looked_at_is_said_to_wait(world: World) -> None:
    OAuthClient.objects.filter(pk=world.editor.pk).update(status="pending")
    flow = Flow(world)
    for page in (flow.look(), world.browser.post(flow.address, {"answer": "allow"})):
        assert page.status_code == 400
        assert b"Editor waits for IT" in page.content
    assert not Authorization.objects.exists()


def test_a_client_is_let_in_as_an_agent_of_hers_with_what_she_holds(world: World) -> None:
    flow = Flow(world)
    page = flow.look()
    assert page.status_code == 200
    assert b"Editor" in page.content
    assert "form-action 'self' http://127.0.0.1:43210;" in page["Content-Security-Policy"]
    answer = flow.answer()
    assert (answer["state"], answer["iss"]) == ("xyz", settings.PUBLIC_URL)
    tokens = flow.redeem(answer["code"]).json()
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 600, "bundle:support")
    row = AccessToken.objects.get()
    assert (row.person, row.agent.owner, row.resource) == (world.ana, world.ana, SUPPORT)
    assert row.agent.takes_owner_roles
    assert stands(tokens["access_token"])
    assert tokens["access_token"].startswith("gate_at_")
    kept = [
        bytes(row.digest) for model in (AccessToken, RefreshToken, AuthorizationCode) for row in model.objects.all()
    ]
    assert all(len(digest) == 32 for digest in kept)


def test_the_same_client_is_the_same_agent_but_each_consent_is_a_family_of_its_own(world: World) -> None:
    first, second = Flow(world).tokens(), Flow(world).tokens()
    assert Agent.objects.filter(takes_owner_roles=True).count() == 1
    post("revoke", client_id=world.editor.client_id, token=first["refresh_token"])
    assert not stands(first["access_token"])
    assert stands(second["access_token"])


def test_at_the_union_endpoint_she_gives_what_she_left_ticked(world: World) -> None:
    flow = Flow(world, resource=UNION)
    page = flow.look().content.decode()
    assert "Billing" in page
    assert "Secret-Plans" not in page
    code = flow.code(oauth_scope=["bundle:billing", "bundle:secret-plans"])
    assert flow.redeem(code, resource=UNION).json()["scope"] == "bundle:billing"


def test_who_holds_nothing_there_hears_the_same_whether_it_exists(world: World) -> None:
    told = [Flow(world, resource=resource_of(name, origin=settings.PUBLIC_URL)) for name in ("secret-plans", "nowhere")]
    answers = [flow.answer() for flow in told]
    assert answers[0] == answers[1]
    assert answers[0]["error"] == "access_denied"


def test_a_no_goes_back_as_a_no(world: World) -> None:
    assert Flow(world).answer("deny")["error"] == "access_denied"
    assert not Authorization.objects.exists()


def test_nothing_is_shown_to_strangers_or_after_an_old_sign_in(world: World) -> None:
    assert Client().get(Flow(world).address)["Location"].startswith("/account/login/")
    let_time_pass(world.browser, TOO_LONG)
    assert is_asked_again(Flow(world).look())


NEVER_SENT_BACK = {
    "unknown client": {"client_id": "nobody"},
    "other host": {"redirect_uri": "https://evil.example/cb"},
    "other path": {"redirect_uri": "http://127.0.0.1:1/other"},
    "userinfo": {"redirect_uri": "https://editor.example@evil.example/cb"},
    "fragment": {"redirect_uri": f"{USED}#x"},
    "query added": {"redirect_uri": f"{USED}?x=1"},
    "subdomain": {"redirect_uri": "https://editor.example.evil.example/cb"},
    "other port of a host": {"redirect_uri": "https://editor.example:444/cb"},
    "script": {"redirect_uri": "javascript:alert(1)"},
    "localhost for 127.0.0.1": {"redirect_uri": "http://localhost:43210/callback"},
}


@pytest.mark.parametrize("why", NEVER_SENT_BACK)
def test_who_cannot_be_trusted_is_answered_here_and_nowhere_else(world: World, why: str) -> None:
    for response in (Flow(world, **NEVER_SENT_BACK[why]).look(),):
        assert response.status_code == 400
        assert "Location" not in response


SENT_BACK = {
    "no resource": ({"resource": None}, "invalid_target"),
    "foreign resource": ({"resource": "https://elsewhere.example/mcp"}, "invalid_target"),
    "malformed resource": ({"resource": "http://[::1/mcp"}, "invalid_target"),
    "two resources": ({"resource": [SUPPORT, UNION]}, "invalid_target"),
    "resource with a fragment": ({"resource": f"{SUPPORT}#x"}, "invalid_target"),
    "no challenge": ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    "plain": ({"code_challenge_method": "plain"}, "invalid_request"),
    "plain by silence": ({"code_challenge_method": None}, "invalid_request"),
    "short challenge": ({"code_challenge": "short"}, "invalid_request"),
    "implicit": ({"response_type": "token"}, "unsupported_response_type"),
    "strange scope": ({"scope": "admin"}, "invalid_scope"),
    "scope of another endpoint": ({"scope": "bundle:billing"}, "invalid_scope"),
}


@pytest.mark.parametrize("why", SENT_BACK)
def test_what_is_wrong_with_the_rest_is_sent_back_with_state_and_issuer(world: World, why: str) -> None:
    changed, error = SENT_BACK[why]
    told = sent_back(Flow(world, **changed).look())
    assert (told["error"], told["state"], told["iss"]) == (error, "xyz", settings.PUBLIC_URL)


def test_a_client_that_is_not_approved_is_nobody(world: World) -> None:
    OAuthClient.objects.filter(id=world.editor.id).update(status="disabled")
    assert Flow(world).look().status_code == 400


# -- codes


WRONG_REDEMPTIONS: dict[str, dict[str, Any]] = {
    "no verifier": {"code_verifier": None},
    "wrong verifier": {"code_verifier": "x" * 43},
    "other redirect": {"redirect_uri": "https://editor.example/cb"},
    "other client": {"client_id": "other"},
    "other resource": {"resource": UNION},
    "malformed resource": {"resource": "http://[::1"},
}


@pytest.mark.parametrize("why", WRONG_REDEMPTIONS)
def test_a_code_is_good_only_for_whom_it_was_made(world: World, why: str) -> None:
    world.client_for_people("Other", client_id="other")
    flow = Flow(world)
    answered = flow.redeem(flow.code(), **WRONG_REDEMPTIONS[why])
    assert 400 <= answered.status_code < 500
    assert not AccessToken.objects.exists()


def test_a_code_ends_after_a_minute(world: World) -> None:
    flow = Flow(world)
    code = flow.code()
    AuthorizationCode.objects.update(expires_at=timezone.now())
    assert flow.redeem(code).json()["error"] == "invalid_grant"


def test_a_code_shown_twice_ends_the_family(world: World) -> None:
    flow = Flow(world)
    code = flow.code()
    first = flow.redeem(code).json()
    assert flow.redeem(code).json()["error"] == "invalid_grant"
    assert not stands(first["access_token"])
    assert refresh(world, first["refresh_token"]).json()["error"] == "invalid_grant"


# -- refreshing


def test_a_refresh_token_is_used_once_and_its_reuse_ends_the_family(world: World) -> None:
    first = Flow(world).tokens()
    second = refresh(world, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert stands(second["access_token"])
    assert refresh(world, first["refresh_token"]).json()["error"] == "invalid_grant"
    assert not stands(second["access_token"])
    assert refresh(world, second["refresh_token"]).json()["error"] == "invalid_grant"


def test_another_client_cannot_refresh(world: World) -> None:
    world.client_for_people("Other", client_id="other")
    tokens = Flow(world).tokens()
    assert refresh(world, tokens["refresh_token"], client_id="other").json()["error"] == "invalid_grant"
    assert stands(tokens["access_token"])


def leaves(world: World) -> None:
    User.objects.filter(id=world.ana.id).update(is_active=False)


def stops_the_agent(world: World) -> None:
    Agent.objects.filter(takes_owner_roles=True).update(status="suspended")


def disables_the_client(world: World) -> None:
    oauth_clients.disable(world.editor, by="test", record=FACTS.append, now=datetime.now(UTC))


def lets_it_end(world: World) -> None:
    Authorization.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("ends", [leaves, stops_the_agent, disables_the_client, lets_it_end])
def test_no_token_after_what_it_rests_on_ended(world: World, ends: Any) -> None:
    flow = Flow(world)
    tokens, code = flow.tokens(), flow.code()
    ends(world)
    assert refresh(world, tokens["refresh_token"]).status_code in (400, 401)
    assert flow.redeem(code).status_code in (400, 401)
    assert not is_live(tokens["access_token"])


# -- agents


def for_agent(world: World, secret: str, **changed: Any) -> Any:
    said = {"client_id": "triage-bot", "client_secret": secret, "resource": SUPPORT, **changed}
    return post("token", grant_type="client_credentials", **said)


def test_an_agent_buys_a_token_with_any_of_its_secrets(world: World) -> None:
    old, new = world.secret(), world.secret()
    for secret in (old, new):
        tokens = for_agent(world, secret).json()
        assert (tokens["scope"], "refresh_token" in tokens) == ("bundle:support", False)
        assert stands(tokens["access_token"])
    basic = base64.b64encode(f"triage-bot:{new}".encode()).decode()
    answered = for_agent(
        world, "", client_id=None, client_secret=None, headers={"authorization": f"Basic {basic}"}, resource=UNION
    )
    assert answered.json()["scope"] == "bundle:billing bundle:support"


def test_its_token_ends_with_the_secret_it_was_bought_with(world: World) -> None:
    secret = world.secret()
    tokens = for_agent(world, secret).json()
    credential = AgentCredential.objects.get()
    agent_keys.revoke_key(credential, by="test", record=FACTS.append, now=datetime.now(UTC))
    assert not stands(tokens["access_token"])
    assert for_agent(world, secret).status_code == 401


WRONG_BUYERS: dict[str, tuple[dict[str, Any], int, str]] = {
    "wrong secret": ({"client_secret": "gate_cs_wrong"}, 401, "invalid_client"),
    "no secret": ({"client_secret": None}, 401, "invalid_client"),
    "unknown agent": ({"client_id": "nobody"}, 401, "invalid_client"),
    "NUL": ({"client_id": "triage\x00bot"}, 401, "invalid_client"),
    "no resource": ({"resource": None}, 400, "invalid_target"),
    "foreign resource": ({"resource": "https://elsewhere.example/mcp/support"}, 400, "invalid_target"),
    "malformed resource": ({"resource": "http://[::1"}, 400, "invalid_target"),
    "not held": ({"resource": resource_of("secret-plans", origin=settings.PUBLIC_URL)}, 400, "invalid_scope"),
    "no such bundle": ({"resource": resource_of("nowhere", origin=settings.PUBLIC_URL)}, 400, "invalid_scope"),
    "strange scope": ({"scope": "*"}, 400, "invalid_scope"),
    "a password": ({"grant_type": "password", "username": "a", "password": "b"}, 400, "unsupported_grant_type"),
}


@pytest.mark.parametrize("why", WRONG_BUYERS)
def test_no_token_without_proof_or_target(world: World, why: str) -> None:
    changed, status, error = WRONG_BUYERS[why]
    said = {"grant_type": "client_credentials", "client_id": "triage-bot", "client_secret": world.secret()}
    answered = post("token", **{**said, "resource": SUPPORT, **changed})
    assert (answered.status_code, answered.json()["error"]) == (status, error)
    assert not AccessToken.objects.exists()


def test_two_ways_of_proof_at_once_prove_nothing(world: World) -> None:
    secret = world.secret()
    basic = base64.b64encode(f"triage-bot:{secret}".encode()).decode()
    assert for_agent(world, secret, headers={"authorization": f"Basic {basic}"}).status_code == 401


def test_guesses_are_slowed_down_by_address(world: World) -> None:
    answers = {for_agent(world, "gate_cs_guess").status_code for _ in range(70)}
    assert answers == {401, 429}


# -- ending and looking


def test_revocation_is_of_the_clients_own_tokens_only(world: World) -> None:
    world.client_for_people("Other", client_id="other")
    tokens = Flow(world).tokens()
    assert post("revoke", client_id="other", token=tokens["access_token"]).status_code == 200
    assert stands(tokens["access_token"])
    assert post("revoke", client_id=world.editor.client_id, token=tokens["access_token"]).status_code == 200
    assert not stands(tokens["access_token"])


def test_an_agents_token_is_revoked_alone(world: World) -> None:
    secret = world.secret()
    first, second = (for_agent(world, secret).json()["access_token"] for _ in range(2))
    assert post("revoke", client_id="triage-bot", client_secret=secret, token=first).status_code == 200
    assert TokenRevocation.objects.count() == 1
    assert (stands(first), stands(second)) == (False, True)


def test_introspection_is_for_clients_that_prove_themselves_of_their_own_tokens(world: World) -> None:
    secret = world.secret()
    own, foreign = for_agent(world, secret).json()["access_token"], Flow(world).tokens()["access_token"]
    proof = {"client_id": "triage-bot", "client_secret": secret}
    told = post("introspect", token=own, **proof).json()
    assert (told["active"], told["aud"], told["sub"]) == (True, SUPPORT, "triage-bot")
    assert post("introspect", token=foreign, **proof).json() == {"active": False}
    assert post("introspect", token=foreign, client_id=world.editor.client_id).status_code == 401
    Agent.objects.update(status="suspended")
    assert post("introspect", token=own, **proof).json() == {"active": False}


# -- devices


def test_a_device_waits_until_somebody_types_its_code(world: World) -> None:
    editor = {"client_id": world.editor.client_id}
    codes = post("device_authorization", resource=SUPPORT, **editor).json()
    poll = {
        "grant_type": oauth_clients.DEVICE,
        "client_id": world.editor.client_id,
        "device_code": codes["device_code"],
    }
    assert post("token", **poll).json()["error"] == "authorization_pending"
    assert post("token", **poll).json()["error"] == "slow_down"
    page = world.browser.post("/oauth/device", {"user_code": codes["user_code"].lower()})
    assert b"Editor" in page.content
    world.browser.post("/oauth/device", {"user_code": codes["user_code"], "answer": "allow"})
    assert stands(post("token", **poll).json()["access_token"])
    assert post("token", **poll).status_code == 400


def test_a_device_hears_a_no(world: World) -> None:
    editor = {"client_id": world.editor.client_id}
    codes = post("device_authorization", resource=SUPPORT, **editor).json()
    world.browser.post("/oauth/device", {"user_code": codes["user_code"], "answer": "deny"})
    poll = {
        "grant_type": oauth_clients.DEVICE,
        "client_id": world.editor.client_id,
        "device_code": codes["device_code"],
    }
    assert post("token", **poll).json()["error"] == "access_denied"
    assert not Authorization.objects.exists()


def test_user_codes_are_not_guessed(world: World) -> None:
    tried = [world.browser.post("/oauth/device", {"user_code": f"BBBB-BBB{letter}"}) for letter in "BCDFGHJKLMNP"]
    assert tried[-1].status_code == 429


def test_a_device_needs_a_resource(world: World) -> None:
    assert post("device_authorization", client_id=world.editor.client_id).json()["error"] == "invalid_target"
