"""What is due is told to who sees to it, and what credentials were last used for is kept, off the path of calls."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail

from gateway import actions, credential_uses, rotations
from gateway.credential_uses import CredentialUses, Use
from gateway.models import Notice
from gateway.notices.delivery import deliver_due
from governance.models import AgentCredential, CredentialUse, Epoch, Organization, RotationTask, Secret, User
from governance.rotation import ask_for, of_secret
from tests.gateway.rows import a_key, an_agent

pytestmark = [pytest.mark.django_db, pytest.mark.database]

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def mail_server(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"


def aged(key: AgentCredential, days: int) -> AgentCredential:
    AgentCredential.objects.filter(pk=key.pk).update(created_at=datetime.now(UTC) - days * DAY)
    return key


# -- who is told


def test_an_owner_gets_one_message_about_all_her_old_keys_and_one_more_when_they_are_overdue() -> None:
    Organization.objects.create(unused_after_days=None)
    agent = an_agent()
    for number in range(3):
        aged(a_key(agent, f"gate_ak_{number}"), 80)
    assert rotations.watch() == 3
    rotations.watch()
    assert deliver_due() == 1
    (sent,) = mail.outbox
    assert sent.to == ["ana@example.com"]
    assert "3 to be replaced" in sent.subject
    assert sent.body.count("of triage-bot: due by age") == 3
    assert "/me/" in sent.body

    past = datetime.now(UTC)
    RotationTask.objects.update(due_at=past, told_at=past - DAY)
    rotations.watch()
    rotations.watch()
    assert Notice.objects.count() == 2


def test_what_is_nobodys_goes_to_those_who_look_after_agents() -> None:
    User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"])
    gone = User.objects.create_user("gone@example.com", is_active=False)
    subject, now = of_secret(Secret.objects.create(name="helpdesk-token")), datetime.now(UTC)
    actions.act(
        lambda record, _: ask_for(subject, reason="offboarding", owner=gone, by="t", record=record, now=now), by="t"
    )
    rotations.watch()
    deliver_due()
    (sent,) = mail.outbox
    assert sent.to == ["noor@example.com"]
    assert "helpdesk-token: somebody who knew it has left" in sent.body


# -- what was last used, and from where


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_use_is_noted_once_a_minute() -> None:
    uses = CredentialUses()
    assert uses.is_due("a", NOON)
    uses.note("a", at=NOON, address="192.0.2.1", client="cli")
    assert not uses.is_due("a", NOON)
    assert uses.take() == {"a": Use(NOON, "192.0.2.1", "cli")}
    assert not uses.is_due("a", NOON + timedelta(seconds=59))
    assert uses.is_due("a", NOON + timedelta(seconds=60))
    assert uses.take() == {}


def test_the_latest_use_wins_whoever_writes_last_and_moves_no_epoch() -> None:
    key = a_key(an_agent())
    before = Epoch.objects.get().number
    credential_uses.write({key.pk.hex: Use(NOON, "192.0.2.1", "Claude\u202e\r\nCode/1" + "x" * 300)})
    credential_uses.write({key.pk.hex: Use(NOON + DAY, "2001:db8::1", "later"), uuid4().hex: Use(NOON, "", "")})
    credential_uses.write({key.pk.hex: Use(NOON + timedelta(hours=1), "192.0.2.9", "slower")})
    row = CredentialUse.objects.get()
    assert (row.first_used_at, row.last_used_at) == (NOON, NOON + DAY)
    assert (row.last_used_from, row.last_client) == ("2001:db8::1", "later")
    assert Epoch.objects.get().number == before


def test_a_clients_name_is_kept_short_and_printable() -> None:
    key = a_key(an_agent())
    credential_uses.used_now(key, at=NOON, address="192.0.2.1", client="Claude\u202e\r\nCode/1" + "x" * 300)
    assert CredentialUse.objects.get().last_client == ("ClaudeCode/1" + "x" * 300)[:200]
