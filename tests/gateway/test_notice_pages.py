"""Where channels, chat accounts and what did not arrive are looked after."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway.models import Notice
from governance.models import ChatIdentity, Connector, NotificationChannel, Secret, User

pytestmark = pytest.mark.django_db


def fields(**changes: Any) -> dict[str, Any]:
    secret = Secret.objects.get_or_create(name="slack-token")[0]
    usual = {"name": "leads", "kind": "slack", "target": "C0123456789", "secret": str(secret.pk), "is_enabled": "on"}
    return usual | changes


def add(client: Client, **changes: Any) -> str:
    answer = client.post(reverse("admin:governance_notificationchannel_add"), fields(**changes), follow=True)
    return answer.content.decode()


def test_a_channel_is_set_up(security: Client) -> None:
    add(security)
    assert NotificationChannel.objects.get().target == "C0123456789"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"url": "https://collector.example.com"}, "only to slack.com"),
        ({"url": "https://notslack.com/api"}, "only to slack.com"),
        ({"url": "https://slack.com.evil.example/api"}, "only to slack.com"),
        ({"url": "https://slack.com@evil.example/api"}, "plain address"),
        ({"target": ""}, "its id"),
        ({"secret": ""}, "bot token"),
        ({"allows_decisions": "on"}, "comes from Slack"),
        ({"kind": "webhook"}, "Where to send it"),
        ({"kind": "webhook", "url": "https://x.example", "allows_decisions": "on"}, "Only a chat"),
    ],
)
def test_a_channel_that_would_not_work_or_give_a_token_away_is_refused(
    security: Client, changes: dict[str, str], complaint: str
) -> None:
    assert complaint in add(security, **changes)
    assert not NotificationChannel.objects.exists()


def test_what_a_connector_shows_to_its_system_is_no_token_of_a_channel(security: Client) -> None:
    Connector.objects.create(name="helpdesk", secret=Secret.objects.create(name="slack-token"))
    assert "Make one of its own" in add(security)


@pytest.mark.parametrize(("account", "is_taken"), [("U0LEE", True), ("lee", False), ("@lee", False), ("u0lee", False)])
def test_an_account_is_an_id_and_no_name(security: Client, account: str, is_taken: bool) -> None:
    channel = NotificationChannel.objects.create(name="leads", kind="slack")
    lee = User.objects.create_user("lee@example.com")
    body = {"channel": str(channel.pk), "workspace": "T0EXAMPLE", "account": account, "person": str(lee.pk)}
    security.post(reverse("admin:governance_chatidentity_add"), body)
    assert ChatIdentity.objects.exists() is is_taken


@pytest.mark.parametrize(("duties", "is_taken"), [([], True), (["security"], True), (["approver"], False)])
def test_nobody_says_that_her_own_chat_account_is_somebody_with_a_duty_she_lacks(
    security: Client, duties: list[str], is_taken: bool
) -> None:
    """Each press there would be an approver's word."""
    channel = NotificationChannel.objects.create(name="leads", kind="slack")
    lee = User.objects.create_user("lee@example.com", is_staff=bool(duties), duties=duties)
    body = {"channel": str(channel.pk), "workspace": "T0EXAMPLE", "account": "U0MINE", "person": str(lee.pk)}
    security.post(reverse("admin:governance_chatidentity_add"), body)
    assert ChatIdentity.objects.exists() is is_taken


def test_what_did_not_arrive_is_listed_and_tried_again(security: Client) -> None:
    now = datetime.now(UTC)
    about = {"kind": "asked", "subject": "APR-1: waits", "tries": 12, "error": "It answered 500."}
    dead = Notice.objects.create(**about, written_at=now, next_try_at=now, given_up_at=now)
    page = reverse("admin:gateway_notice_changelist")
    shown = security.get(f"{page}?state=given-up").content.decode()
    assert "It answered 500." in shown
    assert "APR-1" not in security.get(f"{page}?state=sent").content.decode()
    body = {"action": "retry", "_selected_action": [str(dead.pk)], "confirmed": "yes"}
    security.post(page, body)
    dead.refresh_from_db()
    assert (dead.given_up_at, dead.tries) == (None, 0)
    assert EventRow.objects.filter(kind="notice.retried").exists()
