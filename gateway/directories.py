"""What humans do about directories, across rooms: each act is one transaction with its evidence."""

from collections.abc import Collection
from datetime import datetime
from functools import partial

from django.conf import settings

from gateway.actions import act
from gateway.notices import losses_held
from gateway.offboardings import offboard_once_within
from governance import directories, directory_losses, directory_people, group_mappings
from governance.directories import IssuedDirectoryToken
from governance.directory_sync import Sync
from governance.facts import Recorder
from governance.models import Directory, DirectoryLoss, DirectoryToken, DirectoryUser, GroupMapping, User
from governance.offboarding import Plan


def base_address() -> str:
    """What an identity provider is given, without a slash at its end."""
    return f"{settings.PUBLIC_URL}/scim/v2"


def actor(person: User) -> str:
    return f"person:{person.email}"


def sync_of(directory: Directory, *, by: str, record: Recorder, now: datetime) -> Sync:
    """What follows from a directory's word happens in the transaction of `record`."""

    def end(person: User, plan: Plan) -> None:
        why = f"{directory} says that she has left"
        offboard_once_within(person, plan=plan, by=by, record=record, now=now, reason=why)

    return Sync(directory=directory, by=by, record=record, now=now, end=end, alert=partial(losses_held, now=now))


def issue_token(directory: Directory, *, by: str) -> IssuedDirectoryToken:
    """Raises RuleBroken."""
    return act(lambda record, now: directories.issue_token(directory, by=by, record=record, now=now), by=by)


def revoke_token(row: DirectoryToken, *, by: str) -> bool:
    """False if it was revoked before."""
    return act(lambda record, now: directories.revoke_token(row, by=by, record=record, now=now), by=by)


def directory_named(name: str, *, by: str) -> Directory:
    """Made if it is not there."""
    return act(lambda record, now: Directory.objects.get_or_create(name=name, defaults={"created_by": by})[0], by=by)


def adopt(row: DirectoryUser, person: User, *, acting: User) -> None:
    """Raises RuleBroken."""

    def work(record: Recorder, now: datetime) -> None:
        sync = sync_of(row.directory, by=actor(acting), record=record, now=now)
        found = DirectoryUser.objects.select_for_update(of=("self",)).get(id=row.id)
        directory_people.adopt(found, User.objects.get(id=person.id), acting=acting, sync=sync)

    act(work, by=actor(acting))


def release_losses(directory: Directory, losses: Collection[DirectoryLoss], *, acting: User) -> int:
    """Returns how many were still waiting. Raises CannotOffboard, RuleBroken."""
    return act(
        lambda record, now: directory_losses.release(
            _fresh(losses, directory),
            acting=acting,
            sync=sync_of(directory, by=actor(acting), record=record, now=now),
        ),
        by=actor(acting),
    )


def drop_losses(directory: Directory, losses: Collection[DirectoryLoss], *, acting: User) -> int:
    return act(
        lambda record, now: directory_losses.drop(
            _fresh(losses, directory), sync=sync_of(directory, by=actor(acting), record=record, now=now)
        ),
        by=actor(acting),
    )


def approve_mapping(mapping: GroupMapping, *, acting: User) -> None:
    """Raises RuleBroken."""
    act(
        lambda record, now: group_mappings.approve(mapping, acting=acting, record=record, now=now),
        by=actor(acting),
    )


def losses_of(directory: Directory, ids: Collection[int]) -> list[DirectoryLoss]:
    """As they are now, in one order."""
    chosen = DirectoryLoss.objects.filter(id__in=ids, directory=directory)
    return list(chosen.select_related("user__person__manager", "group").order_by("id"))


def _fresh(losses: Collection[DirectoryLoss], directory: Directory) -> list[DirectoryLoss]:
    return losses_of(directory, [loss.pk for loss in losses])
