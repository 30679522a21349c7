"""Credentials that follow one another, what the clock makes due, and the queue of what is to be replaced."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from governance import rotation, rotation_watch
from governance.agent_keys import (
    IssuedKey,
    NotIssuable,
    Successor,
    issue_key,
    key_digest,
    live,
    register_public_key,
    register_workload,
    revoke_key,
)
from governance.facts import Fact
from governance.models import Agent, AgentCredential, Connector, CredentialUse, Epoch, Organization, Secret, User
from governance.models import RotationTask as Task
from governance.public_keys import read_public_key
from governance.snapshot_builder import build_snapshot
from governance.vault import put_secret_value
from tests.governance.key_texts import P256_JWK

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class House:
    """One agent, its owner, the organization's terms, and all that was told."""

    def __init__(self) -> None:
        self.told: list[Fact] = []
        self.ana = User.objects.create_user("ana@example.com")
        self.agent = Agent.objects.create(name="triage-bot", owner=self.ana)
        self.terms(uses_kept_since=NOW - 400 * DAY, unused_after_days=None)

    def terms(self, **fields: Any) -> None:
        row, _ = Organization.objects.get_or_create()
        Organization.objects.filter(pk=row.pk).update(**fields)

    def acts(self, now: datetime = NOW) -> dict[str, Any]:
        return {"by": "person:ana@example.com", "record": self.told.append, "now": now}

    def key(self, *, made: datetime = NOW, now: datetime = NOW, **wish: Any) -> AgentCredential:
        row = self.issued(now=now, **wish).credential
        AgentCredential.objects.filter(pk=row.pk).update(created_at=made)
        row.refresh_from_db()
        return row

    def issued(self, *, now: datetime = NOW, **wish: Any) -> IssuedKey:
        return issue_key(self.agent, **self.acts(now), **{"expires_at": None, **wish})

    def look(self, now: datetime = NOW) -> int:
        return rotation_watch.look(**self.acts(now))

    def kinds(self) -> list[str]:
        return [fact.kind for fact in self.told]


@pytest.fixture
def house() -> House:
    return House()


def live_ids(now: datetime = NOW) -> set[Any]:
    return set(AgentCredential.objects.filter(live(now)).values_list("pk", flat=True))


# -- one follows another


def test_a_key_and_its_successor_overlap_and_the_old_one_ends_by_itself(house: House) -> None:
    old = house.key()
    new = house.key(follows=Successor(old, timedelta(hours=24)))

    old.refresh_from_db()
    assert new.successor_of == old
    assert old.expires_at == NOW + timedelta(hours=24)
    assert live_ids(NOW + timedelta(hours=23)) == {old.pk, new.pk}
    assert live_ids(NOW + timedelta(hours=25)) == {new.pk}
    assert house.kinds() == ["key.issued", "key.issued", "key.rotated"]


def test_an_overlap_never_lengthens_a_life(house: House) -> None:
    old = house.key(expires_at=NOW + timedelta(hours=1))
    house.key(follows=Successor(old, timedelta(hours=24)))
    old.refresh_from_db()
    assert old.expires_at == NOW + timedelta(hours=1)


def test_without_overlap_the_old_one_ends_at_once(house: House) -> None:
    old = house.key()
    new = house.key(follows=Successor(old, timedelta(0)))
    assert live_ids() == {new.pk}


def test_what_is_over_or_anothers_or_of_another_kind_is_not_replaced(house: House) -> None:
    over, old = house.key(), house.key()
    revoke_key(over, **house.acts())
    other = Agent.objects.create(name="other-bot", owner=house.ana)
    with pytest.raises(NotIssuable, match="no live credential of this agent"):
        house.issued(follows=Successor(over, DAY))
    with pytest.raises(NotIssuable, match="no live credential of this agent"):
        issue_key(other, **house.acts(), expires_at=None, follows=Successor(old, DAY))
    with pytest.raises(NotIssuable, match="another use"):
        house.issued(kind="client_secret", follows=Successor(old, DAY))
    house.key(follows=Successor(old, DAY))
    with pytest.raises(NotIssuable, match="being replaced already"):
        house.issued(follows=Successor(old, DAY))
    assert len(live_ids()) == 2


