"""People, their teams, roles, agents and credentials as snapshots hold them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from django.db.models.functions import Now

from governance import models
from governance.snapshot import (
    Account,
    Agent,
    Credential,
    Person,
    Role,
    Scope,
    Shifts,
    Team,
    Undecidable,
)
from governance.snapshot_rows.common import PAST_KEPT, Ids, among, key, keys
from governance.snapshot_rows.ruling import condition_of

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where somebody stands: ids of her teams and all above them, from the roots down, and what these give her."""

    team_ids: tuple[str, ...]
    teams: list[str]
    """Their names."""
    attributes: dict[str, list[str]]


Placing = Callable[[Iterable[str]], Place]
"""Of somebody who is a member of these teams."""
PERSON_FIELDS = (
    *("id", "email", "name", "is_active", "is_staff"),
    *("duties", "manager_id", "same_as_id", "is_superuser"),
)


def teams(only: Ids) -> dict[str, Team]:
    rows = among(models.Team.objects.prefetch_related("policies"), "id", only)
    return {key(row.id): team_of(row) for row in rows}


def team_of(row: models.Team) -> Team:
    return Team(key(row.id), row.name, key(row.parent_id), keys(row.policies.all()), _attributes(row))


def _attributes(row: models.Team) -> dict[str, tuple[str, ...]]:
    """What is no list of texts is left out: conditions that read it are undecided."""
    given = row.attributes.items() if isinstance(row.attributes, dict) else ()
    return {name: tuple(values) for name, values in given if _is_texts(values)}


def _is_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def shifts(only: Ids) -> dict[str, Shifts]:
    """By team id."""
    rows = among(models.OnCallShift.objects.filter(ends_at__gt=Now() - PAST_KEPT), "team_id", only)
    found: dict[str, list[tuple[str, Any, Any]]] = defaultdict(list)
    for team, person, start, end in rows.order_by("starts_at", "id").values_list(
        "team_id", "person_id", "starts_at", "ends_at"
    ):
        found[key(team)].append((key(person), start, end))
    return {team: tuple(on_call) for team, on_call in found.items()}


def people(only: Ids, *, place: Placing) -> dict[str, Person]:
    teams: dict[str, list[str]] = defaultdict(list)
    members = among(models.User.teams.through.objects.order_by("team_id"), "user_id", only)
    for user, team in members.values_list("user_id", "team_id"):
        teams[key(user)].append(key(team))
    rows = among(models.User.objects.order_by(), "id", only)
    fields = rows.values_list(*PERSON_FIELDS)
    return {key(row[0]): person_of(row, teams=teams.get(key(row[0]), ()), place=place) for row in fields}


def person_of(row: tuple[Any, ...], *, teams: Iterable[str], place: Placing) -> Person:
    """`row` has PERSON_FIELDS."""
    i, email, name, is_active, is_staff, duties, manager_id, same_as_id, is_owner = row
    member_of = tuple(sorted(teams))
    placed = place(member_of)
    return Person(
        id=key(i),
        email=email,
        name=name,
        is_active=is_active,
        is_staff=is_staff,
        team_ids=placed.team_ids,
        variables={
            "email": email,
            "name": name,
            "staff": is_staff,
            "teams": placed.teams,
            "attributes": placed.attributes,
        },
        member_of=member_of,
        human_id=key(same_as_id or i),
        duties=frozenset(duties),
        manager_id=key(manager_id),
        is_owner=is_owner,
    )


def roles(only: Ids) -> dict[str, Role]:
    bundles, teams = _given_by_roles("bundles", only), _given_by_roles("teams", only)
    people = _given_by_roles("people", only)
    rows = among(models.Role.objects.all(), "id", only)
    return {
        i: role_of_row(row, bundle_ids=bundles[i], team_ids=teams[i], person_ids=people[i])
        for row in rows
        for i in (key(row.id),)
    }


def _given_by_roles(relation: str, only: Ids) -> dict[str, set[str]]:
    """Role id -> ids of what it is related to."""
    through = getattr(models.Role, relation).through
    column = {"bundles": "bundle_id", "teams": "team_id", "people": "user_id"}[relation]
    found: dict[str, set[str]] = defaultdict(set)
    for role, other in among(through.objects.all(), "role_id", only).values_list("role_id", column):
        found[key(role)].add(key(other))
    return found


