"""Access tokens on the data path: for one endpoint, for the bundles they name, while what they rest on stands."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings

from gateway.access_tokens import MOST_READ_AT_ONCE, AccessTokens
from gateway.call import Answer, Frame
from gateway.catalogs import Catalogs
from gateway.commit.entry import Verdict
from gateway.mcp.listing import list_items
from gateway.mcp.metadata import answer_headers
from gateway.pipeline import run
from governance import authorizations, key_text, oauth_clients, oauth_tokens
from governance.facts import Fact
from governance.fence.actor import governed_change
from governance.models import Authorization, User
from governance.oauth_resources import resource_of
from governance.snapshot import Credential, Snapshot
from governance.snapshot_builder import build_snapshot
from tests import factories as make
from tests.fakes import FakePorts
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TOKEN = key_text.new_text(oauth_tokens.ACCESS_PREFIX)
GROUND = "authorization:editor"


def at(bundle: str | None) -> str:
    return resource_of(bundle, origin=settings.PUBLIC_URL)


def token(**fields: object) -> Credential:
    agent = make.agent()
    said = {"rests_on": GROUND, "resource": at("support"), "bundles": frozenset({"support"}), **fields}
    return make.credential(agent, TOKEN, **{"expires_at": NOON + timedelta(minutes=10), **said})


def world(**fields: object) -> Snapshot:
    agent = make.agent(roles=(make.role("bundle-support", "bundle-billing"),))
    tools = {"support": make.tool("ticket_get"), "billing": make.tool("refund", of=make.connector("billing"))}
    bundles = tuple(make.bundle(name, (tool,)) for name, tool in tools.items())
    said = {"authorizations": frozenset({"editor"}), **fields}
    return make.snapshot(agents=(agent,), bundles=bundles, **said)  # type: ignore[arg-type]


def ports_with(known: Credential, *views: Snapshot) -> FakePorts:
    ports = FakePorts(views[0] if views else world())
    ports.views.extend(views[1:])
    ports.access_tokens._keep(known)
    return ports


def frame(name: str = "ticket_get", bundle: str | None = "support") -> Frame:
    return Frame(token=TOKEN, bundle=bundle, name=name, arguments={}, revision="2025-11-25")


def header(told: Answer, bundle: str | None = "support") -> str:
    return dict(answer_headers(bundle, told)).get(b"www-authenticate", b"").decode()


async def test_a_call_with_a_token_rests_on_the_token_and_on_its_authorization() -> None:
    known = token()
    ports = ports_with(known)
    assert (await run(frame(), ports)).error is None
    intent = ports.entries[0]
    assert intent.read_set is not None
    assert {GROUND, f"token:{known.id}", "agent:agent-triage-bot"} <= intent.read_set
    assert intent.valid_until == known.expires_at


WITHDRAWN = {
    "authorization ended": (token(), world(authorizations=frozenset())),
    "token ended": (token(), world(ended_tokens=frozenset({token().id}))),
    "credential revoked": (token(rests_on="credential:secret"), world()),
    "expired": (token(expires_at=NOON), world()),
    "for the union endpoint": (token(resource=at(None)), world()),
    "for another bundle": (token(resource=at("billing")), world()),
    "for another gateway": (token(resource="https://elsewhere.example/mcp/support"), world()),
}


@pytest.mark.parametrize("why", WITHDRAWN)
async def test_a_token_that_is_not_good_here_is_refused_as_an_unknown_one(why: str) -> None:
    known, view = WITHDRAWN[why]
    told = await run(frame(), ports_with(known, view))
    unknown = await run(replace(frame(), token="gate_at_unknown"), FakePorts(world()))
    assert told == unknown
    assert 'error="invalid_token"' in header(told)


async def test_a_token_bought_with_a_credential_lives_as_long_as_that() -> None:
    known = token(rests_on="credential:secret")
    told = await run(frame(), ports_with(known, world(proofs=frozenset({"secret"}))))
    assert told.error is None


async def test_what_ended_while_it_was_decided_is_refused_by_the_fence() -> None:
    """The group finds the epoch moved by something in the read set: the next view says what."""
    ports = ports_with(token(), world(), world(authorizations=frozenset(), epoch=2))
    ports.verdicts = [Verdict.STALE]
    assert (await run(frame(), ports)).status == 401
    assert "sent" not in ports.log


async def test_a_view_that_is_a_moment_old_refuses_nobody_who_was_let_in_meanwhile() -> None:
    ports = ports_with(token(), world(authorizations=frozenset()), world(epoch=2))
    assert (await run(frame(), ports)).error is None


async def test_more_scope_is_asked_for_only_where_it_would_help() -> None:
    union = token(resource=at(None))
    told = await run(frame("billing__refund", None), ports_with(union))
    assert told.status == 403
    assert 'error="insufficient_scope", scope="bundle:billing bundle:support"' in header(told, None)
    unknown = await run(frame("billing__nothing", None), ports_with(union))
    assert (unknown.status, header(unknown, None)) == (200, "")


async def test_a_tool_that_no_token_would_reach_does_not_exist() -> None:
    hidden = make.agent(roles=(make.role("bundle-support"),))
    ports = ports_with(token(resource=at(None)), replace(world(), agents={hidden.id: hidden}))
    told = await run(frame("billing__refund", None), ports)
    assert (told.status, told.error and told.error["code"]) == (200, -32602)


async def test_lists_show_what_the_token_covers() -> None:
    ports = ports_with(token(resource=at(None)))
    listing = replace(frame("", None), method="tools/list")
    listed = await list_items(listing, ports, Catalogs(ports.catalog))
    assert [each["name"] for each in listed["tools"]] == ["helpdesk__ticket_get"]
    assert ports.entries[-1].read_set is not None
    assert GROUND in ports.entries[-1].read_set


def test_a_persons_client_holds_what_she_holds_and_no_more() -> None:
    role = make.role("bundle-support", person_ids=frozenset({"person-ana@example.com"}))
    client = replace(make.agent("ana-editor"), takes_owner_roles=True)
    view = make.snapshot(agents=(client,), bundles=(make.bundle(), make.bundle("billing")), roles={role.id: role})
    assert [each.name for each in view.bundles_of(client, NOON, person_id=client.owner.id)] == ["support"]
    assert [each.name for each in view.bundles_of(client, NOON)] == ["support"]


# -- as the database has them


@pytest.fixture
def let_in(fresh_database: None) -> Authorization:
    facts: list[Fact] = []
    done = {"by": "test", "record": facts.append, "now": datetime.now(UTC)}
    with governed_change(by="test"):
        ana = User.objects.create_user("ana@example.com")
        client = oauth_clients.register(name="Editor", redirect_uris=["http://127.0.0.1/cb"], **done).client
        return authorizations.let_in(client, ana, resource=at("support"), oauth_scopes=["bundle:support"], **done)


class Reads:
    """Where a gateway process reads tokens: counts how often."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self, work):  # type: ignore[no-untyped-def]
        self.count += 1
        return await sync_to_async(work)()


