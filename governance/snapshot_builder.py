"""Compiles the governed rows into a Snapshot, in one read transaction, epoch first."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast

from django.db import connection, transaction
from django.db.models import Model

from governance import models
from governance.fence.log import Touched, advanced_at, touched_since
from governance.fence.sqlite.base import DatabaseWrapper as SqliteWrapper
from governance.fence.watched import EVERYBODY
from governance.retention import default_class
from governance.snapshot import Agent, Bundle, Connector, Credential, Edition, Person, Rule, Snapshot, Team, Tool
from governance.snapshot_bundles import Compiler, policy_entries, policy_rules, refused_by_ancestors
from governance.snapshot_rows import bounds, common, containment, organization, ruling, upstreams, who
from governance.snapshot_rows.common import Ids
from governance.snapshot_rows.who import Place
from governance.time_of_day import Calendar

Id = TypeVar("Id", str, bytes)
Value = TypeVar("Value")

READ_WHOLE = frozenset(
    ("organization", "freeze", "rate_limit", "grant", "reaction", "exception", "data_class", "detector")
)
"""Kinds of which there is little, or whose rows the change log does not name."""
EMPTY = Snapshot(
    epoch=0,
    calendar=Calendar(),
    organization="",
    credentials={},
    credential_ends={},
    agents={},
    people={},
    tools={},
    connectors={},
    secrets=(),
    bundles={},
    bundle_ids={},
    team_rules={},
    team_policies={},
    freezes=(),
)


@dataclass(frozen=True, slots=True)
class Draft:
    """Rows as they would be if saved, by id; a bundle whose version is None would give nothing.

    Their many-to-many relations are read from the rows' prefetch cache (`as_if_saved`), never from the database.
    """

    versions: Mapping[str, models.BundleVersion | None] = field(default_factory=dict)
    rules: Mapping[str, list[models.Rule]] = field(default_factory=dict)
    teams: Mapping[str, models.Team] = field(default_factory=dict)
    organization_policies: Iterable[models.Policy] | None = None


def as_if_saved(row: Any, **relations: Iterable[Any]) -> Any:
    """The unsaved row with these in its relations."""
    row._prefetched_objects_cache = {name: list(related) for name, related in relations.items()}
    return row


def person_as_if_saved(row: models.User, teams: Iterable[models.Team]) -> Person:
    place = _Tree(who.teams(None)).place
    columns = tuple(getattr(row, column) for column in who.PERSON_FIELDS)
    return who.person_of(columns, teams=common.keys(teams), place=place)


def build_snapshot(base: Snapshot = EMPTY) -> Snapshot:
    """With `base`, an earlier snapshot, only what was touched since is read and compiled; all else stays the same
    object. Raises django.db.Error when the database is away."""
    with _without_garbage_collection():
        with consistent_read():
            touched = _touched_since(base)
            builder = _Builder(EMPTY if touched is None else base, touched)
            builder.read()
        return builder.build()


def _touched_since(base: Snapshot) -> Touched | None:
    """None when everything has to be read."""
    if base is EMPTY:
        return None
    touched = touched_since(base.epoch, at=base.advanced_at)
    if touched is None or any(EVERYBODY in touched.of(kind) for kind in touched.kinds - READ_WHOLE):
        return None
    return touched


def revised_snapshot(base: Snapshot, draft: Draft) -> Snapshot:
    """`base` as if the draft were saved. Nothing is written, no lock taken."""
    with _without_garbage_collection():
        return _Builder(base).revise(draft)


def read_epoch() -> int:
    return models.Epoch.objects.values_list("number", flat=True).get(id=1)


@contextmanager
def consistent_read() -> Iterator[None]:
    """All reads inside see one committed state and hold up nobody; within a transaction, that transaction's state."""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        with cast(SqliteWrapper, connection).reading(), transaction.atomic():
            yield


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """A build makes many lasting objects and no cycles: to look for cycles among them takes as long as to build."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Builder:
    """Renews the parts of a snapshot one after the other; later ones take what earlier ones left on `self`."""

    def __init__(self, base: Snapshot, touched: Touched | None = None) -> None:
        """`touched` is all that was touched since the base, None for everything."""
        self.base = base
        self.touched = touched
        self.organization = base
        self.rules, self.editions, self.organization_policies = base.rules, base.editions, base.organization_policies
        self.staged_editions = base.staged_editions
        self.secrets, self.connectors, self.tools = base.secrets, base.connectors, base.tools
        self.teams, self.people, self.roles = base.teams, base.people, base.roles

    def revise(self, draft: Draft) -> Snapshot:
        teams = {i: who.team_of(row) for i, row in draft.teams.items()}
        rules = {policy: tuple(map(ruling.rule_of, drafted)) for policy, drafted in draft.rules.items() if drafted}
        versions = {i: ruling.edition_of(row) for i, row in draft.versions.items() if row is not None}
        self.teams = _renewed(self.teams, frozenset(draft.teams), lambda _: teams)
        self.rules = _renewed(self.rules, frozenset(draft.rules), lambda _: rules)
        self.editions = _renewed(self.editions, frozenset(draft.versions), lambda _: versions)
        if draft.organization_policies is not None:
            self.organization_policies = common.keys(draft.organization_policies)
        self.people = self._in_their_teams(self.people)
        return self._compiled(self.base.agents)

    def read(self) -> None:
        """All that needs the database. Rules are compiled afterwards: it takes longest by far, and the server closes
        what idles in a transaction."""
        self.epoch = read_epoch()
        self.advanced_at = advanced_at(self.epoch)
        self._read_organization()
        self._read_rules()
        self._read_upstreams()
        self._read_people()
        self.agents = _renewed(self.base.agents, self._ids("agent"), self._agents)
        self.credentials = self._credentials()
        self.proofs = _renewed_ids(self.base.proofs, self._ids("credential"), who.proofs)
        self.authorizations = _renewed_ids(self.base.authorizations, self._ids("authorization"), who.authorizations)
        self.ended_tokens = _renewed_ids(self.base.ended_tokens, self._ids("token"), who.ended_tokens)
        self.freezes = bounds.freezes() if self._is_touched("freeze") else self.base.freezes
        self.limits = bounds.limits() if self._is_touched("rate_limit") else self.base.limits
        self.grants = bounds.grants() if self._is_touched("grant") else self.base.grants
        self.accounts = _renewed(self.base.accounts, self._ids("upstream_grant"), who.accounts)
        self.reactions = bounds.reactions() if self._is_touched("reaction") else self.base.reactions
        self.exceptions = containment.exceptions() if self._is_touched("exception") else self.base.exceptions
        self.detection_off = containment.detection_off() if self._is_touched("exception") else self.base.detection_off
        self.baselines = _renewed(self.base.baselines, self._ids("baseline"), containment.baselines)
        self.canaries = containment.canaries() if self._is_touched("canary") else self.base.canaries
        self.detectors = containment.detectors() if self._is_touched("detector") else self.base.detectors
        self.data_classes = containment.data_classes() if self._is_touched("data_class") else self.base.data_classes

    def build(self) -> Snapshot:
        read = {policy: tuple(map(ruling.rule_of, found)) for policy, found in self.rule_rows.items()}
        self.rules = _renewed(self.rules, self.policies, lambda _: read)
        return replace(
            self._compiled(self.agents),
            epoch=self.epoch,
            advanced_at=self.advanced_at,
            credentials=self.credentials,
            credential_ends=self._ends_of(self.credentials),
            proofs=self.proofs,
            authorizations=self.authorizations,
            ended_tokens=self.ended_tokens,
            freezes=self.freezes,
            limits=self.limits,
            grants=self.grants,
            reactions=self.reactions,
            exceptions=self.exceptions,
            detection_off=self.detection_off,
            data_classes=self.data_classes,
            detectors=self.detectors,
            canaries=self.canaries,
            baselines=self.baselines,
            accounts=self.accounts,
            shifts=self.shifts,
        )

    # -- what was touched

    def _is_touched(self, kind: str) -> bool:
        return self.touched is None or kind in self.touched.kinds

    def _ids(self, kind: str) -> Ids:
        return None if self.touched is None else self.touched.of(kind)

    def _with_versions(self, kind: str, model: type[Model]) -> Ids:
        """Of policies or bundles: what a version of one consists of is logged under the version."""
        ids, versions = self._ids(kind), self._ids(f"{kind}_version")
        return ids | common.containers_of(model, f"{kind}_id", versions) if ids is not None and versions else ids

    def _connector_ids(self, secret_ids: frozenset[str]) -> Ids:
        """Also of those that present one of these secrets, or may find now the one they lacked; and of those whose way
        to accounts changed."""
        ids = self._ids("connector")
        clients = self._ids("upstream_client")
        if ids is None or clients is None or not (secret_ids or clients):
            return ids
        ids |= common.containers_of(models.UpstreamClient, "connector_id", clients) - {""}
        ids = ids.union(each.id for each in self.base.connectors.values() if each.upstream_client in clients)
        connectors = self.base.connectors.values()
        presenting = (each.id for each in connectors if each.secret is not None and each.secret.id in secret_ids)
        return ids.union(presenting, (each.id for each in connectors if each.secret_missing))

    # -- reading

    def _read_organization(self) -> None:
        if not self._is_touched("organization"):
            return
        row = models.Organization.objects.first() or models.Organization()
        self.organization_policies = frozenset() if row._state.adding else common.keys(row.policies.all())
        self.organization = replace(
            self.base,
            organization=row.name,
            calendar=organization.calendar_of(row),
            networks=organization.networks_of(row),
            agents_may_ask=row.agents_may_ask,
            retention=default_class().name,
            erasures=models.Erasure.objects.count(),
        )

    def _read_rules(self) -> None:
        self.policies = self._with_versions("policy", models.PolicyVersion)
        self.rule_rows = ruling.rules(self.policies)
        bundles = self._with_versions("bundle", models.BundleVersion)
        self.editions = _renewed(self.editions, bundles, ruling.editions)
        self.staged_editions = _renewed(self.staged_editions, bundles, ruling.staged_editions)

    def _read_upstreams(self) -> None:
        known = {secret.id: secret for secret in self.secrets}
        secrets = _renewed(known, self._ids("secret"), upstreams.secrets)
        if secrets is not known:
            self.secrets = tuple(sorted(secrets.values(), key=lambda secret: secret.id))
        read = partial(upstreams.connectors, secrets=secrets)
        self.connectors = _renewed(self.connectors, self._connector_ids(_unlike(secrets, known)), read)
        tools = _renewed(self.tools, self._ids("tool"), partial(upstreams.tools, connectors=self.connectors))
        self.tools = self._at_present_connectors(tools)

    def _read_people(self) -> None:
        self.teams = _renewed(self.teams, self._ids("team"), who.teams)
        self.shifts = _renewed(self.base.shifts, self._ids("team"), who.shifts)
        read = partial(who.people, place=_Tree(self.teams).place)
        self.people = self._in_their_teams(_renewed(self.people, self._ids("person"), read))
        self.roles = _renewed(self.roles, self._ids("role"), who.roles)

    def _agents(self, only: Ids) -> dict[str, Agent]:
        return who.agents(only, people=self.people, roles=self.roles)

    def _credentials(self) -> Mapping[bytes, Credential]:
        """The log names them by id."""
        known, ids = self.base.credentials, self._ids("credential")
        if ids is None:
            return who.credentials(None)
        if not ids:
            return known
        return _patched(known, [each.digest for each in known.values() if each.id in ids], who.credentials(ids))

    def _ends_of(self, credentials: Mapping[bytes, Credential]) -> Mapping[str, datetime]:
        if credentials is self.base.credentials:
            return self.base.credential_ends
        return {each.id: each.expires_at for each in credentials.values() if each.expires_at is not None}

    # -- what holds other parts than before

    def _at_present_connectors(self, tools: Mapping[str, Tool]) -> Mapping[str, Tool]:
        changed = _unlike(self.connectors, self.base.connectors)
        kept = _both(self.base.tools, tools) if changed else ()
        moved = (tool for tool in kept if tool.connector.id in changed)
        return _patched(tools, (), {tool.id: _at(tool, self.connectors[tool.connector.id]) for tool in moved})

    def _in_their_teams(self, people: Mapping[str, Person]) -> Mapping[str, Person]:
        """A team touches all its people, by its name and its place in the tree."""
        changed = _unlike(self.teams, self.base.teams)
        kept = _both(self.base.people, people) if changed else ()
        moved = (person for person in kept if not changed.isdisjoint(person.team_ids))
        tree = _Tree(self.teams)
        return _patched(people, (), {person.id: tree.placed(person) for person in moved})

    def _with_present_parts(self, agents: Mapping[str, Agent]) -> Mapping[str, Agent]:
        people, roles = _unlike(self.people, self.base.people), _unlike(self.roles, self.base.roles)
        kept = _both(self.base.agents, agents) if people or roles else ()
        moved = (
            agent
            for agent in kept
            if agent.owner.id in people or (roles and any(role.id in roles for role in agent.roles))
        )
        return _patched(agents, (), {agent.id: self._with_parts(agent) for agent in moved})

    def _with_parts(self, agent: Agent) -> Agent:
        owner, roles = self.people[agent.owner.id], tuple(self.roles[role.id] for role in agent.roles)
        return replace(agent, owner=owner, roles=roles, variables={**agent.variables, "owner": owner.email})

    # -- compiling

    def _compiled(self, agents: Mapping[str, Agent]) -> Snapshot:
        bundles, staged = self._bundles()
        team_rules, team_policies = self._of_teams()
        return replace(
            self.organization,
            organization_policies=self.organization_policies,
            rules=self.rules,
            editions=self.editions,
            staged_editions=self.staged_editions,
            secrets=self.secrets,
            connectors=self.connectors,
            tools=self.tools,
            bundles=bundles,
            staged=staged,
            bundle_ids={bundle.name: bundle.id for held in (staged, bundles) for bundle in held.values()},
            teams=self.teams,
            team_rules=team_rules,
            team_policies=team_policies,
            people=self.people,
            roles=self.roles,
            agents=self._with_present_parts(agents),
        )

    def _of_teams(self) -> tuple[Mapping[str, tuple[Rule, ...]], Mapping[str, frozenset[str]]]:
        """Of each team its own rules, and the read-set entries of its policies."""
        if self.teams is self.base.teams and self.rules is self.base.rules:
            return self.base.team_rules, self.base.team_policies
        return (
            {i: policy_rules(self.rules, team.policy_ids, f"team {team.name}") for i, team in self.teams.items()},
            {i: policy_entries(team.policy_ids) for i, team in self.teams.items()},
        )

    def _bundles(self) -> tuple[Mapping[str, Bundle], Mapping[str, Bundle]]:
        """The published and the staged; those that rest on nothing that changed stay."""
        return (
            self._compile(self.editions, self.base.bundles, self.base.editions),
            self._compile(self.staged_editions, self.base.staged, self.base.staged_editions),
        )

    def _compile(
        self, editions: Mapping[str, Edition], known: Mapping[str, Bundle], before: Mapping[str, Edition]
    ) -> Mapping[str, Bundle]:
        """`known` are the bundles that were compiled of the editions `before`."""
        connectors = self._connectors_that_offer_anew()
        entries = self._entries_that_changed()
        stale = frozenset(
            i
            for i, edition in editions.items()
            if edition is not before.get(i)
            or self._is_stale(known.get(i), entries)
            or any(pick.connector_id in connectors for pick in edition.picks)
        )
        same = (i for i in stale & known.keys() if self._offers_the_same(editions[i], before[i], connectors))
        compiler = Compiler(
            self.editions,
            self.rules,
            self.organization_policies,
            self.connectors,
            self.tools,
            known={i: known[i] for i in same},
        )
        return _patched(known, known.keys() - editions.keys(), compiler.bundles(editions[i] for i in stale))

    def _connectors_that_offer_anew(self) -> frozenset[str]:
        """Ids of those that were changed, or a tool of theirs."""
        changed = _unlike(self.tools, self.base.tools)
        tools = [tools[i] for tools in (self.tools, self.base.tools) for i in changed & tools.keys()]
        return _unlike(self.connectors, self.base.connectors).union(tool.connector.id for tool in tools)

    def _entries_that_changed(self) -> Set[str] | None:
        """As read sets have them; None where all bundles rest on what changed."""
        if self.organization_policies != self.base.organization_policies:
            return None
        changed = {f"bundle:{i}" for i in _unlike(self.editions, self.base.editions)}
        return changed | policy_entries(_unlike(self.rules, self.base.rules))

    @staticmethod
    def _is_stale(known: Bundle | None, entries: Set[str] | None) -> bool:
        return known is None or entries is None or not known.ancestry.isdisjoint(entries)

    def _offers_the_same(self, edition: Edition, before: Edition, connectors: frozenset[str]) -> bool:
        is_touched = any(pick.connector_id in connectors for pick in edition.picks)
        if is_touched or (edition.names, edition.picks) != (before.names, before.picks):
            return False
        return refused_by_ancestors(edition, self.editions) == refused_by_ancestors(before, self.base.editions)


class _Tree:
    """The teams as they stand above each other."""

    def __init__(self, teams: Mapping[str, Team]) -> None:
        self._teams = teams

    def place(self, member_of: Iterable[str]) -> Place:
        path = tuple(dict.fromkeys(step for team in member_of for step in self._path(team)))
        teams = [self._teams[team] for team in path]
        attributes: dict[str, dict[str, None]] = {}
        for team in teams:
            for name, values in team.attributes.items():
                attributes.setdefault(name, {}).update(dict.fromkeys(values))
        merged = {name: list(values) for name, values in attributes.items()}
        return Place(path, sorted(team.name for team in teams), merged)

    def placed(self, person: Person) -> Person:
        place = self.place(person.member_of)
        variables = {**person.variables, "teams": place.teams, "attributes": place.attributes}
        return replace(person, team_ids=place.team_ids, variables=variables)

    def _path(self, team_id: str) -> Iterable[str]:
        """From the root. A cycle ends where it began."""
        path: list[str] = []
        step = team_id
        while step and step not in path:
            path.append(step)
            step = self._teams[step].parent_id
        return reversed(path)


def _at(tool: Tool, connector: Connector) -> Tool:
    variables = {**tool.variables, "connector": connector.name, "environment": connector.stage}
    return replace(tool, connector=connector, variables=variables)


def _renewed(base: Mapping[str, Value], ids: Ids, read: Callable[[Ids], Mapping[str, Value]]) -> Mapping[str, Value]:
    """`base` with these ids read again. What is equal stays the same object, the whole if all of it is."""
    if ids is None:
        return read(None)
    if not ids:
        return base
    fresh = read(ids)
    changed = {i: value for i, value in fresh.items() if base.get(i) != value}
    return _patched(base, ids - fresh.keys(), changed)


def _renewed_ids(base: frozenset[str], ids: Ids, read: Callable[[Ids], frozenset[str]]) -> frozenset[str]:
    """The same of ids of which nothing else is known."""
    if ids is None:
        return read(None)
    return (base - ids) | read(ids) if ids else base


def _patched(base: Mapping[Id, Value], gone: Iterable[Id], fresh: Mapping[Id, Value]) -> Mapping[Id, Value]:
    """`base` without those that are gone, and with what is fresh."""
    leaving = [i for i in gone if i in base]
    if not leaving and not fresh:
        return base
    patched = dict(base)
    for i in leaving:
        del patched[i]
    patched.update(fresh)
    return patched


def _unlike(one: Mapping[str, Value], other: Mapping[str, Value]) -> frozenset[str]:
    """Ids of what is not the same object in both."""
    if one is other:
        return frozenset()
    return frozenset(i for i in one.keys() | other.keys() if one.get(i) is not other.get(i))


def _both(one: Mapping[str, Value], other: Mapping[str, Value]) -> Iterator[Value]:
    """What is the same object in both."""
    return (value for i, value in one.items() if other.get(i) is value)
