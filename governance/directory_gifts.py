"""What groups give: teams, duties and the way into the admin, by mappings that are in force.

A person keeps what she has by hand; a change of groups or mappings adds and takes exactly the difference it makes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet

from governance.directory_sync import in_parts
from governance.models import DirectoryLoss, DirectoryMember, DirectoryUser, GroupMapping, User


@dataclass(frozen=True, slots=True)
class Gifts:
    teams: frozenset[UUID] = frozenset()
    duties: frozenset[str] = frozenset()
    admin_access: bool = False

    def __or__(self, other: "Gifts") -> "Gifts":
        return Gifts(self.teams | other.teams, self.duties | other.duties, self.admin_access or other.admin_access)

    def __bool__(self) -> bool:
        return bool(self.teams or self.duties or self.admin_access)

    def loses(self, after: "Gifts") -> bool:
        """Whether anything of this is not in `after`."""
        return bool(self.teams - after.teams or self.duties - after.duties) or self.admin_access > after.admin_access


NOTHING = Gifts()
Groups = dict[UUID, set[UUID]]
"""Of each user: the groups that count for her."""


def mappings_in_force() -> QuerySet[GroupMapping]:
    return GroupMapping.objects.filter(is_enabled=True)


def what_it_gives(mapping: GroupMapping) -> Gifts:
    """Teams at once; what raises rights only when a second human has agreed."""
    teams = frozenset(team.id for team in mapping.teams.all())
    if not mapping.raises_rights or mapping.approved_by_id is None:
        return Gifts(teams)
    return Gifts(teams, frozenset(mapping.duties), mapping.admin_access or bool(mapping.duties))


def gives_something(group_id: UUID) -> bool:
    return mappings_in_force().filter(group_id=group_id).exists()


def groups_of(users: Iterable[UUID]) -> Groups:
    """Those they are in, and those they are out of while a human has not agreed to that yet."""
    found: Groups = defaultdict(set)
    held = DirectoryLoss.objects.filter(kind=DirectoryLoss.Kind.GROUP, state=DirectoryLoss.State.HELD)
    for part in in_parts(users):
        for rows in (DirectoryMember.objects.filter(user_id__in=part), held.filter(user_id__in=part)):
            for user, group in rows.values_list("user_id", "group_id"):
                if group is not None:
                    found[user].add(group)
    return found


def in_mapped_groups(users: Collection[UUID]) -> set[UUID]:
    """Those who are in a group that a mapping in force names."""
    mapped = set(mappings_in_force().exclude(group=None).values_list("group_id", flat=True))
    return {user for user, groups in groups_of(users).items() if groups & mapped}


def gifts_of(users: Collection[UUID]) -> dict[UUID, Gifts]:
    groups = groups_of(users)
    given = _by_group(set().union(*groups.values()))
    return {user: _sum(given[group] for group in groups.get(user, ()) if group in given) for user in users}


def apply(person: User, before: Gifts, after: Gifts) -> None:
    """The difference between two states of her groups. Nobody inactive gets anything."""
    apply_all({person.id: (before, after)})


def apply_all(changes: Mapping[UUID, tuple[Gifts, Gifts]]) -> int:
    """Person -> what her groups gave and give now. Two statements a team, however many people; returns how many
    people it changes."""
    changed = {person: (before, after) for person, (before, after) in changes.items() if before != after}
    if not changed:
        return 0
    active: set[UUID] = set()
    for part in in_parts(changed):
        active |= set(User.objects.filter(id__in=part, is_active=True).values_list("id", flat=True))
    gained: dict[UUID, list[UUID]] = defaultdict(list)
    lost: dict[UUID, list[UUID]] = defaultdict(list)
    for person, (before, after) in changed.items():
        for team in before.teams - after.teams:
            lost[team].append(person)
        for team in (after.teams - before.teams) if person in active else ():
            gained[team].append(person)
    _move_between_teams(gained, lost)
    for person, (before, after) in changed.items():
        if (before.duties, before.admin_access) != (after.duties, after.admin_access) and person in active:
            _change_duties(person, before, after)
    return len(changed)


@contextmanager
def reshaped(mapping: GroupMapping) -> Iterator[None]:
    """Around a change of the mapping: whoever is in its group gets and loses what that makes."""
    users = _people_behind(mapping)
    before = gifts_of(users)
    yield
    after = gifts_of(users)
    apply_all({person: (before[user], after[user]) for user, person in users.items()})


def users_of_group(group_id: UUID | None) -> Q:
    held = Q(losses__group_id=group_id, losses__kind=DirectoryLoss.Kind.GROUP, losses__state=DirectoryLoss.State.HELD)
    return Q(memberships__group_id=group_id) | held


def _people_behind(mapping: GroupMapping) -> dict[UUID, UUID]:
    """User of the directory -> person here."""
    if mapping.group_id is None:
        return {}
    linked = DirectoryUser.objects.filter(users_of_group(mapping.group_id), deleted_at=None)
    pairs = linked.exclude(person=None).values_list("id", "person_id").distinct()
    return dict(pairs)


def _by_group(groups: Collection[UUID]) -> dict[UUID, Gifts]:
    found: dict[UUID, Gifts] = {}
    for part in in_parts(groups):
        for mapping in mappings_in_force().filter(group_id__in=part).prefetch_related("teams"):
            if mapping.group_id is not None:
                found[mapping.group_id] = found.get(mapping.group_id, NOTHING) | what_it_gives(mapping)
    return found


def _sum(gifts: Iterable[Gifts]) -> Gifts:
    total = NOTHING
    for each in gifts:
        total |= each
    return total


def _move_between_teams(gained: Mapping[UUID, list[UUID]], lost: Mapping[UUID, list[UUID]]) -> None:
    through = User.teams.through
    for team, people in lost.items():
        for part in in_parts(people):
            through.objects.filter(team_id=team, user_id__in=part).delete()
    rows = (through(team_id=team, user_id=person) for team, people in gained.items() for person in people)
    for some in in_parts(rows):
        through.objects.bulk_create(some, ignore_conflicts=True)


def _change_duties(person_id: UUID, before: Gifts, after: Gifts) -> None:
    person = User.objects.select_for_update().get(id=person_id)
    duties = (set(person.duties) - (before.duties - after.duties)) | (after.duties - before.duties)
    person.duties = [duty for duty in User.Duty.values if duty in duties]
    keeps_access = person.is_staff and not (before.admin_access and not after.admin_access)
    person.is_staff = bool(person.duties or person.is_superuser or after.admin_access or keeps_access)
    person.save(update_fields=["duties", "is_staff"])
