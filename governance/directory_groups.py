"""Groups of a directory: their names, and who is in them. A membership is a row; whole lists are never rewritten."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from governance.directory_gifts import Gifts, apply_all, gifts_of, gives_something, in_mapped_groups
from governance.directory_losses import MANY_AT_ONCE, Kind, State, leaves, may_lose, note_losses
from governance.directory_sync import NameTaken, Sync, UnknownMember, folded, in_parts, new_id
from governance.facts import Fact
from governance.models import DirectoryGroup, DirectoryLoss, DirectoryMember, DirectoryUser, GroupMapping

FIRST_NAMES = 20


def group_arrives(name: str, external_id: str, body: dict[str, Any], sync: Sync) -> DirectoryGroup:
    """A mapping that waited for this name is bound to it now. Raises NameTaken."""
    group = DirectoryGroup(id=new_id(sync.now), directory=sync.directory, created_at=sync.now)
    keep_group(group, name, external_id, body, sync)
    waiting = GroupMapping.objects.filter(directory=sync.directory, group=None, is_enabled=True)
    waiting.filter(group_name__iexact=name).update(group=group)
    sync.note("group added", group=name)
    return group


def group_changes(group: DirectoryGroup, name: str, external_id: str, body: dict[str, Any], sync: Sync) -> None:
    """Mappings follow the group under its new name. Raises NameTaken."""
    if name != group.display_name:
        sync.note("group renamed", group=[group.display_name, name])
    group.version += 1
    keep_group(group, name, external_id, body, sync)


def keep_group(group: DirectoryGroup, name: str, external_id: str, body: dict[str, Any], sync: Sync) -> None:
    key = folded(name)
    others = DirectoryGroup.objects.filter(directory=sync.directory, deleted_at=None).exclude(id=group.id)
    if others.filter(display_name_key=key).exists():
        raise NameTaken(name)
    group.display_name, group.display_name_key = name, key
    group.external_id, group.body, group.changed_at = external_id, body, sync.now
    group.save(force_insert=group._state.adding)


def group_is_deleted(group: DirectoryGroup, sync: Sync) -> None:
    """What it gave is taken; its mapping stays, bound to a group that is gone, and binds no other by name."""
    change_members(group, remove=set(group.members.values_list("value", flat=True)), sync=sync)
    group.deleted_at = group.changed_at = sync.now
    group.version += 1
    group.save()
    sync.note("group deleted", group=group.display_name)


def replace_members(
    group: DirectoryGroup, wanted: Mapping[str, str], *, sync: Sync, nested: Collection[str] = ()
) -> bool:
    """The whole list, as a PUT says it; what is unchanged is left alone. Raises UnknownMember."""
    before = set(group.members.values_list("value", flat=True))
    add = {value: display for value, display in wanted.items() if value not in before}
    return change_members(group, add=add, remove=before - wanted.keys(), sync=sync, nested=nested)


def change_members(
    group: DirectoryGroup,
    *,
    sync: Sync,
    add: Mapping[str, str] = MappingProxyType({}),
    remove: Collection[str] = (),
    nested: Collection[str] = (),
) -> bool:
    """Who is in already, or is not, changes nothing. `add` has what each is called there; `nested` are groups, kept and
    not resolved. Raises UnknownMember. Returns whether anything changed."""
    arriving = _known(add, sync) if add else {}
    if unknown := [value for value in add if value not in arriving and value not in nested]:
        raise UnknownMember(unknown[0])
    new = _not_yet_in(group, add)
    leaving = _rows_of(group, remove)
    if not new and not leaving:
        return False
    gives = gives_something(group.id)
    affected = {arriving[value] for value in new if value in arriving} | {user for user in leaving.values() if user}
    before = gifts_of(affected) if gives else {}
    mapped_before = in_mapped_groups(affected) if gives else set()
    _write_members(group, {value: add[value] for value in new}, arriving, leaving, sync)
    if gives:
        losers = {user for user in leaving.values() if user}
        _settle(group, before, mapped_before, losers, sync)
    _tell(group, new, leaving, sync)
    return True


def _write_members(
    group: DirectoryGroup,
    new: Mapping[str, str],
    users: dict[str, UUID],
    leaving: dict[str, UUID | None],
    sync: Sync,
) -> None:
    for part in in_parts(leaving):
        DirectoryMember.objects.filter(group=group, value__in=part).delete()
    for part in in_parts(new):
        DirectoryMember.objects.bulk_create(
            DirectoryMember(group=group, value=value, user_id=users.get(value), display=new[value][:300])
            for value in part
        )
    back = [users[value] for value in new if value in users]
    for some in in_parts(back):
        waiting = DirectoryLoss.objects.filter(group=group, user_id__in=some, kind=Kind.GROUP, state=State.HELD)
        waiting.update(state=State.DROPPED, decided_by=sync.by, decided_at=sync.now)
    DirectoryGroup.objects.filter(id=group.id).update(version=group.version + 1, changed_at=sync.now)
    group.version += 1
    group.changed_at = sync.now


def _settle(
    group: DirectoryGroup, before: dict[UUID, Gifts], mapped_before: set[UUID], losers: set[UUID], sync: Sync
) -> None:
    """Who loses something is counted by the brake, and all wait if they are too many; who gains does not wait."""
    people = _people(before)
    after = gifts_of(before.keys())
    losing = {user for user in losers if user in people and before[user].loses(after[user])}
    ending = losers & mapped_before - in_mapped_groups(losers) if sync.directory.ends_without_groups else set()
    ending &= people.keys()
    if losing | ending and not may_lose(losing | ending, sync):
        note_losses(losing | ending, Kind.GROUP, State.HELD, sync, group=group, why=MANY_AT_ONCE)
        after = gifts_of(before.keys())
        ending = set()
    else:
        note_losses(losing, Kind.GROUP, State.DONE, sync, group=group)
    apply_all({people[user]: (before[user], after[user]) for user in before if user in people})
    for user in DirectoryUser.objects.filter(id__in=ending, active=True).select_related("person__manager"):
        leaves(user, sync)


def _known(values: Iterable[str], sync: Sync) -> dict[str, UUID]:
    """Member value -> user of this directory."""
    found: dict[str, UUID] = {}
    ids = [value for value in values if _is_id(value)]
    for part in in_parts(ids):
        rows = DirectoryUser.objects.filter(directory=sync.directory, deleted_at=None, id__in=part)
        found |= {str(user): user for user in rows.values_list("id", flat=True)}
    return found


def _is_id(value: str) -> bool:
    try:
        return str(UUID(value)) == value
    except ValueError:
        return False


def _not_yet_in(group: DirectoryGroup, values: Collection[str]) -> list[str]:
    kept: set[str] = set()
    for part in in_parts(values):
        kept |= set(DirectoryMember.objects.filter(group=group, value__in=part).values_list("value", flat=True))
    return [value for value in dict.fromkeys(values) if value not in kept]


def _rows_of(group: DirectoryGroup, values: Collection[str]) -> dict[str, UUID | None]:
    found: dict[str, UUID | None] = {}
    for part in in_parts(values):
        rows = DirectoryMember.objects.filter(group=group, value__in=part)
        found |= dict(rows.values_list("value", "user_id"))
    return found


def _people(users: Iterable[UUID]) -> dict[UUID, UUID]:
    found: dict[UUID, UUID] = {}
    for part in in_parts(users):
        rows = DirectoryUser.objects.filter(id__in=part).exclude(person=None)
        found |= dict(rows.values_list("id", "person_id"))
    return found


def _tell(group: DirectoryGroup, new: Collection[str], leaving: Collection[str], sync: Sync) -> None:
    told = {
        "group": group.display_name,
        "added": len(new),
        "removed": len(leaving),
        "first_added": sorted(new)[:FIRST_NAMES],
        "first_removed": sorted(leaving)[:FIRST_NAMES],
    }
    sync.note("members changed", **told)
    sync.record(Fact("directory.members_changed", f"directory:{sync.directory.name}", told))
