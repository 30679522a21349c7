"""A press of a button in Slack decides only when it is Slack's, fresh, once, and somebody's whom we know."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings as django_settings
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import OperationalError

from gateway import notices, tasks
from gateway.notices.delivery import deliver_due
from gateway.notices.slack_presses import BODY_BYTES, NotUnderstood, press_of
from gateway.notices.slack_signature import is_from_slack, signed
from governance.approval_rows import approval_digest
from governance.models import ApprovalRequest, NotificationChannel, User
from governance.snapshot_builder import build_snapshot
from tests.gateway import notice_world as world
from tests.gateway.fake_slack import FakeSlack, fake_slack

pytestmark = pytest.mark.django_db
IN_CHAT = world.LEADS | {"in_chat": True}


@pytest.fixture
def slack(settings: Any) -> Iterator[FakeSlack]:
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"),)
    with fake_slack() as server:
        yield server


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Works at once."""
    monkeypatch.setattr(tasks.whisper, "delay", tasks.whisper.run)


class World:
    """A request that was posted to a channel where lee is U0LEE."""

    def __init__(self, slack: FakeSlack, terms: dict[str, Any] = IN_CHAT, **channel: Any) -> None:
        self.slack = slack
        self.channel = world.slack_channel(slack.url, **({"allows_decisions": True} | channel))
        self.lee = world.lead()
        world.identity(self.channel, self.lee)
        self.row = world.request(world.agent(), terms)
        notices.asked(self.row, snapshot=build_snapshot(), now=datetime.now(UTC))
        deliver_due()

    def press(self, action: str = "approve", **changes: Any) -> Any:
        button = self.slack.buttons().get(action, {"value": ""})
        return send(body_of(action, value=button.get("value", ""), **changes))

    @property
    def state(self) -> str:
        return ApprovalRequest.objects.get(pk=self.row.pk).state


