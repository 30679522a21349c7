"""What an offboarding leaves for later, how its receipt goes on, and how it is taken back."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from audit.checkpoint import BadNote, installation_signer, installation_verifier
from audit.models import EventRow
from gateway import actions, offboarding_receipts, offboarding_steps, offboardings
from governance import rotation, vault
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    AgentCredential,
    Offboarding,
    OffboardingStep,
    PersonalToken,
    Role,
    RotationTask,
    Secret,
    Team,
    User,
)
from governance.offboarding import Plan
from governance.offboarding_undo import CannotUndo

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BY = "person:owner@example.com"


@pytest.fixture
def owner() -> User:
    return User.objects.create_superuser("owner@example.com")


@pytest.fixture
def ana(owner: User) -> User:
    """Owns an agent with a key, is in a team, has a role, a token and duties."""
    ana = User.objects.create_user("ana@example.com", name="Ana Lima", is_staff=True, duties=["approver"])
    ana.teams.add(Team.objects.create(name="support"))
    ana.roles.add(Role.objects.create(name="people-role"))
    actions.issue_key(Agent.objects.create(name="triage-bot", owner=ana), by=BY, expires_in=None)
    actions.issue_token(ana, name="cron", scopes=["read"], by=BY, lifetime=timedelta(days=9))
    return ana


@pytest.fixture
def heir() -> User:
    return User.objects.create_user("heir@example.com")


def put_secret(by: User, name: str = "helpdesk-token") -> Secret:
    secret, _ = Secret.objects.get_or_create(name=name)
    who = f"person:{by.email}"
    actions.act(
        lambda record, now: vault.put_secret_value(secret, value="s3cret-value", by=who, record=record, now=now), by=who
    )
    return secret


def off(person: User, plan: Plan | None = None) -> Offboarding:
    return offboardings.offboard(person, plan=plan or Plan(), by=BY)


def later(**lasting: float) -> None:
    """So much time goes by for what waits."""
    waited = timedelta(**lasting)
    OffboardingStep.objects.filter(state="waiting").update(next_try_at=datetime.now(UTC))
    for row in Offboarding.objects.exclude(withdrawn_at=None):
        undo_until = row.undo_until and row.undo_until - waited
        Offboarding.objects.filter(id=row.id).update(withdrawn_at=row.withdrawn_at - waited, undo_until=undo_until)


def step(kind: str) -> OffboardingStep:
    return OffboardingStep.objects.get(kind=kind)


def told(kind: str) -> list[dict[str, object]]:
    rows = EventRow.objects.filter(kind=kind).order_by("id")
    return [json.loads(bytes(row.header))["details"] for row in rows]


def test_an_agent_that_nobody_takes_over_is_retired_in_the_end(ana: User) -> None:
    off(ana)
    offboardings.take_up_what_is_left()
    assert (step("retire_agent").state, Agent.objects.get().status) == ("waiting", "suspended")
    later(days=31)
    offboardings.take_up_what_is_left()
    assert (step("retire_agent").state, Agent.objects.get().status) == ("done", "retired")
    assert told("offboarding.step_done")[-1]["name"] == "triage-bot"
    receipt = json.loads(Offboarding.objects.get().receipt)
    (agent,) = [item for item in receipt["items"] if item["kind"] == "agent"]
    assert (receipt["edition"], agent["result"], agent["todo"]) == (
        3,
        "retired: nobody took it over within 30 days",
        "",
    )


def test_an_agent_that_somebody_took_over_lives(ana: User, heir: User) -> None:
    off(ana)
    actions.transfer_agent(Agent.objects.get(), to=heir, ends_keys=True, by=BY)
    later(days=31)
    offboardings.take_up_what_is_left()
    assert (step("retire_agent").state, Agent.objects.get().status) == ("void", "suspended")


def test_secrets_she_knew_are_queued_and_done_when_replaced(ana: User, owner: User) -> None:
    put_secret(ana)
    put_secret(owner, "other-token")
    off(ana)
    offboardings.take_up_what_is_left()
    task = RotationTask.objects.get()
    assert (task.subject_name, task.reason, task.owner) == ("helpdesk-token", "offboarding", owner)
    assert step("rotate_secret").due_at == task.due_at
    put_secret(owner)
    later(minutes=20)
    OffboardingStep.objects.filter(kind="rotate_secret").update(next_try_at=datetime.now(UTC))
    Offboarding.objects.update(withdrawn_at=datetime.now(UTC) - timedelta(hours=1))
    offboardings.take_up_what_is_left()
    assert (step("rotate_secret").state, step("rotate_secret").result) == ("done", "replaced: version 2")


def test_a_secret_she_set_under_an_earlier_address_is_queued_too(ana: User, owner: User) -> None:
    """Directories rename people; evidence goes on to name them as they were."""
    put_secret(ana)
    put_secret(owner, "other-token")
    with governed_change(by=BY):
        User.objects.filter(pk=ana.pk).update(email="ana.lima@example.com")
    off(User.objects.get(pk=ana.pk))
    offboardings.take_up_what_is_left()
    assert RotationTask.objects.get().subject_name == "helpdesk-token"


def test_a_key_she_issued_for_somebody_else_lives_until_it_is_replaced(ana: User, heir: User) -> None:
    others = Agent.objects.create(name="heir-bot", owner=heir)
    issued = actions.issue_key(others, by="person:ana@example.com", expires_in=None)
    done = off(ana)
    offboardings.take_up_what_is_left()
    assert AgentCredential.objects.get(id=issued.credential.id).revoked_at is None
    assert RotationTask.objects.get().owner == heir
    assert "may have kept a copy" in done.receipt
    actions.revoke_key(issued.credential, by=BY)
    later(minutes=20)
    offboardings.take_up_what_is_left()
    assert step("rotate_key").state == "done"


def test_what_she_was_to_replace_goes_back_to_the_queue(ana: User, owner: User) -> None:
    secret = put_secret(owner)
    actions.act(
        lambda record, now: rotation.ask_for(
            rotation.of_secret(secret), reason="asked", by=BY, record=record, now=now, owner=ana
        ),
        by=BY,
    )
    off(ana)
    assert RotationTask.objects.get().owner is None


def test_a_worker_that_dies_is_followed_by_another(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had leased the step; nobody else takes it up until the lease is over."""
    off(ana)

    def dies(*_: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(offboarding_steps, "DOERS", {"retire_agent": dies})
        with pytest.raises(KeyboardInterrupt):
            offboardings.take_up_what_is_left()
    offboardings.take_up_what_is_left()
    assert (step("retire_agent").state, step("retire_agent").todo) == ("waiting", "")
    later(days=31)
    offboardings.take_up_what_is_left()
    assert step("retire_agent").state == "done"


def test_a_step_that_fails_is_tried_again_and_then_left_to_a_human(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    off(ana)

    def fails(*_: object) -> object:
        raise RuntimeError("a secret stands in here")

    monkeypatch.setattr(offboarding_steps, "DOERS", {"retire_agent": fails})
    for _ in range(11):
        offboardings.take_up_what_is_left()
        assert step("retire_agent").state == "waiting"
        later(minutes=1)
    offboardings.take_up_what_is_left()
    found = step("retire_agent")
    assert (found.state, found.todo) == ("manual", "do it by hand: RuntimeError")
    assert told("offboarding.step_left")
    receipt = Offboarding.objects.get().receipt
    assert "do it by hand" in receipt
    assert "a secret stands in here" not in receipt


# -- the signature


def test_a_receipt_is_signed_and_anybody_can_check_it(ana: User, tmp_path: Path) -> None:
    done = off(ana)
    paper = tmp_path / "receipt.json"
    paper.write_text(done.receipt)
    (tmp_path / "receipt.json.sig").write_text(done.signature)
    call_command("verify_receipt", str(paper))
    call_command("verify_receipt", str(paper), "--key", str(installation_verifier()))
    paper.write_text(done.receipt.replace("ana@example.com", "eve@example.com"))
    with pytest.raises(CommandError, match="NOT SOUND"):
        call_command("verify_receipt", str(paper))


def test_a_signature_is_of_one_edition_and_never_of_a_checkpoint(ana: User) -> None:
    done = off(ana)
    verifier, signer = installation_verifier(), installation_signer()
    assert verifier is not None
    with pytest.raises(BadNote, match="not a checkpoint"):
        verifier.open(done.signature)
    with pytest.raises(BadNote, match="of another receipt"):
        offboarding_receipts.verify_receipt(done.receipt.encode(), signer.sign(size=3, root=b"r" * 32), verifier)
    later(days=31)
    offboardings.take_up_what_is_left()
    second = Offboarding.objects.get()
    assert json.loads(second.receipt)["replaces"] == hashlib.sha256(done.receipt.encode()).hexdigest()
    with pytest.raises(BadNote):
        offboarding_receipts.verify_receipt(second.receipt.encode(), done.signature, verifier)
    assert offboarding_receipts.verify_receipt(second.receipt.encode(), second.signature, verifier)["edition"] == 2


def test_a_receipt_that_could_not_be_signed_is_signed_later(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(offboarding_receipts, "installation_signer", _away)
        done = off(ana)
    assert (done.state, done.signature) == ("enforced", "")
    offboardings.take_up_what_is_left()
    assert Offboarding.objects.get().signature.endswith("\n")


def _away() -> object:
    raise OSError("the key is away")


# -- undoing


def test_undone_she_is_who_she_was_without_any_credential(ana: User, owner: User, heir: User) -> None:
    Agent.objects.create(name="night-bot", owner=ana)
    done = off(ana, Plan(agents={"triage-bot": heir.email}))
    back = offboardings.undo_offboarding(done, acting=owner, by=BY)
    ana.refresh_from_db()
    assert (ana.is_active, ana.is_staff, ana.duties, ana.is_superuser) == (True, True, ["approver"], False)
    assert list(ana.teams.values_list("name", flat=True)) == ["support"]
    assert list(ana.roles.values_list("name", flat=True)) == ["people-role"]
    assert dict(Agent.objects.values_list("name", "owner__email")) == dict.fromkeys(back.agents, ana.email)
    assert set(Agent.objects.values_list("status", flat=True)) == {"live"}
    assert not AgentCredential.objects.filter(revoked_at=None).exists()
    assert not PersonalToken.objects.filter(revoked_at=None).exists()
    assert not ana.has_usable_password()
    assert not OffboardingStep.objects.filter(state="waiting").exists()
    assert told("offboarding.undone")[0]["agents"] == ["night-bot", "triage-bot"]


def test_who_is_no_owner_gives_no_rights_back(ana: User) -> None:
    noor = User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"])
    back = offboardings.undo_offboarding(off(ana), acting=noor, by="person:noor@example.com")
    ana.refresh_from_db()
    assert (ana.is_active, ana.is_staff, ana.duties) == (True, False, [])
    assert "only an owner" in " ".join(back.stays)


def test_an_owner_is_brought_back_by_an_owner_only(ana: User, owner: User) -> None:
    second = User.objects.create_superuser("second@example.com")
    noor = User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"])
    done = off(second)
    with pytest.raises(CannotUndo, match="Only an owner"):
        offboardings.undo_offboarding(done, acting=noor, by="person:noor@example.com")
    offboardings.undo_offboarding(done, acting=owner, by=BY)
    second.refresh_from_db()
    assert second.is_superuser


def test_what_became_of_an_agent_meanwhile_stays(ana: User, owner: User, heir: User) -> None:
    done = off(ana)
    actions.transfer_agent(Agent.objects.get(), to=heir, ends_keys=True, by=BY)
    back = offboardings.undo_offboarding(done, acting=owner, by=BY)
    assert (back.agents, Agent.objects.get().owner) == ((), heir)
    assert back.stays == ("agent triage-bot: heir@example.com has it now",)


def test_after_its_days_or_twice_it_cannot_be_undone(ana: User, owner: User) -> None:
    done = off(ana)
    later(days=15)
    with pytest.raises(CannotUndo, match="time"):
        offboardings.undo_offboarding(done, acting=owner, by=BY)
    Offboarding.objects.update(undo_until=datetime.now(UTC) + timedelta(days=1))
    offboardings.undo_offboarding(done, acting=owner, by=BY)
    with pytest.raises(CannotUndo, match="undone"):
        offboardings.undo_offboarding(done, acting=owner, by=BY)


def test_nothing_is_retired_for_an_offboarding_that_was_undone(ana: User, owner: User) -> None:
    """Not even by a worker that took the step up before."""
    done = off(ana)
    stale = step("retire_agent")
    offboardings.undo_offboarding(done, acting=owner, by=BY)
    Offboarding.objects.update(withdrawn_at=datetime.now(UTC) - timedelta(days=40))
    assert offboarding_steps._done(stale) is False
    assert Agent.objects.get().status == "live"


def test_a_rehire_gets_nothing_back(ana: User) -> None:
    off(ana)
    User.objects.filter(id=ana.id).update(is_active=True)
    ana.refresh_from_db()
    assert (ana.teams.count(), ana.roles.count(), ana.duties, ana.is_staff) == (0, 0, [], False)
    assert not AgentCredential.objects.filter(revoked_at=None).exists()
    assert Agent.objects.get().status == "suspended"


# -- whoever says it twice


def test_said_twice_it_is_done_once(ana: User, heir: User) -> None:
    User.objects.filter(id=ana.id).update(manager=heir)
    first = offboardings.offboard_once(ana, by="directory:okta", reason="active=false")
    again = offboardings.offboard_once(User.objects.get(id=ana.id), by="directory:okta", reason="deleted")
    assert first.id == again.id
    assert (Agent.objects.get().owner, first.reason) == (heir, "active=false")
    offboardings.follow(first.id)
    assert offboardings.offboard_once(User.objects.get(id=ana.id), by="directory:okta", reason="x").id == first.id


def test_said_again_of_somebody_who_came_back_it_is_done_again(ana: User) -> None:
    first = off(ana)
    User.objects.filter(id=ana.id).update(is_active=True)
    again = offboardings.offboard_once(User.objects.get(id=ana.id), by="directory:okta", reason="active=false")
    assert first.id != again.id
    ana.refresh_from_db()
    assert not ana.is_active


def test_a_plan_for_later_is_taken_over(ana: User) -> None:
    due_at = datetime.now(UTC) + timedelta(days=3)
    planned = offboardings.schedule_offboarding(ana, plan=Plan(), due_at=due_at, by=BY)
    begun = offboardings.offboard_once(ana, by="directory:okta", reason="active=false")
    assert (begun.id, begun.created_by) == (planned.id, "directory:okta")
