"""The second phase: the worker takes up what an offboarding left, one step at a time, until none waits.

A step is leased before it is looked at, so that a worker that is killed loses nothing: another looks again. A doer may
therefore be asked twice, and asks the world before it acts. None holds a transaction while it waits for a network.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings

from gateway import live_probe
from gateway.actions import act
from governance import agent_keys, rotation
from governance.facts import Recorder
from governance.models import (
    Agent,
    AgentCredential,
    DirectoryToken,
    Offboarding,
    OffboardingStep,
    RotationTask,
    Secret,
    SecretVersion,
    UpstreamGrant,
    User,
)
from governance.offboarding_findings import END_ACCOUNT, PROVE, RETIRE, ROTATE_KEY, ROTATE_SCIM_TOKEN, ROTATE_SECRET
from governance.offboarding_steps import (
    Progress,
    done,
    due_steps,
    later,
    left,
    note,
    note_failure,
    take,
    void,
)

logger = logging.getLogger(__name__)

BY = "system:offboarding"
AT_ONCE = 100
LOOK_AGAIN = timedelta(minutes=15)
ASK_AGAIN = timedelta(minutes=1)
REPLACED_WITHIN = timedelta(days=7)
"""By when what she knew is to be replaced."""
RETIRE_AFTER = timedelta(days=settings.OFFBOARDING_RETIRE_DAYS)

Doer = Callable[[OffboardingStep, Recorder, datetime], Progress]


def take_up_steps() -> set[UUID]:
    """Looks at what is due; returns the offboardings of which something moved on. Safe anywhere, at any time."""
    moved = set()
    for step in list(due_steps(datetime.now(UTC))[:AT_ONCE]):
        if take(step, now=datetime.now(UTC)) and _done(step):
            moved.add(step.offboarding_id)
    return moved


def _done(step: OffboardingStep) -> bool:
    """In one transaction with what was looked at, so that nothing is done for an offboarding that was just undone."""
    doer = DOERS.get(step.kind)

    def work(record: Recorder, now: datetime) -> bool:
        held = OffboardingStep.objects.select_for_update().get(id=step.id)
        if held.state != OffboardingStep.State.WAITING:
            return False
        progress = doer(step, record, now) if doer else left("do it by hand: this version does not know how")
        return note(step, progress, by=BY, record=record, now=now) and progress.state != held.state

    try:
        return act(work, by=BY)
    except Exception as error:
        problem = type(error).__name__
        logger.warning("offboarding step %s %s: %s", step.kind, step.id, problem, exc_info=error)
        act(lambda record, now: note_failure(step, problem, by=BY, record=record, now=now), by=BY)
        return False


# -- who does what


def retire_agent(step: OffboardingStep, record: Recorder, now: datetime) -> Progress:
    """Nobody took it over, so that nobody answers for it: it ends."""
    agent = Agent.objects.select_for_update().filter(id=step.subject_id).first()
    if agent is None or agent.status == Agent.Status.RETIRED:
        return done("it is retired")
    if agent.owner_id != step.offboarding.person_id:
        return void(f"{_email(agent.owner)} took it over")
    if agent.status != Agent.Status.SUSPENDED:
        return void("somebody resumed it")
    withdrawn_at = step.offboarding.withdrawn_at or now
    if now < withdrawn_at + RETIRE_AFTER:
        due_at = withdrawn_at + RETIRE_AFTER
        return later(min(due_at, now + LOOK_AGAIN), todo="choose an owner, or it is retired", due_at=due_at)
    agent_keys.retire_agent(agent, by=BY, record=record, now=now)
    return done(f"retired: nobody took it over within {RETIRE_AFTER.days} days")


def rotate_key(step: OffboardingStep, record: Recorder, now: datetime) -> Progress:
    """It lives on until its agent has another: a human puts that where it is used."""
    key = AgentCredential.objects.select_related("agent__owner").filter(id=step.subject_id).first()
    if key is None or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        return done("it has ended")
    return _in_queue(step, rotation.of_credential(key), key.agent.owner, record, now)


def rotate_secret(step: OffboardingStep, record: Recorder, now: datetime) -> Progress:
    secret = Secret.objects.filter(id=step.subject_id).first()
    if secret is None:
        return done("it was removed")
    live = SecretVersion.objects.filter(secret=secret, retired_at=None).only("created_at", "number").first()
    if live is not None and step.offboarding.withdrawn_at and live.created_at > step.offboarding.withdrawn_at:
        return done(f"replaced: version {live.number}")
    return _in_queue(step, rotation.of_secret(secret), _who_asked(step), record, now)


def rotate_scim_token(step: OffboardingStep, record: Recorder, now: datetime) -> Progress:
    token = DirectoryToken.objects.filter(id=step.subject_id).first()
    if token is None or token.revoked_at is not None:
        return done("it has ended")
    subject = rotation.Subject(RotationTask.Subject.SCIM_TOKEN, token.pk, str(token))
    return _in_queue(step, subject, _who_asked(step), record, now)


def _in_queue(
    step: OffboardingStep, subject: rotation.Subject, owner: User | None, record: Recorder, now: datetime
) -> Progress:
    """One task in the rotation queue, whose end is this step's."""
    about = f"offboarding:{step.offboarding_id}"
    tasks = RotationTask.objects.filter(about=about, subject_kind=subject.kind, subject_id=subject.id)
    over = tasks.exclude(state=RotationTask.State.OPEN).order_by("-done_at").first()
    if over is not None:
        return done(f"{over.get_state_display().lower()} in the rotation queue by {over.done_by}")
    due_at = (step.offboarding.withdrawn_at or now) + REPLACED_WITHIN
    heir = owner if owner is not None and owner.is_active else None
    task = rotation.ask_for(
        subject,
        reason=RotationTask.Reason.OFFBOARDING,
        by=BY,
        record=record,
        now=now,
        due_at=due_at,
        owner=heir,
        note=f"{step.offboarding.person.email} knew it and has left.",
        about=about,
    )
    return later(now + LOOK_AGAIN, todo="replace it", owner=task.owner, due_at=task.due_at)


