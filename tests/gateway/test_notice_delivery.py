"""Notices reach a chat, a program and a mail server that break in every way."""

import hmac
import json
import smtplib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from threading import Thread
from typing import Any

import pytest
from django.core import mail
from hypothesis import given
from hypothesis import strategies as st

from gateway import notices, tasks
from gateway.models import EvidenceIncident, Notice
from gateway.notices import delivery, sending
from gateway.notices.delivery import CLAIMED_FOR, MOST_TRIES, deliver_due, try_again
from gateway.notices.webhook import signature
from governance.models import Anchor, ApprovalRequest, User
from governance.snapshot_builder import build_snapshot
from tests.gateway import notice_world as world
from tests.gateway.fake_slack import FakeSlack, fake_slack

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def loopback(settings: Any) -> None:
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with fake_slack() as server:
        yield server


def ask(**fields: Any) -> ApprovalRequest:
    row = world.request(world.agent(), **fields)
    notices.asked(row, snapshot=build_snapshot(), now=datetime.now(UTC))
    return row


def end(row: ApprovalRequest, *how: str) -> None:
    notices.ended(world.end(row, *how), now=datetime.now(UTC))


def let_pass(seconds: float) -> None:
    for notice in Notice.objects.filter(sent_at=None):
        notice.next_try_at -= timedelta(seconds=seconds)
        notice.save()


def the_notice() -> Notice:
    return Notice.objects.get()


def test_a_message_says_what_is_wanted_and_opens_the_page(slack: FakeSlack) -> None:
    world.slack_channel(slack.url)
    row = ask()
    deliver_due()
    assert the_notice().sent_at
    text = slack.text()
    assert all(word in text for word in ("APR-", "triage-bot", "billing_refund", "Refunds over 100", "!date^"))
    assert set(slack.buttons()) == {"open"}
    assert slack.buttons()["open"]["url"].endswith(f"/approvals/{row.key}/")


def test_what_others_named_is_no_markup(slack: FakeSlack) -> None:
    """The fake refuses every text of theirs that is not plain."""
    world.slack_channel(slack.url)
    ask(tool="<!channel> *pay* <https://evil.example|open>\n\n> \u202e", connector="x" * 63)
    deliver_due()
    (message,) = slack.messages.values()
    assert "<" not in message["text"]
    assert the_notice().sent_at


@pytest.mark.parametrize(
    ("channel", "terms", "expected"),
    [
        ({"allows_decisions": True}, {"in_chat": True}, {"open", "approve", "deny"}),
        ({"allows_decisions": False}, {"in_chat": True}, {"open"}),
        ({"allows_decisions": True}, {}, {"open"}),
        ({"allows_decisions": True}, {"in_chat": True, "step_up": "5m"}, {"open"}),
        ({"allows_decisions": True}, {"in_chat": True, "reason": "required"}, {"open"}),
        ({"allows_decisions": True}, {"in_chat": True, "ticket": "INC[0-9]+"}, {"open"}),
    ],
)
def test_it_is_decided_in_the_chat_only_where_channel_and_rule_say_so(
    slack: FakeSlack, channel: dict[str, Any], terms: dict[str, Any], expected: set[str]
) -> None:
    world.slack_channel(slack.url, **channel)
    ask(approvers=world.LEADS | terms)
    deliver_due()
    assert set(slack.buttons()) == expected


@pytest.mark.parametrize("state", ["approved", "consumed", "denied", "expired", "cancelled", "void"])
def test_the_message_is_rewritten_whatever_end_it_takes(slack: FakeSlack, state: str) -> None:
    world.slack_channel(slack.url, allows_decisions=True)
    row = ask(approvers=world.LEADS | {"in_chat": True})
    deliver_due()
    end(row, state, "because of this")
    deliver_due()
    assert slack.asked == ["chat.postMessage", "chat.update"]
    assert set(slack.buttons()) == {"open"}
    assert "because of this" in slack.text()


def test_what_is_over_before_it_was_told_is_told_to_nobody(slack: FakeSlack) -> None:
    world.slack_channel(slack.url)
    end(ask())
    deliver_due()
    assert slack.asked == []
    assert not Notice.objects.filter(sent_at=None, given_up_at=None).exists()