def body_of(
    action: str = "approve",
    *,
    value: str = "",
    account: str = "U0LEE",
    workspace: str = "T0EXAMPLE",
    at: str = "1700000001.1",
    ts: str = "1700000000.000100",
) -> bytes:
    payload = {
        "type": "block_actions",
        "team": {"id": workspace, "domain": "example"},
        "user": {"id": account, "username": "lee", "name": "lee"},
        "container": {"type": "message", "message_ts": ts, "channel_id": "C0123456789"},
        "actions": [{"action_id": action, "type": "button", "value": value, "action_ts": at}],
        "response_url": "https://evil.example/collect",
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def send(
    body: bytes, *, channel: str = "leads", key: str = world.SIGNING, late: float = 0, signature: str | None = None
) -> Any:
    moment = str(int(datetime.now(UTC).timestamp() - late))
    headers = {
        "X-Slack-Request-Timestamp": moment,
        "X-Slack-Signature": signed(body, timestamp=moment, key=key) if signature is None else signature,
    }
    client = Client(enforce_csrf_checks=True)
    kind = "application/x-www-form-urlencoded"
    return client.post(f"/slack/interactions/{channel}", body, content_type=kind, headers=headers)


def test_a_press_decides_and_rewrites_the_message(slack: FakeSlack) -> None:
    desk = World(slack)
    assert desk.press().status_code == 200
    assert desk.state == "approved"
    decision = desk.row.decisions.get()
    assert (decision.person, decision.channel, decision.verdict) == ("lee@example.com", "slack", "approve")
    deliver_due()
    assert set(slack.buttons()) == {"open"}
    assert "approved" in slack.text()


def test_no_is_a_press_as_well(slack: FakeSlack) -> None:
    desk = World(slack)
    assert desk.press("deny").status_code == 200
    assert desk.state == "denied"


@pytest.mark.parametrize(
    "forged",
    [
        {"key": "another"},
        {"signature": ""},
        {"signature": "v0=é"},
        {"late": 301},
        {"late": -301},
        {"channel": "nowhere"},
    ],
)
def test_what_slack_did_not_sign_just_now_is_not_even_read(slack: FakeSlack, forged: dict[str, Any]) -> None:
    desk = World(slack)
    value = slack.buttons()["approve"]["value"]
    assert send(body_of(value=value), **forged).status_code == 401
    assert desk.state == "pending"


def test_a_channel_without_signing_secret_or_switched_off_takes_nothing(slack: FakeSlack) -> None:
    desk = World(slack)
    NotificationChannel.objects.update(is_enabled=False)
    assert desk.press().status_code == 401
    NotificationChannel.objects.update(is_enabled=True, signing_secret=None)
    assert send(body_of(), key="").status_code == 401
    assert desk.state == "pending"


def test_the_same_press_counts_once(slack: FakeSlack) -> None:
    desk = World(slack, world.LEADS | {"in_chat": True, "count": 2})
    assert desk.press().status_code == 200
    assert desk.press().status_code == 409
    assert desk.row.decisions.count() == 1


def test_a_press_of_somebody_unknown_decides_nothing_whatever_she_is_called(slack: FakeSlack) -> None:
    desk = World(slack)
    for stranger in ({"account": "U0EVE"}, {"workspace": "T0OTHER"}):
        assert desk.press(**stranger).status_code == 200
        assert "does not know" in slack.whispers[-1]["text"]
    assert desk.state == "pending"
    desk.lee.is_active = False
    desk.lee.save()
    desk.press(at="9.9")
    assert desk.state == "pending"


def test_an_account_of_one_channel_is_nobody_in_another(slack: FakeSlack) -> None:
    desk = World(slack)
    desk.channel.identities.all().delete()
    world.identity(world.slack_again(slack.url), desk.lee)
    desk.press()
    assert desk.state == "pending"


def test_who_may_not_decide_is_told_so(slack: FakeSlack) -> None:
    desk = World(slack)
    other = User.objects.create_user("mallory@example.com")
    world.identity(desk.channel, other, account="U0MAL")
    desk.press(account="U0MAL")
    assert desk.state == "pending"
    assert "may not decide" in slack.whispers[-1]["text"]


@pytest.mark.parametrize("terms", [world.LEADS, IN_CHAT | {"step_up": "5m"}, IN_CHAT | {"reason": "required"}])
def test_a_forged_button_does_not_make_up_for_the_rule(slack: FakeSlack, terms: dict[str, Any]) -> None:
    desk = World(slack, terms)
    send(body_of(value=button_value(desk.row)))
    assert desk.state == "pending"
    assert "on its page" in slack.whispers[-1]["text"]


def button_value(row: ApprovalRequest) -> str:
    return f"{row.key}:{approval_digest(row).hex()}:{row.revision}"


def test_a_button_of_before_the_arguments_were_narrowed_decides_nothing(slack: FakeSlack) -> None:
    desk = World(slack)
    ApprovalRequest.objects.update(call_digest=bytes(32), revision=1)
    desk.press()
    assert desk.state == "pending"
    assert "has changed" in slack.whispers[-1]["text"]


def test_a_press_on_a_message_that_is_over_rewrites_that_message(slack: FakeSlack) -> None:
    """Its sending may not have been noted: a worker died just then."""
    desk = World(slack)
    stale = slack.buttons()["approve"]["value"]
    world.end(desk.row)
    orphan = "1600000000.000100"
    slack.messages[orphan] = {"blocks": []}
    send(body_of(value=stale, ts=orphan))
    assert set(slack.buttons(orphan)) == {"open"}
    assert "over already" in slack.whispers[-1]["text"]


def test_opening_the_page_is_no_decision(slack: FakeSlack) -> None:
    desk = World(slack)
    assert desk.press("open").status_code == 200
    assert desk.state == "pending"
    assert slack.whispers == []


def test_it_answers_although_the_broker_is_down(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(**_: Any) -> None:
        raise OperationalError

    desk = World(slack)
    monkeypatch.setattr(tasks.whisper, "delay", down)
    assert desk.press(account="U0EVE").status_code == 200


def test_a_body_too_large_is_not_read_whole(slack: FakeSlack) -> None:
    World(slack)
    assert send(b"payload=" + b"x" * BODY_BYTES).status_code == 413


def test_only_a_post_means_anything() -> None:
    assert Client().get("/slack/interactions/leads").status_code == 405


@given(st.binary(max_size=200) | st.text().map(lambda text: urlencode({"payload": text}).encode()))
def test_whatever_comes_is_a_press_or_not_understood(body: bytes) -> None:
    with pytest.raises(NotUnderstood):
        press_of(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "team", "user", "id", "actions", "container", "value"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_json_breaks_the_reading(payload: Any) -> None:
    with pytest.raises(NotUnderstood):
        press_of(urlencode({"payload": json.dumps(payload)}).encode())


@given(
    body=st.binary(max_size=200),
    moment=st.integers(1_000_000_000, 2_000_000_000),
    late=st.integers(-1000, 1000),
    flip=st.integers(0, 1999),
)
def test_a_signature_holds_for_its_body_and_five_minutes(body: bytes, moment: int, late: int, flip: int) -> None:
    now = datetime.fromtimestamp(moment + late, UTC)
    signature = signed(body, timestamp=str(moment), key=world.SIGNING)

    def holds(body: bytes, timestamp: str, signature: str) -> bool:
        return is_from_slack(body, timestamp=timestamp, signature=signature, key=world.SIGNING, now=now)

    assert holds(body, str(moment), signature) == (abs(late) <= 300)
    assert not holds(body + b"x", str(moment), signature)
    assert not holds(body, str(moment + 1), signature)
    changed = flip % len(signature)
    assert not holds(
        body, str(moment), signature[:changed] + chr(ord(signature[changed]) ^ 1) + signature[changed + 1 :]
    )


def test_it_is_the_only_door_without_a_token() -> None:
    """Others take a session with a CSRF token, or a bearer token."""
    assert "django.middleware.csrf.CsrfViewMiddleware" in django_settings.MIDDLEWARE
    assert Client(enforce_csrf_checks=True).post("/account/login/", {}).status_code == 403
