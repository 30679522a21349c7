"""Which roles people have themselves, directly or by a team; the snapshot knows only those of agents."""

from collections import defaultdict
from collections.abc import Iterable

from governance.models import Role as RoleRow
from governance.snapshot import Person, Role

MOST_IN_ONE_QUERY = 500


def roles_of_people(people: Iterable[Person]) -> dict[str, tuple[Role, ...]]:
    """Person id -> her roles. A team's role holds for the teams below it, as its policies do."""
    chosen = list(people)
    roles = _roles()
    by_person, by_team = _given("people", "user_id", chosen), _given("teams", "team_id", [])
    return {
        person.id: tuple(
            roles[role]
            for role in sorted(by_person[person.id].union(*(by_team[team] for team in person.team_ids)))
            if role in roles
        )
        for person in chosen
    }


def _roles() -> dict[str, Role]:
    bundles: dict[str, set[str]] = defaultdict(set)
    for role, bundle in RoleRow.bundles.through.objects.values_list("role_id", "bundle_id"):
        bundles[role.hex].add(bundle.hex)
    rows = RoleRow.objects.only("id", "name", "starts_at", "ends_at", "schedule")
    return {
        row.pk.hex: Role(row.pk.hex, row.name, frozenset(bundles[row.pk.hex]), row.starts_at, row.ends_at, row.schedule)
        for row in rows
    }


def _given(relation: str, column: str, people: list[Person]) -> dict[str, set[str]]:
    """Id of a person or team -> ids of roles."""
    rows = getattr(RoleRow, relation).through.objects.values_list(column, "role_id")
    if 0 < len(people) <= MOST_IN_ONE_QUERY:
        rows = rows.filter(**{f"{column}__in": [person.id for person in people]})
    given: dict[str, set[str]] = defaultdict(set)
    for holder, role in rows:
        given[holder.hex].add(role.hex)
    return given
