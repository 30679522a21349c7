"""How agents prove themselves at /oauth: each statement once, wherever it is shown, and each proof is a use."""

from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import OperationalError
from django.test import Client

from gateway.oauth.client_assertions import ASSERTION_TYPE
from gateway.oauth.workloads import GRANT_TYPE, TOKEN_TYPES
from governance.agent_clients import client_of_agent
from governance.agent_keys import register_public_key, register_workload
from governance.models import AccessToken, AgentCredential, CredentialUse, TrustedIssuer
from governance.public_keys import read_public_key
from tests.gateway.letting_in import FACTS, SUPPORT, World, post, stands
from tests.gateway.statements import as_set, claims_of, new_key, signed

pytestmark = [pytest.mark.database, pytest.mark.django_db]
KEY = new_key("one")
PLATFORM = "https://token.actions.githubusercontent.com"
FROM = {"user-agent": "batch/1.0"}


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    cache.clear()


@pytest.fixture
def world(db: None) -> World:
    return World()


@pytest.fixture
def key(world: World) -> AgentCredential:
    client_of_agent(world.agent, by="test", record=FACTS.append)
    public = read_public_key(str(KEY.as_pem(private=False), "ascii"))
    return register_public_key(world.agent, public, by="test", record=FACTS.append, now=world.now, expires_at=None)


def statement() -> dict[str, str]:
    claims = claims_of("triage-bot", sub="triage-bot", aud=settings.PUBLIC_URL)
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed(claims, KEY, kid=None)}


def by_key(proof: dict[str, str], **said: Any) -> Any:
    return post("token", FROM, **{"grant_type": "client_credentials", "resource": SUPPORT, **proof, **said})


def test_a_statement_that_bought_a_token_buys_no_other(key: AgentCredential) -> None:
    proof = statement()
    assert stands(by_key(proof).json()["access_token"])
    again = by_key(proof)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    assert AccessToken.objects.count() == 1


@pytest.mark.parametrize("endpoint", ["revoke", "introspect"])
def test_a_statement_is_taken_once_at_the_other_endpoints_too(key: AgentCredential, endpoint: str) -> None:
    token = by_key(statement()).json()["access_token"]
    proof = statement()
    assert post(endpoint, token="gate_at_nothing", **proof).status_code == 200
    replayed = post(endpoint, token=token, **proof)
    assert (replayed.status_code, replayed.json()["error"]) == (401, "invalid_client")
    assert by_key(proof).status_code == 401
    assert stands(token)


def use_of(credential: AgentCredential) -> tuple[str, str] | None:
    return CredentialUse.objects.filter(credential=credential).values_list("last_used_from", "last_client").first()


def test_a_token_is_a_use_of_the_secret_that_bought_it(world: World) -> None:
    said = {"grant_type": "client_credentials", "client_id": "triage-bot", "resource": SUPPORT}
    spare, secret = world.secret(), world.secret()
    assert post("token", FROM, client_secret=secret, **said).status_code == 200
    used = AgentCredential.objects.get(access_tokens__isnull=False)
    assert use_of(used) == ("127.0.0.1", "batch/1.0")
    assert CredentialUse.objects.count() == 1, spare


def test_a_token_is_a_use_of_the_key_that_signed_for_it(key: AgentCredential) -> None:
    assert by_key(statement()).status_code == 200
    assert use_of(key) == ("127.0.0.1", "batch/1.0")


def test_who_proves_itself_and_gets_nothing_was_there_all_the_same(world: World, key: AgentCredential) -> None:
    assert by_key(statement(), scope="bundle:billing").json()["error"] == "invalid_scope"
    assert use_of(key) == ("127.0.0.1", "batch/1.0")


def test_who_proves_nothing_leaves_no_use(world: World) -> None:
    world.secret()
    said = {"grant_type": "client_credentials", "client_id": "triage-bot", "resource": SUPPORT}
    assert post("token", FROM, client_secret="gate_cs_wrong", **said).status_code == 401
    assert not CredentialUse.objects.exists()


def test_a_workloads_token_is_a_use_of_its_rule(world: World) -> None:
    TrustedIssuer.objects.create(name="github", kind="workload", issuer=PLATFORM, jwks=as_set(KEY))
    acts: dict[str, Any] = {"by": "test", "record": FACTS.append, "now": world.now, "expires_at": None}
    rule = register_workload(
        world.agent, issuer=PLATFORM, claims={"repository": "octo/app", "ref": "refs/heads/main"}, hint="app", **acts
    )
    said = {"sub": "repo:octo/app", "repository": "octo/app", "ref": "refs/heads/main", "aud": settings.PUBLIC_URL}
    asked = {"subject_token": signed(claims_of(PLATFORM, **said), KEY), "subject_token_type": TOKEN_TYPES[0]}
    answered = post("token", FROM, grant_type=GRANT_TYPE, resource=SUPPORT, **asked)
    assert answered.status_code == 200, answered.content
    assert use_of(rule) == ("127.0.0.1", "batch/1.0")


def test_without_the_database_nothing_is_issued_and_that_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = world.secret()

    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr("gateway.oauth.issuing.act", away)
    answered = post(
        "token", grant_type="client_credentials", client_id="triage-bot", client_secret=secret, resource=SUPPORT
    )
    assert (answered.status_code, answered.json()["error"]) == (503, "temporarily_unavailable")


def test_a_form_is_bounded(world: World) -> None:
    answered = Client().post("/oauth/token", "a=" + "x" * 70_000, content_type="application/x-www-form-urlencoded")
    assert answered.status_code == 413