@pytest.mark.parametrize("fault", ["500", "reset", "ratelimited", "internal_error"])
def test_a_fault_that_may_pass_is_tried_again(slack: FakeSlack, fault: str) -> None:
    world.slack_channel(slack.url)
    slack.faults.append(fault)
    ask()
    deliver_due()
    notice = the_notice()
    assert (notice.sent_at, notice.given_up_at, notice.tries) == (None, None, 1)
    assert deliver_due() == 0, "it waits before it tries again"
    let_pass(5)
    deliver_due()
    assert the_notice().sent_at
    assert len(slack.messages) == 1


def test_a_receiver_that_hangs_holds_up_nobody_else(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SEND_SECONDS", 0.2)
    world.slack_channel(slack.url)
    with fake_slack() as other:
        world.slack_again(other.url)
        slack.faults.append("slow")
        ask()
        deliver_due()
        assert len(other.messages) == 1
    late = Notice.objects.get(sent_at=None)
    assert "timeout" in late.error


def test_slack_says_when_it_wants_to_be_asked_again(slack: FakeSlack) -> None:
    world.slack_channel(slack.url)
    slack.faults.append("429")
    ask()
    deliver_due()
    pause = the_notice().next_try_at - datetime.now(UTC)
    assert timedelta(seconds=60) < pause <= timedelta(seconds=77)


def test_a_wrong_token_is_not_hammered_and_shows(slack: FakeSlack) -> None:
    world.slack_channel(slack.url, token="xoxb-wrong")
    ask()
    deliver_due()
    notice = the_notice()
    assert notice.given_up_at
    assert "invalid_auth" in notice.error
    assert "xoxb-wrong" not in notice.error
    assert slack.asked == ["chat.postMessage"]


def test_it_is_given_up_after_a_bounded_number_of_tries_and_can_be_tried_anew(slack: FakeSlack) -> None:
    world.slack_channel(slack.url)
    slack.faults.extend(["500"] * MOST_TRIES)
    ask()
    for _ in range(MOST_TRIES):
        assert deliver_due() == 1
        let_pass(3700)
    assert deliver_due() == 0
    assert the_notice().given_up_at
    assert try_again(Notice.objects.all(), now=datetime.now(UTC)) == 1
    deliver_due()
    assert the_notice().sent_at


class Killed(BaseException):
    """What a killed worker does: nothing more."""


def test_a_worker_killed_between_sending_and_marking_loses_nothing_and_repeats_once(
    slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slack_channel(slack.url)
    ask()

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "_settle", killed)
        with pytest.raises(Killed):
            deliver_due()
    assert deliver_due() == 0, "another worker leaves it alone while it may be on its way"
    let_pass(CLAIMED_FOR.total_seconds())
    deliver_due()
    assert deliver_due() == 0
    assert the_notice().sent_at
    assert len(slack.messages) == 2


def test_an_answer_that_got_lost_may_repeat_a_message_but_never_loses_it(slack: FakeSlack) -> None:
    world.slack_channel(slack.url)
    slack.faults.append("lost")
    ask()
    deliver_due()
    let_pass(5)
    deliver_due()
    assert the_notice().sent_at
    assert len(slack.messages) == 2


def test_a_message_on_its_way_is_rewritten_after_it_arrived(slack: FakeSlack) -> None:
    world.slack_channel(slack.url)
    slack.faults.append("500")
    row = ask()
    deliver_due()
    first = the_notice()
    end(row)
    deliver_due()
    assert slack.asked == []
    Notice.objects.filter(pk=first.pk).update(sent_at=datetime.now(UTC), reference="C0123456789:1700000000.000100")
    slack.messages["1700000000.000100"] = {}
    let_pass(20)
    deliver_due()
    assert slack.asked == ["chat.update"]


def test_the_token_of_slack_goes_nowhere_else(settings: Any) -> None:
    world.slack_channel("https://collector.example.com/api")
    ask()
    deliver_due()
    assert "not Slack's" in the_notice().error


def test_plain_http_leads_only_into_networks_that_are_allowed(slack: FakeSlack, settings: Any) -> None:
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("10.0.0.0/8"),)
    world.slack_channel(slack.url)
    ask()
    deliver_due()
    assert the_notice().given_up_at
    assert slack.asked == []


