"""Who is told of what, once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail

from gateway import notices
from gateway.models import Letter, Notice
from gateway.notices.audience import MOST_PEOPLE
from gateway.notices.delivery import deliver_due
from governance.models import Freeze, Team, User
from governance.snapshot_builder import build_snapshot
from tests.gateway import notice_world as world

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def mail_server(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"


def tell(request: Any) -> None:
    notices.asked(request, snapshot=build_snapshot(), now=datetime.now(UTC))


def receivers() -> list[str]:
    return sorted(User.objects.filter(pk__in=Notice.objects.values("person_id")).values_list("email", flat=True))


def test_those_who_may_decide_are_mailed_once_and_nobody_else() -> None:
    world.lead()
    world.lead("mia@example.com")
    User.objects.create_user("stranger@example.com")
    bot = world.agent(owner="mia@example.com")
    row = world.request(bot)
    tell(row)
    assert receivers() == ["lee@example.com"]
    assert deliver_due() == 1
    assert deliver_due() == 0
    (sent,) = mail.outbox
    assert sent.to == ["lee@example.com"]
    assert f"/approvals/{row.key}/" in sent.body
    assert "billing_refund on helpdesk" in sent.body
    assert row.call_digest.hex()[:8] in sent.body


def test_no_argument_and_no_way_to_decide_is_in_a_mail() -> None:
    world.lead()
    row = world.request(world.agent(), stated_reason="because I say so", arguments=b"sealed")
    tell(row)
    deliver_due()
    (sent,) = mail.outbox
    assert "because I say so" not in sent.body
    assert sent.content_subtype == "plain"
    links = [word for word in sent.body.split() if "://" in word]
    assert links == [f"http://127.0.0.1:8000/approvals/{row.key}/"]


def test_a_name_cannot_add_lines_or_headers_to_a_mail() -> None:
    world.lead()
    row = world.request(world.agent(), tool="refund\r\nBcc: all@example.com\n\nhttps://evil.example\u202e")
    tell(row)
    deliver_due()
    (sent,) = mail.outbox
    assert "\nBcc" not in sent.message().as_string()
    assert not any(line.strip().startswith(("Bcc", "https://evil")) for line in sent.body.splitlines())
    assert "\u202e" not in sent.body


def test_a_request_that_is_over_before_the_mail_went_is_not_mailed() -> None:
    world.lead()
    row = world.request(world.agent())
    tell(row)
    notices.ended(world.end(row), now=datetime.now(UTC))
    deliver_due()
    assert mail.outbox == []
    assert not Notice.objects.filter(sent_at=None, given_up_at=None).exists()


def test_who_was_mailed_of_an_escalated_request_hears_of_its_end() -> None:
    world.lead()
    boss = User.objects.create_user("boss@example.com")
    boss.teams.add(Team.objects.create(name="directors"))
    terms = {**world.LEADS, "escalate": {"after": "5m", "to": ["directors"]}}
    now = datetime.now(UTC)
    row = world.request(world.agent(), terms, created_at=now - timedelta(minutes=6))
    row.escalated_at = now
    early = now - timedelta(minutes=5, seconds=30)
    notices.asked(row, snapshot=build_snapshot(), now=early)
    assert receivers() == ["lee@example.com"]
    notices.escalated(row, snapshot=build_snapshot(), now=now)
    assert receivers() == ["boss@example.com", "lee@example.com"]
    deliver_due()
    notices.ended(world.end(row), now=now)
    deliver_due()
    assert sorted((sent.to[0], sent.subject.split(": ")[1]) for sent in mail.outbox) == [
        ("boss@example.com", "denied"),
        ("boss@example.com", "nobody has answered yet"),
        ("lee@example.com", "denied"),
        ("lee@example.com", "triage-bot waits for you"),
    ]


def test_when_too_many_may_decide_those_the_rule_names_come_first() -> None:
    for number in range(MOST_PEOPLE + 5):
        person = User.objects.create_user(f"a{number:02}@example.com", is_staff=True)
        person.duties = ["approver"]
        person.save()
    world.lead("zoe@example.com")
    tell(world.request(world.agent(), {"team": "support-leads", "duties": ["approver"]}))
    assert Notice.objects.count() == MOST_PEOPLE
    assert "zoe@example.com" in receivers()


def test_without_a_mail_server_nothing_is_written_for_people(settings: Any) -> None:
    settings.EMAIL_HOST = ""
    world.lead()
    tell(world.request(world.agent()))
    assert not Notice.objects.exists()


def test_a_channel_of_a_team_hears_only_what_that_team_is_asked() -> None:
    other = world.webhook_channel("https://hooks.example.com/x")
    other.teams.add(Team.objects.create(name="finance"))
    tell(world.request(world.agent()))
    assert not Notice.objects.exists()
    tell(world.request(world.agent("pay-bot"), {"team": "finance"}))
    assert [notice.channel_id for notice in Notice.objects.all()] == [other.pk]


def test_open_pages_are_rung_for_every_change() -> None:
    row = world.request(world.agent())
    tell(row)
    notices.ended(world.end(row), now=datetime.now(UTC))
    assert Letter.objects.filter(topic=notices.INBOX).count() == 2


def test_a_reaction_tells_security_and_owners() -> None:
    User.objects.create_user("sam@example.com", is_staff=True, duties=["security"])
    User.objects.create_user("olga@example.com", is_staff=True, is_superuser=True)
    User.objects.create_user("plain@example.com")
    freeze = Freeze.objects.create(agent=world.agent(), created_by="reaction:many", reason="5 denials.")
    notices.frozen(freeze, reaction="many", now=datetime.now(UTC))
    deliver_due()
    assert sorted(sent.to[0] for sent in mail.outbox) == ["olga@example.com", "sam@example.com"]
    assert "agent triage-bot is frozen" in mail.outbox[0].body
