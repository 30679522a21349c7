"""The brake: an identity provider that suddenly takes away from many at once is mostly one that was set wrongly.

What a few people lose happens at once. What goes beyond is kept waiting, whole, until a human has looked: the
directory is answered that it was done, because it would only try again.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from uuid import UUID

from governance.directory_gifts import apply_all, gifts_of, in_mapped_groups
from governance.directory_sync import Sync, in_parts
from governance.facts import Fact
from governance.house_rules import RuleBroken
from governance.models import Directory, DirectoryGroup, DirectoryLoss, DirectoryUser, User
from governance.offboarding import Plan
from governance.people import may_change_person

WINDOW = timedelta(minutes=10)
Kind, State = DirectoryLoss.Kind, DirectoryLoss.State
OWNER = "She is an owner: another owner has to agree."
MANY_AT_ONCE = "Too many people would lose something within ten minutes."


def most_at_once(directory: Directory) -> int:
    people = directory.users.filter(deleted_at=None).count()
    return max(directory.brake_number, people * directory.brake_share // 100)


def may_lose(users: Collection[UUID], sync: Sync) -> bool:
    """Whether so many more may lose something now. The directory's row is locked, so that two messages add up."""
    Directory.objects.select_for_update().get(id=sync.directory.id)
    recent = DirectoryLoss.objects.filter(
        directory=sync.directory, at__gt=sync.now - WINDOW, state__in=(State.DONE, State.HELD)
    )
    together = set(recent.values_list("user_id", flat=True)) | set(users)
    return len(together) <= most_at_once(sync.directory)


def note_losses(
    users: Collection[UUID],
    kind: DirectoryLoss.Kind,
    state: DirectoryLoss.State,
    sync: Sync,
    *,
    group: DirectoryGroup | None = None,
    why: str = "",
) -> None:
    for part in in_parts(users):
        DirectoryLoss.objects.bulk_create(
            DirectoryLoss(
                directory=sync.directory, user_id=user, group=group, kind=kind, state=state, at=sync.now, why=why
            )
            for user in part
        )
    if state == State.HELD:
        told = {"losses": kind, "people": len(users), "why": why, "group": group.display_name if group else ""}
        sync.record(Fact("directory.losses_held", f"directory:{sync.directory.name}", told))
        sync.note("held", people=len(users), why=why)
        sync.alert(sync.directory, len(users))


def leaves(user: DirectoryUser, sync: Sync) -> None:
    """She is offboarded here, once, unless the brake or her being an owner keeps that waiting."""
    person = user.person
    if person is None or not person.is_active or _waits(user, Kind.LEAVES):
        return
    if person.is_superuser or not may_lose({user.id}, sync):
        why = OWNER if person.is_superuser else MANY_AT_ONCE
        note_losses({user.id}, Kind.LEAVES, State.HELD, sync, why=why)
        return
    note_losses({user.id}, Kind.LEAVES, State.DONE, sync)
    _end(user, sync)


def comes_back(user: DirectoryUser, sync: Sync) -> None:
    """Whatever waited to end her is off, also of a row of hers that was deleted before."""
    if user.person_id is None:
        return
    held = DirectoryLoss.objects.filter(user__person_id=user.person_id, kind=Kind.LEAVES, state=State.HELD)
    held.update(state=State.DROPPED, decided_by=sync.by, decided_at=sync.now)


def release(losses: Iterable[DirectoryLoss], *, acting: User, sync: Sync) -> int:
    """A human agrees: they happen now, each as far as it still waits. Returns how many did. Raises RuleBroken."""
    done = 0
    for loss in losses:
        if loss.user.person is not None and not may_change_person(acting, loss.user.person):
            raise RuleBroken("", OWNER)
        if not _decided(loss, State.RELEASED, sync):
            continue
        done += 1
        if loss.kind == Kind.LEAVES:
            _end(loss.user, sync)
    if done:
        sync.record(Fact("directory.losses_released", f"directory:{sync.directory.name}", {"people": done}))
    return done


def drop(losses: Iterable[DirectoryLoss], sync: Sync) -> int:
    """A human keeps them as they are; the directory still says otherwise."""
    done = sum(_decided(loss, State.DROPPED, sync) for loss in losses)
    if done:
        sync.record(Fact("directory.losses_dropped", f"directory:{sync.directory.name}", {"people": done}))
    return done


def _decided(loss: DirectoryLoss, state: DirectoryLoss.State, sync: Sync) -> bool:
    """What a group gave is taken when nobody waits any more: before and after differ by this one row. Dropped, she
    keeps it by hand, as it were."""
    waiting = DirectoryLoss.objects.filter(id=loss.id, state=State.HELD)
    before = gifts_of({loss.user_id}) if state == State.RELEASED and loss.kind == Kind.GROUP else {}
    if not waiting.update(state=state, decided_by=sync.by, decided_at=sync.now):
        return False
    person = loss.user.person_id
    if before and person is not None:
        apply_all({person: (before[loss.user_id], gifts_of({loss.user_id})[loss.user_id])})
        if sync.directory.ends_without_groups and not in_mapped_groups({loss.user_id}):
            _end(loss.user, sync)
    return True


def _waits(user: DirectoryUser, kind: DirectoryLoss.Kind) -> bool:
    return DirectoryLoss.objects.filter(user=user, kind=kind, state=State.HELD).exists()


def _end(user: DirectoryUser, sync: Sync) -> None:
    person = user.person
    if person is None or not person.is_active:
        return
    heir = person.manager if sync.directory.agents_to_manager else None
    fits = heir is not None and heir.is_active and heir.id != person.id
    sync.note("left", person=person.email)
    sync.end(person, Plan(otherwise=heir.email if heir is not None and fits else ""))
