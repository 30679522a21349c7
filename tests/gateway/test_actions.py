"""Keys, freezes and offboarding through the cross-room verbs, against a real database."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from audit.models import EventRow
from gateway import actions, offboardings
from gateway.models import GatewayProcess
from governance.agent_keys import NotIssuable, key_digest, looks_like_key, new_key
from governance.freezes import FreezeTarget, NoSuchTarget
from governance.models import Agent, AgentCredential, Change, Epoch, Freeze, Role, Team, User
from governance.offboarding import CannotOffboard, Plan
from governance.snapshot_builder import build_snapshot

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BY = "person:owner@example.com"


@pytest.fixture
def ana() -> User:
    """A plain person in a team, with a role of her own, who owns one agent."""
    User.objects.create_superuser("owner@example.com")
    ana = User.objects.create_user("ana@example.com", name="Ana Lima", is_staff=True, duties=["approver"])
    ana.teams.add(Team.objects.create(name="support"))
    ana.roles.add(Role.objects.create(name="people-role"))
    Agent.objects.create(name="triage-bot", owner=ana)
    return ana


def triage_bot() -> Agent:
    return Agent.objects.get(name="triage-bot")


def issue(expires_in: timedelta | None = None) -> actions.IssuedKey:
    return actions.issue_key(triage_bot(), by=BY, expires_in=expires_in)


def kinds() -> list[str]:
    """Oldest first."""
    return list(EventRow.objects.exclude(kind="governance.changed").order_by("at").values_list("kind", flat=True))


def test_keys_are_recognisable_and_unlike() -> None:
    key = new_key()
    assert looks_like_key(key)
    assert not looks_like_key(key[:-1] + ("0" if key[-1] != "0" else "1"))
    assert not looks_like_key("gate_ak_")
    assert new_key() != key


def test_a_key_is_kept_only_as_its_digest(ana: User) -> None:
    issued = issue()
    stored = AgentCredential.objects.get()
    assert bytes(stored.digest) == key_digest(issued.key)
    assert issued.key not in repr(issued)
    told = b"".join(bytes(header) for header in EventRow.objects.values_list("header", flat=True))
    logged = "".join(after or "" for after in Change.objects.values_list("after", flat=True))
    assert issued.key.encode() not in told
    assert key_digest(issued.key).hex() not in told.decode() + logged
    assert build_snapshot().credentials[key_digest(issued.key)].agent_id == triage_bot().id.hex


def test_a_key_may_expire(ana: User) -> None:
    credential = issue(timedelta(days=30)).credential
    assert credential.expires_at is not None
    assert timedelta(days=29) < credential.expires_at - datetime.now(UTC) < timedelta(days=31)


@pytest.mark.parametrize("change", [{"status": "suspended"}, {"status": "retired"}])
def test_only_a_live_agent_gets_a_key(ana: User, change: dict[str, str]) -> None:
    Agent.objects.update(**change)
    with pytest.raises(NotIssuable, match="not live"):
        issue()


def test_revoking_ends_a_key_once(ana: User) -> None:
    credential = issue().credential
    assert actions.revoke_key(credential, by=BY)
    assert not actions.revoke_key(credential, by=BY)
    assert build_snapshot().credentials == {}
    assert kinds() == ["key.issued", "key.revoked"]


def test_retiring_an_agent_ends_its_keys(ana: User) -> None:
    issue(), issue()
    assert actions.retire_agent(triage_bot(), by=BY) == 2
    view = build_snapshot()
    assert view.credentials == {}
    assert not view.agents[triage_bot().id.hex].is_live


def test_every_change_names_who_made_it(ana: User) -> None:
    before = Change.objects.latest("id").id, set(EventRow.objects.values_list("id", flat=True))
    actions.retire_agent(triage_bot(), by=BY)
    assert set(Change.objects.filter(id__gt=before[0]).values_list("actor", flat=True)) == {BY}
    assert set(EventRow.objects.exclude(id__in=before[1]).values_list("kind", "actor")) == {
        ("governance.changed", BY),
        ("agent.retired", BY),
    }


def test_a_freeze_is_set_and_lifted(ana: User) -> None:
    target = FreezeTarget(agent="triage-bot")
    actions.freeze(target, by=BY, lasting=timedelta(hours=1), reason="incident")
    assert len(build_snapshot().freezes) == 1
    assert actions.unfreeze(FreezeTarget(), by=BY) == 0
    assert actions.unfreeze(target, by=BY) == 1
    assert build_snapshot().freezes == ()
    with pytest.raises(NoSuchTarget):
        actions.freeze(FreezeTarget(agent="nobody"), by=BY, lasting=None, reason="")


def test_a_preview_changes_nothing(ana: User) -> None:
    issue()
    before = Change.objects.count()
    items = offboardings.preview(ana, plan=Plan())
    assert [item.kind for item in items] == [
        "person",
        "agent",
        "agent key",
        "team membership",
        "role",
        "admin rights",
    ]
    assert Change.objects.count() == before


def test_offboarding_ends_all_that_hangs_on_a_person(ana: User) -> None:
    issue()
    done = offboardings.offboard(ana, plan=Plan(), by=BY)
    ana.refresh_from_db()
    assert (ana.is_active, ana.is_staff, ana.duties) == (False, False, [])
    assert not ana.teams.exists()
    assert not ana.roles.exists()
    assert triage_bot().status == Agent.Status.SUSPENDED
    assert build_snapshot().credentials == {}
    assert done.state == "enforced"
    assert kinds()[-2:] == ["person.offboarded", "offboarding.completed"]


def test_a_successor_gets_the_agents_but_not_the_keys(ana: User) -> None:
    issue()
    heir = User.objects.create_user("heir@example.com")
    done = offboardings.offboard(ana, plan=Plan(heir.email), by=BY)
    assert (triage_bot().owner, triage_bot().status) == (heir, Agent.Status.LIVE)
    assert build_snapshot().credentials == {}
    assert json.loads(done.receipt)["successor"] == "heir@example.com"


def test_who_cannot_be_offboarded_or_succeed(ana: User) -> None:
    owner = User.objects.get(email="owner@example.com")
    with pytest.raises(CannotOffboard, match="last owner"):
        offboardings.offboard(owner, plan=Plan(), by=BY)
    with pytest.raises(CannotOffboard, match="another, active person"):
        offboardings.offboard(ana, plan=Plan(ana.email), by=BY)
    ana.refresh_from_db()
    assert ana.is_active


def test_offboarding_is_not_done_before_every_live_gateway_confirms(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offboardings, "ENFORCE_SECONDS", 0.2)
    now = datetime.now(UTC)
    silent = GatewayProcess.objects.create(host="h", pid=1, started_at=now, beat_at=now, applied_epoch=0)
    done = offboardings.offboard(ana, plan=Plan(), by=BY)
    assert done.state == "incomplete"
    assert (done.enforcement["gateways"]["live"], done.enforcement["gateways"]["confirmed"]) == (1, 0)
    GatewayProcess.objects.filter(id=silent.id).update(applied_epoch=Epoch.objects.get().number)
    assert offboardings.follow(done.id).state == "enforced"


def test_commands_name_what_is_wrong(ana: User) -> None:
    for arguments, message in (
        (("issue_key", "nobody"), "There is no agent 'nobody'"),
        (("issue_key", "triage-bot", "--expires", "soon"), "'soon' is no duration"),
        (("issue_key", "triage-bot", "--actor", "ghost@example.com"), "There is no person"),
        (("revoke_key", "not-a-uuid"), "not-a-uuid"),
        (("freeze", "--connector", "nothing"), "There is no such target: connector nothing"),
        (("explain", "--agent", "triage-bot", "--tool", "x", "--args", "[1]"), "must be a JSON object"),
        (("explain", "--agent", "triage-bot", "--tool", "x", "--args", '{"a":1,"a":2}'), "--args"),
        (("explain", "--agent", "nobody", "--tool", "x"), "There is no agent 'nobody'"),
    ):
        with pytest.raises(CommandError, match=message.replace("'", ".")):
            call_command(*arguments)


def test_everything_frozen_by_command(ana: User, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("freeze", "--everything", "--for", "1h")
    assert "Frozen: everything" in capsys.readouterr().out
    assert Freeze.objects.get().target == "everything"
