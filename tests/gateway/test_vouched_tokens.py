"""Tokens on another's word: a client's own key, an identity provider for a person, a platform for a workload."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import transaction

from gateway.jwks import KeysAway
from gateway.oauth import client_assertions, identity_assertions, workloads
from gateway.oauth.assertions import NotBelieved
from gateway.oauth.client_assertions import Proven
from gateway.oauth.identity_assertions import KIND, NotVouched
from gateway.oauth.spent import spend
from gateway.oauth.workloads import ACCESS_TOKEN_TYPE, TOKEN_TYPES, Exchange
from governance import oauth_clients
from governance.agent_clients import client_of_agent
from governance.agent_keys import NotIssuable, register_public_key, register_workload
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    AgentCredential,
    Authorization,
    Directory,
    DirectoryUser,
    Epoch,
    OAuthClient,
    StaffIdentity,
    TrustedIssuer,
    User,
)
from governance.oauth_tokens import Tokens, find_live
from governance.public_keys import read_public_key
from tests.gateway.statements import HERE, OURS, FakeIssuer, as_set, claims_of, new_key, serving, signed

pytestmark = [pytest.mark.django_db, pytest.mark.database]
ENDPOINT = f"{OURS}/mcp/support"
SCOPE = "bundle:support"
IDP = "https://idp.example.com"
GITHUB = "https://token.actions.githubusercontent.com"
KEY = new_key("one")


def now() -> datetime:
    return datetime.now(UTC)


def acting() -> dict[str, Any]:
    return {"by": "test", "record": [].append, "now": now()}


@pytest.fixture(autouse=True)
def ours(settings: Any) -> None:
    settings.PUBLIC_URL = OURS
    settings.UPSTREAM_ALLOWED_NETWORKS = [ip_network(HERE)]


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana@example.com", name="Ana Lima")


@pytest.fixture
def agent(ana: User) -> Agent:
    return Agent.objects.create(name="triage-bot", owner=ana)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises((NotBelieved, NotVouched)) as refused:
        act()
    return str(refused.value.code)  # type: ignore[attr-defined]


# A client's own key


@pytest.fixture
def credential(agent: Agent) -> AgentCredential:
    client_of_agent(agent, by="test", record=[].append)
    key = read_public_key(str(KEY.as_pem(private=False), "ascii"))
    return register_public_key(agent, key, **acting(), expires_at=None)


def assertion(key: Any = KEY, *, header: dict[str, Any] | None = None, **said: Any) -> str:
    claims = claims_of("triage-bot", **{"sub": "triage-bot", **said})
    return signed(claims, key, **{"kid": None, **(header or {})})


def proven(text: str, client_id: str = "") -> Proven:
    return client_assertions.prove(text, client_id=client_id, now=now())


@pytest.mark.parametrize("audience", [OURS, f"{OURS}/oauth/token"])
def test_a_client_proves_itself_by_its_key(credential: AgentCredential, audience: str) -> None:
    found = proven(assertion(aud=audience), "triage-bot")
    assert (found.credential, found.client.client_id) == (credential, "triage-bot")


def test_a_client_assertion_is_taken_once(credential: AgentCredential) -> None:
    text = assertion()
    spend(proven(text).statement)
    assert code_of(lambda: spend(proven(text).statement)) == "replayed"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"sub": "other-bot"}, "issuer"),
        ({"iss": "other-bot", "sub": "other-bot"}, "issuer"),
        ({"aud": f"{OURS}/mcp"}, "audience"),
        ({"aud": [OURS, "https://other.example.com"]}, "audience"),
        ({"seconds": 700}, "time"),
        ({"seconds": -5}, "time"),
        ({"jti": None}, "id"),
    ],
)
def test_a_client_assertion_that_says_something_else_is_refused(
    credential: AgentCredential, said: dict[str, Any], code: str
) -> None:
    assert code_of(lambda: proven(assertion(**said))) == code


def test_a_client_assertion_is_for_the_client_that_asks(credential: AgentCredential) -> None:
    assert code_of(lambda: proven(assertion(), "other-bot")) == "issuer"


def test_an_access_token_of_ours_is_no_client_assertion(credential: AgentCredential) -> None:
    assert code_of(lambda: proven(assertion(header={"typ": "at+jwt"}))) == "type"


@pytest.mark.parametrize("change", [{"revoked_at": now(), "revoked_by": "x"}, {"expires_at": now()}])
def test_a_key_that_ended_proves_nothing(credential: AgentCredential, change: dict[str, Any]) -> None:
    AgentCredential.objects.update(**change)
    assert code_of(lambda: proven(assertion())) == "signature"


def test_a_key_that_begins_later_proves_nothing_yet(credential: AgentCredential) -> None:
    AgentCredential.objects.update(not_before=now() + timedelta(hours=1))
    assert code_of(lambda: proven(assertion())) == "signature"


def test_another_agents_key_proves_nothing_here(credential: AgentCredential, ana: User) -> None:
    other, key = Agent.objects.create(name="other-bot", owner=ana), new_key("two")
    register_public_key(other, read_public_key(str(key.as_pem(private=False), "ascii")), **acting(), expires_at=None)
    assert code_of(lambda: proven(assertion(key))) == "signature"


def test_a_disabled_client_proves_nothing(credential: AgentCredential) -> None:
    OAuthClient.objects.update(status="disabled")
    assert code_of(lambda: proven(assertion())) == "issuer"


def test_of_two_live_keys_each_is_known_by_itself(credential: AgentCredential, agent: Agent) -> None:
    key = new_key("two")
    second = register_public_key(
        agent, read_public_key(str(key.as_pem(private=False), "ascii")), **acting(), expires_at=None
    )
    assert [proven(assertion(each)).credential for each in (KEY, key)] == [credential, second]
    assert proven(assertion(header={"kid": credential.thumbprint})).credential == credential


# An identity provider for a person


@pytest.fixture
def okta() -> TrustedIssuer:
    return TrustedIssuer.objects.create(
        name="okta", kind="directory", issuer=IDP, jwks=as_set(KEY), grants_access=True, longest_seconds=600
    )


@pytest.fixture
def client(ana: User, okta: TrustedIssuer) -> OAuthClient:
    StaffIdentity.objects.create(person=ana, protocol="oidc", issuer=IDP, subject="00u1", created_by="test")
    registered = oauth_clients.register(
        name="Chat", redirect_uris=["https://chat.example.com/cb"], has_secret=True, **acting()
    )
    return registered.client


def id_jag(client: OAuthClient, *, kind: str = KIND, key: Any = KEY, **said: Any) -> str:
    usual = {"sub": "00u1", "client_id": client.client_id, "resource": ENDPOINT, "scope": SCOPE}
    return signed(claims_of(IDP, **{**usual, **said}), key, typ=kind)


def exchanged(text: str, client: OAuthClient, *, scopes: Any = None, resource: str = "") -> Tokens:
    asked = identity_assertions.asked(text, client=client, oauth_scopes=scopes, resource=resource, now=now())
    with governed_change(by="test"):
        return identity_assertions.issue(asked, record=[].append, now=now())


def test_an_identity_provider_lets_a_persons_client_in_without_a_refresh_token(client: OAuthClient, ana: User) -> None:
    tokens = exchanged(id_jag(client), client)
    row = find_live(tokens.access, now=now())
    assert row is not None
    assert (row.person, row.resource, row.oauth_scopes, tokens.refresh) == (ana, ENDPOINT, [SCOPE], "")
    assert row.agent.owner == ana


def test_the_second_time_is_no_governed_change(client: OAuthClient) -> None:
    exchanged(id_jag(client), client)
    epoch = Epoch.objects.get().number
    exchanged(id_jag(client), client)
    assert (Epoch.objects.get().number, Authorization.objects.count()) == (epoch, 1)


def test_an_identity_assertion_is_taken_once(client: OAuthClient) -> None:
    text = id_jag(client)
    exchanged(text, client)
    with transaction.atomic():
        assert code_of(lambda: exchanged(text, client)) == "replayed"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"kind": "JWT"}, "type"),
        ({"client_id": "another"}, "client"),
        ({"client_id": None}, "claims"),
        ({"resource": None}, "claims"),
        ({"resource": "https://other.example.com/mcp"}, "invalid_target"),
        ({"resource": ["a"]}, "claims"),
        ({"aud": f"{OURS}/oauth/token"}, "audience"),
        ({"sub": "00u2"}, "invalid_grant"),
        ({"sub": "ana@example.com"}, "invalid_grant"),
        ({"scope": "bundle:other"}, "invalid_scope"),
        ({"scope": 7}, "claims"),
        ({"iat": None}, "time"),
        ({"seconds": 900}, "time"),
        ({"iss": "https://evil.example.com"}, "issuer"),
        ({"key": new_key("one")}, "signature"),
    ],
)
def test_an_identity_assertion_that_says_something_else_is_refused(
    client: OAuthClient, said: dict[str, Any], code: str
) -> None:
    assert code_of(lambda: exchanged(id_jag(client, **said), client)) == code
    assert not Authorization.objects.exists()


def test_the_request_may_ask_for_less_and_never_for_more(client: OAuthClient) -> None:
    whole = f"{OURS}/mcp"
    text = id_jag(client, resource=whole, scope="bundle:support bundle:crm")
    tokens = exchanged(text, client, scopes=["bundle:crm", "bundle:payroll"])
    assert tokens.row.oauth_scopes == ["bundle:crm"]
    text = id_jag(client, resource=whole, scope="bundle:support")
    assert code_of(lambda: exchanged(text, client, scopes=["bundle:payroll"])) == "invalid_scope"
    assert code_of(lambda: exchanged(id_jag(client), client, resource=whole)) == "invalid_target"


def test_who_left_gets_nothing_more(client: OAuthClient, ana: User) -> None:
    exchanged(id_jag(client), client)
    User.objects.filter(pk=ana.pk).update(is_active=False)
    assert code_of(lambda: exchanged(id_jag(client), client)) == "invalid_grant"


def test_an_ended_identity_means_nobody(client: OAuthClient) -> None:
    StaffIdentity.objects.update(ended_at=now(), ended_by="test")
    assert code_of(lambda: exchanged(id_jag(client), client)) == "invalid_grant"


@pytest.mark.parametrize("change", [{"is_enabled": False}, {"grants_access": False}])
def test_an_issuer_that_may_not_vouch_for_people_does_not(client: OAuthClient, change: dict[str, Any]) -> None:
    TrustedIssuer.objects.update(**change)
    assert code_of(lambda: exchanged(id_jag(client), client)) == "issuer"


def test_trust_that_ends_meanwhile_ends_it(client: OAuthClient) -> None:
    asked = identity_assertions.asked(id_jag(client), client=client, oauth_scopes=None, now=now())
    TrustedIssuer.objects.update(is_enabled=False)
    assert code_of(lambda: identity_assertions.issue(asked, record=[].append, now=now())) == "invalid_grant"


def test_a_public_client_cannot_show_one(client: OAuthClient) -> None:
    public = oauth_clients.register(name="App", redirect_uris=["http://127.0.0.1/cb"], **acting()).client
    assert code_of(lambda: exchanged(id_jag(public), public)) == "unauthorized_client"


def test_the_directory_that_goes_with_it_knows_her_too(okta: TrustedIssuer, ana: User) -> None:
    directory = Directory.objects.create(name="okta")
    times = {"created_at": now(), "changed_at": now()}
    DirectoryUser.objects.create(
        directory=directory, person=ana, user_name="ana", user_name_key="ana", external_id="00u9", **times
    )
    client = oauth_clients.register(name="Chat", redirect_uris=["https://c.example/cb"], has_secret=True, **acting())
    text = id_jag(client.client, sub="00u9")
    assert code_of(lambda: exchanged(text, client.client)) == "invalid_grant"
    TrustedIssuer.objects.update(directory=directory)
    assert exchanged(text, client.client).row.person == ana


def test_an_agents_own_client_acts_on_behalf_of_her(
    credential: AgentCredential, client: OAuthClient, agent: Agent, ana: User
) -> None:
    own = OAuthClient.objects.get(agent=agent)
    row = exchanged(id_jag(own), own).row
    assert (row.agent, row.person) == (agent, ana)


# A platform for a workload


@pytest.fixture
def github() -> TrustedIssuer:
    return TrustedIssuer.objects.create(name="github", kind="workload", issuer=GITHUB, jwks=as_set(KEY))


@pytest.fixture
def rule(agent: Agent, github: TrustedIssuer) -> AgentCredential:
    claims = {"repository": "octo/app", "ref": "refs/heads/*"}
    return register_workload(agent, issuer=GITHUB, claims=claims, hint="octo/app", **acting(), expires_at=None)


def job(**said: Any) -> str:
    usual = {"sub": "repo:octo/app:ref:refs/heads/main", "repository": "octo/app", "ref": "refs/heads/main"}
    return signed(claims_of(GITHUB, **{**usual, **said}), KEY)


def traded(text: str, **asked: Any) -> Tokens:
    usual = {"subject_token_type": TOKEN_TYPES[0], "resource": ENDPOINT, "requested_token_type": ACCESS_TOKEN_TYPE}
    found = workloads.recognised(text, Exchange(**{**usual, **asked}), now=now())
    with governed_change(by="test"):
        return workloads.issue(found, record=[].append, now=now())


def test_a_job_gets_a_short_token_for_its_agent(rule: AgentCredential, agent: Agent) -> None:
    tokens = traded(job())
    row = find_live(tokens.access, now=now())
    assert row is not None
    assert (row.agent, row.credential, row.resource, tokens.refresh) == (agent, rule, ENDPOINT, "")
    assert row.expires_at <= now() + timedelta(minutes=10)


def test_a_jobs_token_ends_with_its_rule(rule: AgentCredential) -> None:
    tokens = traded(job())
    AgentCredential.objects.update(revoked_at=now(), revoked_by="test")
    assert find_live(tokens.access, now=now()) is None
    assert code_of(lambda: traded(job())) == "invalid_grant"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"repository": "octo/app-of-mine"}, "invalid_grant"),
        ({"ref": "refs/tags/v1"}, "invalid_grant"),
        ({"ref": None}, "invalid_grant"),
        ({"aud": "https://other.example.com"}, "audience"),
        ({"iss": "https://evil.example.com"}, "issuer"),
        ({"seconds": 7200}, "time"),
        ({"jti": None}, "id"),
    ],
)
def test_another_job_gets_none(rule: AgentCredential, said: dict[str, Any], code: str) -> None:
    assert code_of(lambda: traded(job(**said))) == code


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"subject_token_type": ACCESS_TOKEN_TYPE}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"has_actor": True}, "invalid_request"),
        ({"resource": ""}, "invalid_target"),
        ({"resource": "https://other.example.com/mcp"}, "invalid_target"),
        ({"resource": "http://[::1"}, "invalid_target"),
        ({"resource": f"{OURS}/mcp"}, "invalid_scope"),
        ({"oauth_scopes": ("bundle:other",)}, "invalid_scope"),
        ({"client_id": "other-bot"}, "invalid_grant"),
    ],
)
def test_what_an_exchange_may_ask_for(rule: AgentCredential, asked: dict[str, Any], code: str) -> None:
    assert code_of(lambda: traded(job(), **asked)) == code


def test_a_job_that_is_several_agents_says_which(rule: AgentCredential, ana: User) -> None:
    other = Agent.objects.create(name="release-bot", owner=ana)
    claims = {"repository": "octo/app"}
    register_workload(other, issuer=GITHUB, claims=claims, hint="octo/app", **acting(), expires_at=None)
    assert code_of(lambda: traded(job())) == "invalid_request"
    assert traded(job(), client_id="release-bot").row.agent == other


def test_a_jobs_token_counts_once_and_a_pods_until_it_is_renewed(rule: AgentCredential) -> None:
    text = job()
    traded(text)
    assert code_of(lambda: traded(text)) == "replayed"
    TrustedIssuer.objects.update(is_single_use=False)
    assert traded(text).access != traded(text).access
    assert traded(job(jti=None)).access


@pytest.mark.parametrize(
    ("claims", "why"), [({"repository_owner": "octo"}, "everybody on GitHub"), ({"sub": "*"}, "anything")]
)
def test_a_rule_for_everybody_is_not_saved(agent: Agent, claims: dict[str, str], why: str) -> None:
    with pytest.raises(NotIssuable, match=why):
        register_workload(agent, issuer=GITHUB, claims=claims, hint="x", **acting(), expires_at=None)
    assert not AgentCredential.objects.exists()


def test_a_suspended_agent_gets_none(rule: AgentCredential, agent: Agent) -> None:
    Agent.objects.filter(pk=agent.pk).update(status="suspended")
    assert code_of(lambda: traded(job())) == "invalid_grant"


# With keys as they are really published


@pytest.fixture
def platform() -> Iterator[FakeIssuer]:
    with serving() as found:
        yield found


def test_a_pod_whose_clusters_keys_are_fetched(platform: FakeIssuer, agent: Agent) -> None:
    platform.trusted(kind="workload", audiences=["gatehouse"], is_single_use=False)
    claims = {"sub": "system:serviceaccount:payments:reporter"}
    register_workload(agent, issuer=platform.url, claims=claims, hint="pod", **acting(), expires_at=None)
    text = platform.says(aud=["gatehouse", "https://kubernetes.default.svc"], seconds=3600, **claims)
    assert traded(text).row.agent == agent
    assert traded(text).row.agent == agent
    assert len(platform.asked) == 2


def test_keys_that_cannot_be_had_refuse_for_now(platform: FakeIssuer, agent: Agent) -> None:
    platform.trusted(kind="workload")
    platform.answers.clear()
    with pytest.raises(KeysAway):
        traded(platform.says())