class Nowhere(Reads):
    """No token is there."""

    async def run(self, work):  # type: ignore[no-untyped-def]
        self.count += 1
        return []


@pytest.mark.database
def test_a_process_learns_a_token_once_and_takes_nobodys_word_for_one(let_in: Authorization) -> None:
    issued = oauth_tokens.issue_for_authorization(let_in, now=datetime.now(UTC))
    reads = Reads()
    tokens = AccessTokens(reads)  # type: ignore[arg-type]

    async def learn() -> None:
        for shown in (issued.access, issued.access, "gate_at_nonsense", key_text.new_text("gate_at_")):
            await tokens.learn(shown)

    asyncio.run(learn())
    known = tokens.known(sha256(issued.access.encode()).digest())
    assert known is not None
    assert (known.rests_on, known.bundles) == (f"authorization:{let_in.id.hex}", frozenset({"support"}))
    assert (known.resource, known.person_id) == (at("support"), let_in.person_id and let_in.person_id.hex)
    assert reads.count == 2


@pytest.mark.database
def test_the_snapshot_knows_what_tokens_rest_on_and_hears_when_it_ends(let_in: Authorization) -> None:
    issued = oauth_tokens.issue_for_authorization(let_in, now=datetime.now(UTC))
    known = Credential(
        issued.row.id.hex, let_in.agent_id.hex, b"", None, None, rests_on=f"authorization:{let_in.id.hex}"
    )
    before = build_snapshot()
    assert before.standing(known) == known
    assert before.agents[let_in.agent_id.hex].takes_owner_roles
    authorizations.revoke(let_in, by="test", record=lambda _: None, now=datetime.now(UTC))
    after = build_snapshot(before)
    assert after.standing(known) is None
    assert after.epoch > before.epoch


@pytest.mark.database
def test_issuing_a_token_moves_no_epoch(let_in: Authorization) -> None:
    before = build_snapshot().epoch
    issued = oauth_tokens.issue_for_authorization(let_in, now=datetime.now(UTC), has_refresh=True)
    assert let_in.client is not None
    oauth_tokens.refresh(issued.refresh, client=let_in.client, oauth_scopes=None, now=datetime.now(UTC))
    assert build_snapshot().epoch == before


async def test_many_strange_tokens_are_read_together() -> None:
    reads = Nowhere()
    tokens = AccessTokens(reads)  # type: ignore[arg-type]
    shown = [key_text.new_text(oauth_tokens.ACCESS_PREFIX) for _ in range(MOST_READ_AT_ONCE)]
    await asyncio.gather(*(tokens.learn(each) for each in shown))
    assert reads.count == 1