def test_a_dead_mail_server_loses_no_mail(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    world.lead()
    ask()

    def refused(self: Any) -> None:
        raise smtplib.SMTPServerDisconnected("password=hunter2")

    with monkeypatch.context() as patch:
        patch.setattr("django.core.mail.backends.locmem.EmailBackend.open", refused)
        deliver_due()
    notice = the_notice()
    assert (notice.sent_at, notice.error) == (None, "The mail server: SMTPServerDisconnected.")
    let_pass(5)
    deliver_due()
    assert [sent.to for sent in mail.outbox] == [["lee@example.com"]]


# -- webhooks


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Not to the tests' output."""

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.taken.append((self.headers.get("Gatehouse-Signature", ""), body))
        self.send_response(server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def hook() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.taken, server.status = [], 204
    server.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def is_genuine(header: str, body: bytes, key: str) -> bool:
    """As the documentation tells receivers to check it."""
    parts = dict(part.split("=", 1) for part in header.split(","))
    expected = hmac.new(key.encode(), parts["t"].encode() + b"." + body, sha256).hexdigest()
    return hmac.compare_digest(parts["v1"], expected)


def test_a_program_is_told_signed_and_without_arguments(hook: Any) -> None:
    world.webhook_channel(hook.url)
    row = ask(stated_reason="trust me")
    deliver_due()
    end(row)
    deliver_due()
    events = [json.loads(body) for _, body in hook.taken]
    assert [(event["event"], event["request"]["state"]) for event in events] == [
        ("approval.asked", "pending"),
        ("approval.ended", "denied"),
    ]
    assert all(is_genuine(header, body, world.WEBHOOK_KEY) for header, body in hook.taken)
    assert events[0]["request"]["url"].endswith(f"/approvals/{row.key}/")
    assert not {"arguments", "stated_reason"} & set(events[0]["request"])
    assert len({event["id"] for event in events}) == 2


def test_an_alarm_about_evidence_and_its_end_arrive_by_mail_and_at_a_program(hook: Any, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    User.objects.create_user("sam@example.com", is_staff=True, duties=[User.Duty.SECURITY])
    User.objects.create_user("stranger@example.com")
    world.webhook_channel(hook.url)
    Anchor.objects.create(name="tsa", kind="rfc3161", url="https://tsa.example", trust="PEM", failures=3)

    for _ in range(2):
        tasks.watch_evidence()
        tasks.send_notices()
    told = "The anchor tsa keeps no new checkpoint."
    [letter] = [sent for sent in mail.outbox if told in sent.body]
    assert (letter.to, letter.subject) == (["sam@example.com"], "Evidence needs you")
    [(header, body)] = [(header, body) for header, body in hook.taken if told in json.loads(body)["text"]]
    assert is_genuine(header, body, world.WEBHOOK_KEY)

    Anchor.objects.update(failures=0)
    tasks.watch_evidence()
    EvidenceIncident.objects.update(ended_at=datetime.now(UTC) - timedelta(hours=1))
    tasks.watch_evidence()
    tasks.send_notices()
    over = "The anchor tsa keeps checkpoints again"
    assert [sent.to for sent in mail.outbox if over in sent.body] == [["sam@example.com"]]
    assert [json.loads(body)["event"] for _, body in hook.taken if over in json.loads(body)["text"]] == [
        "gatehouse.evidence"
    ]


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 410])
def test_redirects_are_not_followed_and_what_is_wrong_shows(hook: Any, status: int) -> None:
    hook.status = status
    world.webhook_channel(hook.url)
    ask()
    deliver_due()
    assert len(hook.taken) == 1
    assert the_notice().given_up_at
    assert str(status) in the_notice().error


@given(body=st.binary(max_size=300), key=st.text(min_size=1, max_size=40), other=st.binary(max_size=300))
def test_a_signature_fits_its_body_and_key_and_nothing_else(body: bytes, key: str, other: bytes) -> None:
    header = signature(body, key=key, now=datetime.now(UTC))
    assert is_genuine(header, body, key)
    assert not is_genuine(header, body, key + "x")
    assert is_genuine(header, other, key) == (body == other)