def role_of_row(
    row: models.Role, *, bundle_ids: Iterable[str], team_ids: Iterable[str], person_ids: Iterable[str]
) -> Role:
    return Role(
        id=key(row.id),
        name=row.name,
        bundle_ids=frozenset(bundle_ids),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        schedule=row.schedule,
        scopes=tuple(_scope(entry, row) for entry in row.scopes),
        team_ids=frozenset(team_ids),
        person_ids=frozenset(person_ids),
    )


def _scope(entry: Any, of: models.Role) -> Scope:
    """One that cannot be read covers every tool, and nothing is inside it."""
    try:
        tools, source, text = tuple(entry["tools"]), entry["when"], entry.get("text", "")
    except (KeyError, TypeError, AttributeError):
        logger.error("a data scope of the role %s cannot be read: it gives nothing", of.name)
        return Scope(("*",), Undecidable(), "")
    return Scope(tools, condition_of(source, of) or Undecidable(), text)


def agents(only: Ids, *, people: Mapping[str, Person], roles: Mapping[str, Role]) -> dict[str, Agent]:
    held: dict[str, list[Role]] = defaultdict(list)
    members = among(models.Role.agents.through.objects.order_by("role_id"), "agent_id", only)
    for role, agent in members.values_list("role_id", "agent_id"):
        held[key(agent)].append(roles[key(role)])
    staged = _staged_versions(only)
    rows = among(models.Agent.objects.order_by(), "id", only)
    fields = rows.values_list("id", "name", "status", "owner_id", "title", "purpose", "takes_owner_roles")
    return {
        i: _agent(row, people[key(row[3])], tuple(held.get(i, ())), frozenset(staged.get(i, ())))
        for row in fields
        for i in (key(row[0]),)
    }


def _staged_versions(only: Ids) -> dict[str, set[str]]:
    """Agent id -> versions, of any state, that are or were staged for it."""
    through = models.BundleVersion.staged_agents.through
    found: dict[str, set[str]] = defaultdict(set)
    rows = among(through.objects.all(), "agent_id", only)
    for agent, version in rows.values_list("agent_id", "bundleversion_id"):
        found[key(agent)].add(key(version))
    return found


def _agent(row: tuple[Any, ...], owner: Person, roles: tuple[Role, ...], staged: frozenset[str]) -> Agent:
    agent_id, name, status, _, title, purpose, takes_owner_roles = row
    variables = {"name": name, "title": title, "purpose": purpose, "owner": owner.email}
    return Agent(key(agent_id), name, status, owner, roles, variables, staged, takes_owner_roles)


def credentials(only: Ids) -> dict[bytes, Credential]:
    """Agent keys, by digest. Other kinds are never shown to the data path: they buy a token that is."""
    keys = models.AgentCredential.objects.filter(kind=models.AgentCredential.Kind.KEY, revoked_at=None)
    rows = among(keys.order_by(), "id", only)
    fields = rows.values_list("digest", "id", "agent_id", "not_before", "expires_at", "person_id")
    return {
        bytes(digest): Credential(key(i), key(agent), bytes(digest), start, end, key(person))
        for digest, i, agent, start, end, person in fields
    }


def proofs(only: Ids) -> frozenset[str]:
    """Ids of the live credentials that are no keys."""
    others = models.AgentCredential.objects.filter(revoked_at=None).exclude(kind=models.AgentCredential.Kind.KEY)
    return frozenset(map(key, among(others.order_by(), "id", only).values_list("id", flat=True)))


def authorizations(only: Ids) -> frozenset[str]:
    rows = among(models.Authorization.objects.filter(revoked_at=None).order_by(), "id", only)
    return frozenset(map(key, rows.values_list("id", flat=True)))


def ended_tokens(only: Ids) -> frozenset[str]:
    rows = among(models.TokenRevocation.objects.all(), "token_id", only)
    return frozenset(map(key, rows.values_list("token_id", flat=True)))


def accounts(only: Ids) -> dict[str, Account]:
    rows = models.UpstreamGrant.objects.exclude(status="ended").exclude(connector=None).order_by()
    found = among(rows, "id", only).values_list("id", "connector_id", "person_id", "client_id", "status")
    return {
        key(i): Account(key(i), key(connector), key(person), key(client), status)
        for i, connector, person, client, status in found
    }