def test_an_agent_has_no_endless_heap_of_credentials(house: House) -> None:
    AgentCredential.objects.bulk_create(
        AgentCredential(agent=house.agent, digest=bytes([number]) * 32, hint="h", created_by="t")
        for number in range(50)
    )
    with pytest.raises(NotIssuable, match="50 live credentials"):
        house.issued()


# -- kinds


def test_only_keys_open_the_data_path(house: House) -> None:
    secret = house.issued(kind="client_secret")
    key = house.issued()
    public = register_public_key(house.agent, read_public_key(P256_JWK), **house.acts(), expires_at=None)

    assert secret.key.startswith("gate_cs_")
    assert build_snapshot().credentials.keys() == {key_digest(key.key)}
    assert (public.digest, public.hint) == (None, f"ES256 {public.thumbprint[:8]}")


def test_a_public_key_comes_but_once_even_after_it_was_revoked(house: House) -> None:
    row = register_public_key(house.agent, read_public_key(P256_JWK), **house.acts(), expires_at=None)
    revoke_key(row, **house.acts())
    with pytest.raises(NotIssuable, match="registered before"):
        register_public_key(house.agent, read_public_key(P256_JWK), **house.acts(), expires_at=None)


def test_a_workload_must_say_something(house: House) -> None:
    wish = {"issuer": "https://ci.example", "hint": "repo:web", "expires_at": None}
    with pytest.raises(NotIssuable, match="Without a claim"):
        register_workload(house.agent, claims={}, **wish, **house.acts())
    row = register_workload(house.agent, claims={"sub": "repo:web"}, **wish, **house.acts())
    assert str(row) == "repo:web of triage-bot"


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "key", "digest": None},
        {"kind": "client_secret", "digest": b"d" * 32, "thumbprint": "t"},
        {"kind": "public_key", "digest": None, "thumbprint": "t"},
        {"kind": "public_key", "digest": b"d" * 32, "public_key": {}, "thumbprint": "t"},
        {"kind": "workload", "digest": None},
        {"kind": "elsewhat", "digest": b"d" * 32},
    ],
)
def test_the_database_refuses_a_credential_without_what_its_kind_needs(house: House, fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        AgentCredential.objects.create(agent=house.agent, hint="h", created_by="t", **fields)


# -- what the clock makes due


def test_an_old_key_is_asked_for_once_and_its_successor_closes_it(house: House) -> None:
    old, _young = house.key(made=NOW - 80 * DAY), house.key(made=NOW - 70 * DAY)

    assert house.look() == 1
    assert house.look() == 0
    task = Task.objects.get()
    assert (task.subject_id, task.reason, task.owner, task.due_at) == (old.pk, "age", house.ana, NOW + 10 * DAY)

    house.key(follows=Successor(old, DAY))
    task.refresh_from_db()
    assert (task.state, task.done_by) == ("done", "person:ana@example.com")
    assert house.look() == 0, "what is being replaced is not asked for again"


def test_a_key_about_to_expire_is_asked_for_but_not_one_made_for_a_while(house: House) -> None:
    ending = house.key(made=NOW - 20 * DAY, expires_at=NOW + 10 * DAY)
    house.key(expires_at=NOW + timedelta(hours=1))
    house.look()
    assert [task.subject_id for task in Task.objects.all()] == [ending.pk]


def test_overdue_keys_end_only_where_the_organization_says_so_and_never_without_warning(house: House) -> None:
    old = house.key(made=NOW - 200 * DAY)
    house.look()
    old.refresh_from_db()
    assert old.expires_at is None

    house.terms(ends_overdue=True)
    house.look()
    house.look()
    old.refresh_from_db()
    assert old.expires_at == NOW + 14 * DAY, "the days of warning begin when the term does"
    house.look(NOW + 3 * DAY)
    old.refresh_from_db()
    assert old.expires_at == NOW + 14 * DAY, "another look moves it no further"
    house.look(NOW + 15 * DAY)
    assert Task.objects.get(reason="age").evidence == {"why": "ended"}


def test_unused_keys_are_flagged_then_ended_unless_they_are_used_again(house: House) -> None:
    house.terms(ends_unused=True, unused_after_days=60, rotate_after_days=None)
    silent, revived = (house.key(made=NOW - 70 * DAY) for _ in range(2))
    used = house.key(made=NOW - 70 * DAY)
    CredentialUse.objects.create(credential=used, first_used_at=NOW - 9 * DAY, last_used_at=NOW - 9 * DAY)

    house.look()
    assert set(Task.objects.values_list("subject_id", "reason")) == {(silent.pk, "unused"), (revived.pk, "unused")}

    later = NOW + 2 * DAY
    CredentialUse.objects.create(credential=revived, first_used_at=later, last_used_at=later)
    house.look(NOW + 20 * DAY)
    assert live_ids() == {silent.pk, revived.pk, used.pk}, "whose owner was not told yet does not end"
    Task.objects.filter(state="open").update(told_at=NOW)
    house.look(NOW + 20 * DAY)
    assert live_ids() == {revived.pk, used.pk}
    assert Task.objects.get(subject_id=revived.pk).evidence == {"why": "used again"}


def test_nothing_is_unused_since_before_uses_were_kept(house: House) -> None:
    house.terms(uses_kept_since=NOW - DAY, unused_after_days=60, rotate_after_days=None)
    house.key(made=NOW - 300 * DAY)
    assert house.look() == 0


def test_what_somebody_dropped_is_not_asked_for_at_the_next_look(house: House) -> None:
    house.key(made=NOW - 80 * DAY)
    house.look()
    assert rotation.drop(Task.objects.get(), note="goes away on Friday", **house.acts())
    assert not rotation.drop(Task.objects.get(), note="twice", **house.acts())
    assert house.look(NOW + DAY) == 0


def test_old_values_of_secrets_are_asked_for_and_a_new_value_closes_that(house: House) -> None:
    secret = Secret.objects.create(name="helpdesk-token")
    Connector.objects.create(name="helpdesk", secret=secret, owner=house.ana)
    put_secret_value(secret, value="sk-old-0123456789", **house.acts(NOW - 85 * DAY))
    spare = Secret.objects.create(name="of-no-connector")
    put_secret_value(spare, value="sk-old-0123456789", **house.acts(NOW - 85 * DAY))

    house.look()
    task = Task.objects.get()
    assert (task.subject_name, task.owner, task.due_at) == ("helpdesk-token", house.ana, NOW + 5 * DAY)
    put_secret_value(secret, value="sk-new-0123456789", **house.acts())
    task.refresh_from_db()
    assert (task.state, task.evidence) == ("done", {"version": 2})


def test_a_look_that_finds_nothing_moves_no_epoch(
    house: House, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    house.key()
    before = Epoch.objects.get().number
    with django_assert_max_num_queries(10):
        assert house.look() == 0
    assert Epoch.objects.get().number == before


# -- the queue


def test_reasons_do_not_hide_one_another_and_one_value_answers_all(house: House) -> None:
    secret = Secret.objects.create(name="helpdesk-token")
    subject = rotation.of_secret(secret)
    first = rotation.ask_for(subject, reason="age", due_at=NOW + DAY, **house.acts())
    again = rotation.ask_for(subject, reason="age", due_at=NOW, **house.acts())
    rotation.ask_for(subject, reason="offboarding", owner=house.ana, about="offboarding:1", **house.acts())

    assert first.pk == again.pk
    assert Task.objects.get(pk=first.pk).due_at == NOW, "the earlier time counts"
    assert [task.reason for task in rotation.live_of_person(house.ana)] == ["offboarding"]
    put_secret_value(secret, value="sk-new-0123456789", **house.acts())
    assert not rotation.open_tasks().exists()
    assert house.kinds().count("rotation.asked") == 2


def test_a_leaver_leaves_her_tasks_to_the_queue(house: House) -> None:
    subject = rotation.of_secret(Secret.objects.create(name="helpdesk-token"))
    rotation.ask_for(subject, reason="age", owner=house.ana, **house.acts())
    assert rotation.end_of_person(house.ana, **house.acts()) == 1
    assert rotation.end_of_person(house.ana, **house.acts()) == 0
    assert rotation.open_tasks().get().owner is None
