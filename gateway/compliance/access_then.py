"""Who had access to what at an instant, from the evidence of governed changes alone.

Each changed row is in evidence with what it was and what it became, written by the database whatever door the change
came through. The newest word on each row until that instant is how it stood then. What this says is what was given:
whether a call would have been permitted hung on rules, freezes and times as well. A row whose evidence was pruned and
that was not touched since does not stand here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.compliance.lines import Line, cut, moment
from gateway.compliance.reading import Place, Reading, Told

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
ROLE, ROLE_BUNDLES, ROLE_AGENTS = "governance_role", "governance_role_bundles", "governance_role_agents"
ROLE_PEOPLE, ROLE_TEAMS = "governance_role_people", "governance_role_teams"
AGENT, PERSON, MEMBERS, TEAM = "governance_agent", "governance_user", "governance_user_teams", "governance_team"
BUNDLE, VERSION, PICK = "governance_bundle", "governance_bundleversion", "governance_bundletool"
STAGED, CONNECTOR, GRANT = "governance_bundleversion_staged_agents", "governance_connector", "governance_grant"

KEPT: Mapping[str, tuple[str, ...]] = {
    ROLE: ("name", "starts_at", "ends_at", "schedule", "scopes"),
    ROLE_BUNDLES: ("role_id", "bundle_id"),
    ROLE_AGENTS: ("role_id", "agent_id"),
    ROLE_PEOPLE: ("role_id", "user_id"),
    ROLE_TEAMS: ("role_id", "team_id"),
    AGENT: ("name", "owner_id", "status", "takes_owner_roles"),
    PERSON: ("email", "is_active", "is_superuser", "is_staff", "duties"),
    MEMBERS: ("user_id", "team_id"),
    TEAM: ("name", "parent_id"),
    BUNDLE: ("name",),
    VERSION: ("bundle_id", "number", "state"),
    STAGED: ("bundleversion_id", "agent_id"),
    PICK: ("version_id", "connector_id", "allow", "deny"),
    CONNECTOR: ("name",),
    GRANT: ("agent_id", "person_id", "bundle_id", "tool_id", "kind", "starts_at", "ends_at", "revoked_at"),
}
ACCESS_COLUMNS = ("as of (UTC)", "who", "owner", "through", "bundle", "version", "tools", "only")
DUTY_COLUMNS = ("as of (UTC)", "who", "duties", "may enter the admin")
Row = tuple[Place, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class World:
    """The governed rows as they stood at an instant, by table and id, each with the event that made it so."""

    at: datetime
    rows: Mapping[str, Mapping[str, Row]]

    def all(self, table: str) -> Iterable[Row]:
        return self.rows.get(table, {}).values()

    def get(self, table: str, row_id: Any) -> Row | None:
        return self.rows.get(table, {}).get(_key(row_id))

    def by(self, table: str, column: str) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.all(table):
            found[_key(row[1][column])].append(row)
        return found


def world_at(reading: Reading, at: datetime) -> World:
    """Memory for each row that was ever there, not for each change."""
    newest: dict[str, dict[str, tuple[Place, dict[str, Any] | None]]] = defaultdict(dict)
    for told in reading.of_kinds(["governance.changed"], since=BEGINNING):
        table = str(told.details.get("relation"))
        if table in KEPT and told.at <= at:
            _take(newest[table], told, KEPT[table])
    standing = {
        table: {row_id: (place, columns) for row_id, (place, columns) in rows.items() if columns is not None}
        for table, rows in newest.items()
    }
    return World(at, standing)


def _take(rows: dict[str, tuple[Place, dict[str, Any] | None]], told: Told, columns: tuple[str, ...]) -> None:
    details = told.details
    if details.get("operation") == "truncate":
        for row_id in rows:
            rows[row_id] = (told.place, None)
        return
    after = details.get("after")
    named = after or details.get("before") or {}
    row_id = _key(named.get("id"))
    if row_id not in rows or rows[row_id][0].leaf < told.place.leaf:
        rows[row_id] = (told.place, {name: after.get(name) for name in columns} if after else None)


def access_lines(world: World) -> Iterator[Line]:
    """What roles and grants gave to agents and people who were in force."""
    given = _Given(world)
    yield from given.by_roles()
    yield from given.by_grants()


class _Given:
    def __init__(self, world: World) -> None:
        self.world = world
        self.bundles_of_role = world.by(ROLE_BUNDLES, "role_id")
        self.versions: dict[str, list[tuple[str, Row]]] = defaultdict(list)
        for version_id, row in world.rows.get(VERSION, {}).items():
            self.versions[_key(row[1]["bundle_id"])].append((version_id, row))
        self.picks = world.by(PICK, "version_id")
        self.teams_of = world.by(MEMBERS, "user_id")
        self.people_roles = world.by(ROLE_PEOPLE, "user_id")
        self.team_roles = world.by(ROLE_TEAMS, "team_id")
        self.agent_roles = world.by(ROLE_AGENTS, "agent_id")
        self.staged = {(_key(row["agent_id"]), _key(row["bundleversion_id"])) for _, row in world.all(STAGED)}

    def by_roles(self) -> Iterator[Line]:
        for person_id, person in self._live_people():
            for places, role in self._roles_of_person(person_id):
                yield from self._through(f"person:{person[1]['email']}", "", "", [*places, person[0]], role)
        for agent_id, agent, owner in self._live_agents():
            held = [([place], row["role_id"]) for place, row in self.agent_roles.get(agent_id, ())]
            if _flag(agent[1]["takes_owner_roles"]):
                held += self._roles_of_person(_key(agent[1]["owner_id"]))
            who, whose = f"agent:{agent[1]['name']}", str(owner[1]["email"])
            for places, role in held:
                yield from self._through(who, whose, agent_id, [*places, agent[0], owner[0]], role)

    def by_grants(self) -> Iterator[Line]:
        for place, grant in self.world.all(GRANT):
            subject = self._subject(grant)
            if grant["kind"] == "consent" or subject is None or not _is_in_time(grant, self.world.at):
                continue
            who, whose, places = subject
            bundle = self.world.get(BUNDLE, grant["bundle_id"])
            name = str(bundle[1]["name"]) if bundle else ""
            tools = "one tool of it" if grant["tool_id"] else "all its tools"
            only = f"until {grant['ends_at']}"
            cells = (moment(self.world.at), who, whose, str(grant["kind"]).replace("_", "-"), name, "", tools, only)
            yield Line(cells, (place, *places, *([bundle[0]] if bundle else [])))

    def _through(self, who: str, owner: str, agent_id: str, places: list[Place], role_id: Any) -> Iterator[Line]:
        role = self.world.get(ROLE, role_id)
        if role is None or not _is_in_time(role[1], self.world.at):
            return
        for link, row in self.bundles_of_role.get(_key(role_id), ()):
            bundle, version = self.world.get(BUNDLE, row["bundle_id"]), self._version(row["bundle_id"], agent_id)
            if bundle is None or version is None:
                continue
            picks = self.picks.get(version[0], ())
            cells = (
                moment(self.world.at),
                who,
                owner,
                f"role {role[1]['name']}",
                str(bundle[1]["name"]),
                f"v{version[1][1]['number']}",
                cut("; ".join(sorted(self._pick(pick) for _, pick in picks))),
                _only(role[1]),
            )
            rests_on = (*places, role[0], link, bundle[0], version[1][0], *(place for place, _ in picks))
            yield Line(cells, rests_on)

    def _version(self, bundle_id: Any, agent_id: str) -> tuple[str, Row] | None:
        """The staged one for those that it is staged for, else the published one."""
        mine = self.versions.get(_key(bundle_id), [])
        for key, row in mine:
            if row[1]["state"] == "staged" and (agent_id, key) in self.staged:
                return key, row
        return next(((key, row) for key, row in mine if row[1]["state"] == "published"), None)

    def _pick(self, pick: dict[str, Any]) -> str:
        connector = self.world.get(CONNECTOR, pick["connector_id"])
        deny = _value(pick["deny"]) or []
        allowed = f"{connector[1]['name'] if connector else '?'}: {', '.join(map(str, _value(pick['allow']) or []))}"
        return f"{allowed} (not {', '.join(map(str, deny))})" if deny else allowed

    def _live_people(self) -> Iterator[tuple[str, Row]]:
        for person_id, row in self.world.rows.get(PERSON, {}).items():
            if _flag(row[1]["is_active"]):
                yield person_id, row

    def _live_agents(self) -> Iterator[tuple[str, Row, Row]]:
        for agent_id, row in self.world.rows.get(AGENT, {}).items():
            owner = self.world.get(PERSON, row[1]["owner_id"])
            if row[1]["status"] == "live" and owner is not None and _flag(owner[1]["is_active"]):
                yield agent_id, row, owner

    def _roles_of_person(self, person_id: str) -> list[tuple[list[Place], Any]]:
        """Given to her, or to a team that she was in or that is above it."""
        held = [([place], row["role_id"]) for place, row in self.people_roles.get(person_id, ())]
        for membership, row in self.teams_of.get(person_id, ()):
            for places, team_id in self._with_those_above(row["team_id"]):
                gifts = self.team_roles.get(team_id, ())
                held += [([gift, membership, *places], given["role_id"]) for gift, given in gifts]
        return held

    def _with_those_above(self, team_id: Any) -> Iterator[tuple[list[Place], str]]:
        places: list[Place] = []
        seen: set[str] = set()
        current = _key(team_id)
        while current not in seen and (team := self.world.get(TEAM, current)):
            seen.add(current)
            places.append(team[0])
            yield list(places), current
            current = _key(team[1]["parent_id"])

    def _subject(self, grant: dict[str, Any]) -> tuple[str, str, list[Place]] | None:
        """None for who was not in force."""
        if grant["person_id"]:
            person = self.world.get(PERSON, grant["person_id"])
            is_live = person is not None and _flag(person[1]["is_active"])
            return (f"person:{person[1]['email']}", "", [person[0]]) if person and is_live else None
        agent = self.world.get(AGENT, grant["agent_id"])
        owner = self.world.get(PERSON, agent[1]["owner_id"]) if agent else None
        if agent is None or owner is None or agent[1]["status"] != "live" or not _flag(owner[1]["is_active"]):
            return None
        return f"agent:{agent[1]['name']}", str(owner[1]["email"]), [agent[0], owner[0]]


def duty_lines(world: World) -> Iterator[Line]:
    """Who could change what others may."""
    for place, person in world.all(PERSON):
        duties = [str(duty) for duty in _value(person["duties"]) or []]
        if _flag(person["is_superuser"]):
            duties.insert(0, "owner")
        if duties and _flag(person["is_active"]):
            enters = "yes" if _flag(person["is_staff"]) or _flag(person["is_superuser"]) else "no"
            cells = (moment(world.at), f"person:{person['email']}", ", ".join(duties), enters)
            yield Line(cells, (place,))


def _key(row_id: Any) -> str:
    """Ids are written with and without dashes, by the database."""
    return str(row_id).replace("-", "")


def _flag(value: Any) -> bool:
    return value in (True, 1)


def _value(stored: Any) -> Any:
    """SQLite keeps JSON as text."""
    if not isinstance(stored, str):
        return stored
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:
        return stored


def _time(stored: Any) -> datetime | None:
    """SQLite writes naive UTC."""
    if not stored:
        return None
    at = datetime.fromisoformat(str(stored))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _is_in_time(row: Mapping[str, Any], at: datetime) -> bool:
    starts, ends, revoked = _time(row["starts_at"]), _time(row["ends_at"]), _time(row.get("revoked_at"))
    return (starts is None or starts <= at) and all(end is None or end > at for end in (ends, revoked))


def _only(role: Mapping[str, Any]) -> str:
    told = [f"until {role['ends_at']}"] if role["ends_at"] else []
    told += ["on a schedule"] if _value(role["schedule"]) else []
    scopes = _value(role["scopes"]) or []
    texts = [str(scope.get("text") or scope.get("when", "")) for scope in scopes if isinstance(scope, dict)]
    return cut("; ".join([*told, *texts]))