def end_account(step: OffboardingStep, record: Recorder, now: datetime) -> Progress:
    """Another worker speaks to the provider; here is only seen what came of it."""
    account = UpstreamGrant.objects.filter(id=step.subject_id).first()
    if account is None:
        return done("nothing of it is kept")
    state = account.revocation
    if state == UpstreamGrant.Revocation.DUE:
        return later(now + timedelta(seconds=20))
    if state == UpstreamGrant.Revocation.MANUAL:
        return later(now + LOOK_AGAIN, todo=account.revocation_note or "revoke it at the provider", due_at=None)
    return done(account.revocation_note or "revoked at the provider" if state else "there was nothing to revoke")


def prove(step: OffboardingStep, record: Recorder, now: datetime) -> Progress:
    """Every live gateway is asked, and looked at again for its answer; here is not waited."""
    if step.offboarding.state == Offboarding.State.ENFORCING:
        return later(now)
    wanted = live_probe.subjects(step.offboarding.items)
    probe = live_probe.last_asked(asker_of(step.offboarding_id))
    if probe is None or probe.asked_at < now - ASK_AGAIN:
        probe = live_probe.ask(wanted, by=asker_of(step.offboarding_id))
    said = live_probe.words(probe)
    if any(word.tried is None for word in said):
        return later(now + timedelta(seconds=2))
    if still := sorted({name for word in said for name in word.live}):
        return left(f"{len(still)} of them still work: revoke them, and check again", result=", ".join(still[:5]))
    if not said:
        return done("no gateway was running that could let anything in")
    tried = min(word.tried or 0 for word in said)
    return done(f"{tried:,} keys and tokens tried in {len(said)} of {len(said)} gateways: none works")


def asker_of(offboarding_id: UUID) -> str:
    return f"offboarding:{offboarding_id}"


def _who_asked(step: OffboardingStep) -> User | None:
    kind, _, email = step.offboarding.created_by.partition(":")
    asked = User.objects.filter(email__iexact=email, is_active=True).first() if kind == "person" else None
    return asked or User.objects.filter(is_superuser=True, is_active=True).order_by("created_at").first()


def _email(person: User) -> str:
    return person.email


DOERS: Mapping[str, Doer] = {
    RETIRE: retire_agent,
    ROTATE_KEY: rotate_key,
    ROTATE_SECRET: rotate_secret,
    ROTATE_SCIM_TOKEN: rotate_scim_token,
    END_ACCOUNT: end_account,
    PROVE: prove,
}
"""By `OffboardingStep.kind`, which is what a finding calls its `step`."""
