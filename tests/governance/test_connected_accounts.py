"""Connected accounts as rows: what is sealed, who may renew, how they end."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings

from governance import account_revocations, connected_accounts
from governance.account_tokens import Tokens, open_tokens, rewrap_accounts
from governance.connected_accounts import ClientIdentity, covers
from governance.facts import Fact
from governance.fence.actor import governed_change
from governance.models import Change, Connector, UpstreamClient, UpstreamGrant, User
from governance.vault import Keyring, SealBroken, keyring

pytestmark = [pytest.mark.database, pytest.mark.django_db]

URL = "https://mcp.example.com/mcp"
ISSUER = "https://as.example.com"
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
TOKENS = Tokens("access-0123456789", "refresh-0123456789", NOW + timedelta(hours=1), ("files:read",))
DOCUMENT = ClientIdentity("document", "https://gate.example.com/.well-known/gateway-client.json")


class World:
    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.ana = User.objects.create_user("ana@example.com")
        self.connector = Connector.objects.create(name="files", urls=[URL], account="person")
        self.client = self.set_client()

    def told(self) -> list[str]:
        return [fact.kind for fact in self.facts]

    def set_client(self, identity: ClientIdentity = DOCUMENT, *, issuer: str = ISSUER) -> UpstreamClient:
        with governed_change(by="person:it@example.com"):
            server = connected_accounts.put_server(issuer, {"token_endpoint": f"{issuer}/token"}, now=NOW)
            return connected_accounts.set_client(
                self.connector, server, identity, resource=URL, oauth_scopes=(), **self.act()
            )

    def act(self) -> dict[str, Any]:
        return {"by": "person:it@example.com", "record": self.facts.append, "now": NOW}

    def connect(self, person: User | None = None, tokens: Tokens = TOKENS) -> UpstreamGrant:
        with governed_change(by="person:ana@example.com"):
            return connected_accounts.connect(self.client, person or self.ana, tokens, **self.act())

    def end(self, grant: UpstreamGrant) -> bool:
        with governed_change(by="person:ana@example.com"):
            return connected_accounts.end_grant(grant, **self.act())


@pytest.fixture
def world() -> World:
    return World()


def changes() -> int:
    """Governed ones: on PostgreSQL they move the epoch within COMMIT, which a test that is rolled back never sees."""
    return Change.objects.count()


def fresh(grant: UpstreamGrant) -> UpstreamGrant:
    return UpstreamGrant.objects.get(pk=grant.pk)


def test_tokens_lie_sealed_and_belong_to_their_row(world: World) -> None:
    grant, other = world.connect(), world.connect(User.objects.create_user("ben@example.com"))
    assert open_tokens(fresh(grant), keyring=keyring()) == TOKENS
    assert b"0123456789" not in bytes(fresh(grant).ciphertext)
    UpstreamGrant.objects.filter(pk=other.pk).update(
        wrapped_key=grant.wrapped_key, ciphertext=grant.ciphertext, key_id=grant.key_id
    )
    with pytest.raises(SealBroken):
        open_tokens(fresh(other), keyring=keyring())


def test_tokens_are_in_no_evidence_and_no_text(world: World) -> None:
    grant = world.connect()
    assert "0123456789" not in repr(TOKENS) + repr(grant) + str(world.facts)
    assert world.told()[-1] == "account.connected"


def test_connecting_again_replaces_and_forgets_without_revoking(world: World) -> None:
    """Many providers end all that a person agreed to when one old token of hers is revoked."""
    earlier, later = world.connect(), world.connect()
    assert fresh(earlier).status == "ended"
    assert not bytes(fresh(earlier).ciphertext)
    assert fresh(earlier).revocation == "none"
    assert fresh(later).status == "live"


@pytest.mark.parametrize("change", [{"account": ""}, {"urls": ["https://evil.example.com/mcp"]}])
def test_a_connector_that_changed_meanwhile_takes_no_account(world: World, change: dict[str, Any]) -> None:
    Connector.objects.update(**change)
    with pytest.raises(connected_accounts.CannotConnect):
        world.connect()


def test_somebody_who_left_meanwhile_connects_nothing(world: World) -> None:
    User.objects.update(is_active=False)
    with pytest.raises(connected_accounts.CannotConnect):
        world.connect()


def test_one_process_renews_and_nobody_s_act_moves_no_epoch(world: World) -> None:
    grant, one, two = world.connect(), uuid4(), uuid4()
    before = changes()
    assert connected_accounts.take_lease(grant.pk, generation=0, worker=one, now=NOW)
    assert not connected_accounts.take_lease(grant.pk, generation=0, worker=two, now=NOW)
    assert not store(grant, two)
    assert store(grant, one)
    assert not connected_accounts.take_lease(grant.pk, generation=0, worker=two, now=NOW)
    assert open_tokens(fresh(grant), keyring=keyring()).access == "access-renewed"
    assert changes() == before


def store(grant: UpstreamGrant, worker: UUID) -> bool:
    renewed = Tokens("access-renewed", "refresh-renewed", NOW + timedelta(hours=2), ())
    return connected_accounts.store_renewed(grant.pk, renewed, generation=0, worker=worker, now=NOW)


def test_the_lease_of_a_process_that_died_ends(world: World) -> None:
    grant, died, next_one = world.connect(), uuid4(), uuid4()
    assert connected_accounts.take_lease(grant.pk, generation=0, worker=died, now=NOW)
    later = NOW + connected_accounts.LEASE + timedelta(seconds=1)
    assert connected_accounts.take_lease(grant.pk, generation=0, worker=next_one, now=later)
    assert not store(grant, died)
    assert store(grant, next_one)


def test_tokens_that_come_after_the_end_are_revoked_too(world: World) -> None:
    grant, worker = world.connect(), uuid4()
    connected_accounts.take_lease(grant.pk, generation=0, worker=worker, now=NOW)
    assert world.end(grant)
    assert not store(grant, worker)
    late = Tokens("access-late", "refresh-late", None, ())
    with governed_change(by="system:worker"):
        assert connected_accounts.keep_for_revocation(grant.pk, late, now=NOW)
    due = account_revocations.due_for_revocation(NOW).get()
    assert open_tokens(due, keyring=keyring()).refresh == "refresh-late"


def test_the_end_moves_the_epoch_and_counts_once(world: World) -> None:
    grant, before = world.connect(), changes()
    assert world.end(grant)
    assert not world.end(grant)
    assert changes() > before
    assert world.told().count("account.disconnected") == 1


def test_all_accounts_of_a_person_end_and_nobody_else_s(world: World) -> None:
    hers, his = world.connect(), world.connect(User.objects.create_user("ben@example.com"))
    assert [grant.pk for grant in connected_accounts.live_of_person(world.ana)] == [hers.pk]
    with governed_change(by="person:it@example.com"):
        assert connected_accounts.end_of_person(world.ana, **world.act()) == 1
    assert (fresh(hers).status, fresh(his).status) == ("ended", "live")
    assert not connected_accounts.live_of_person(world.ana).exists()


def test_revoking_is_tried_by_one_worker_at_a_time_and_later_again(world: World) -> None:
    grant = world.connect()
    world.end(grant)
    due = account_revocations.due_for_revocation(NOW).get()
    same = account_revocations.due_for_revocation(NOW).get()
    assert account_revocations.take_revocation(due, now=NOW)
    assert not account_revocations.take_revocation(same, now=NOW)
    assert not account_revocations.due_for_revocation(NOW).exists()
    assert account_revocations.due_for_revocation(NOW + timedelta(minutes=2)).exists()


def test_what_is_revoked_is_erased_and_told(world: World) -> None:
    grant = world.connect()
    world.end(grant)
    steps = [{"token": "refresh", "result": "revoked"}]
    with governed_change(by="system:worker"):
        assert account_revocations.finish_revocation(
            fresh(grant), connected_accounts.Revocation.DONE, "", steps=steps, record=world.facts.append
        )
    assert not bytes(fresh(grant).ciphertext)
    assert not bytes(fresh(grant).wrapped_key)
    assert world.facts[-1].kind == "account.revoked"
    assert world.facts[-1].details["steps"] == steps


def test_another_way_to_the_connector_ends_accounts_of_the_old_one(world: World) -> None:
    """An upstream that suddenly names another authorization server gets nothing that was meant for the first."""
    grant = world.connect()
    client = world.set_client(issuer="https://other.example.com")
    assert client.pk != world.client.pk
    assert fresh(grant).status == "ended"
    assert fresh(grant).client.server.issuer == ISSUER


def test_the_same_way_again_changes_nothing(world: World) -> None:
    grant = world.connect()
    assert world.set_client().pk == world.client.pk
    assert fresh(grant).status == "live"


def test_a_new_key_encryption_key_takes_tokens_along(world: World) -> None:
    grant = world.connect()
    new = Keyring(bytes(range(32, 64)), [settings.KEK])
    assert rewrap_accounts(keyring=new, record=world.facts.append) == 1
    assert open_tokens(fresh(grant), keyring=new) == TOKENS
    assert rewrap_accounts(keyring=new, record=world.facts.append) == 0


@pytest.mark.parametrize(
    ("resource", "url", "expected"),
    [
        (URL, URL, True),
        ("https://mcp.example.com", URL, True),
        ("https://mcp.example.com/", URL, True),
        ("https://MCP.example.com/mcp", URL, True),
        ("https://mcp.example.com/mc", URL, False),
        ("https://mcp.example.com/mcp/v2", URL, False),
        ("http://mcp.example.com/mcp", URL, False),
        ("https://mcp.example.com:8443/mcp", URL, False),
        ("https://mcp.example.com@evil.example.com/mcp", URL, False),
        ("https://mcp.example.com", "https://mcp.example.com.evil.example/mcp", False),
    ],
)
def test_a_token_is_sent_nowhere_but_to_what_it_was_asked_for(resource: str, url: str, expected: bool) -> None:
    assert covers(resource, [url]) is expected


def test_no_address_is_covered_by_nothing() -> None:
    assert not covers(URL, [])
