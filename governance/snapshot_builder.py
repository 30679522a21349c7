"""Compiles the governed rows into a Snapshot, in one read transaction, epoch first."""

import gc
import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast
from zoneinfo import ZoneInfo

import orjson
from django.db import connection, transaction

from governance import models
from governance.conditions import Condition, ConditionError, compile_condition
from governance.fence.sqlite.base import DatabaseWrapper as SqliteWrapper
from governance.snapshot import (
    Agent,
    Bundle,
    Connector,
    Credential,
    Freeze,
    Person,
    Role,
    Rule,
    SealedSecret,
    Snapshot,
    Tool,
    ToolSelector,
    Undecidable,
)

logger = logging.getLogger(__name__)

NAME_LIMIT = 64
TOOL_FIELDS = ("connector_id", "name", "risk", "is_read_only", "data_classes")
PREFIX = "__"
LOOKS_HASHED = re.compile(r"_[0-9a-f]{6}\Z")


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
    builder = _Builder()
    rows = {_key(team.id): team for team in models.Team.objects.all()}
    builder.team_paths = {i: _path_from_root(i, rows) for i in rows}
    columns = (row.id, row.email, row.name, row.is_active, row.is_staff)
    return builder._person(columns, [_key(team.id) for team in teams], {i: team.name for i, team in rows.items()})


def freeze_of(row: models.Freeze) -> Freeze:
    return Freeze(
        agent_id=_key(row.agent_id) or None,
        connector_id=_key(row.connector_id) or None,
        tool_id=_key(row.tool_id) or None,
        reason=row.reason,
        ends_at=row.ends_at,
    )


def build_snapshot() -> Snapshot:
    """Raises django.db.Error when the database is away."""
    with consistent_read(), _without_garbage_collection():
        return _Builder().build()


def revised_snapshot(base: Snapshot, draft: Draft) -> Snapshot:
    """`base` with its bundles and rules read anew, as if the draft were saved. Nothing is written, no lock taken."""
    with consistent_read(), _without_garbage_collection():
        return _Builder(draft).revise(base)


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


def _key(value: Any) -> str:
    return value.hex if value is not None else ""


class _Builder:
    """Each method compiles one kind; later ones read what earlier ones left on `self`."""

    def __init__(self, draft: Draft | None = None) -> None:
        self.draft = draft or Draft()
        self.known: Mapping[str, Bundle] = {}

    def revise(self, base: Snapshot) -> Snapshot:
        """What stays equal stays the same object, so that comparing the two is cheap."""
        self.rules = self._rules()
        self.tools, self.known = base.tools, base.bundles
        self.team_paths, team_rules, team_policies = self._teams()
        self.people = self._people() if self.draft.teams else base.people
        self._read_organization_rules(models.Organization.objects.first() or models.Organization())
        bundles = self._bundles()
        return replace(
            base,
            agents={i: _of_owner(agent, self.people[agent.owner.id]) for i, agent in base.agents.items()},
            people=self.people,
            bundles={i: base.bundles[i] if base.bundles.get(i) == new else new for i, new in bundles.items()},
            bundle_ids={bundle.name: bundle.id for bundle in bundles.values()},
            team_rules=team_rules,
            team_policies=team_policies,
            _holdings={},
        )

    def build(self) -> Snapshot:
        epoch = read_epoch()
        organization = models.Organization.objects.first() or models.Organization()
        self.rules = self._rules()
        self.secrets = self._secrets()
        self.connectors = self._connectors()
        self.tools = self._tools()
        self.team_paths, team_rules, team_policies = self._teams()
        self.people = self._people()
        self.roles = self._roles()
        agents = self._agents()
        self._read_organization_rules(organization)
        bundles = self._bundles()
        credentials = {credential.digest: credential for credential in self._credentials()}
        return Snapshot(
            epoch=epoch,
            timezone=ZoneInfo(organization.timezone),
            organization=organization.name,
            credentials=credentials,
            credential_ends={c.id: c.expires_at for c in credentials.values() if c.expires_at is not None},
            agents=agents,
            people=self.people,
            tools=self.tools,
            connectors=self.connectors,
            secrets=tuple(self.secrets.values()),
            bundles=bundles,
            bundle_ids={bundle.name: bundle.id for bundle in bundles.values()},
            team_rules=team_rules,
            team_policies=team_policies,
            freezes=tuple(self._freezes()),
        )

    def _rules(self) -> dict[str, tuple[Rule, ...]]:
        """Policy id -> rules of its version in force."""
        found: dict[str, list[Rule]] = defaultdict(list)
        rows = models.Rule.objects.filter(version__state="published").select_related("version__policy")
        for row in rows.order_by("version_id", "position"):
            found[_key(row.version.policy_id)].append(_compile_rule(row))
        found.update({policy: [_compile_rule(row) for row in rows] for policy, rows in self.draft.rules.items()})
        return {policy: tuple(rules) for policy, rules in found.items()}

    def _read_organization_rules(self, organization: models.Organization) -> None:
        policies = self.draft.organization_policies
        if policies is None:
            policies = () if organization._state.adding else organization.policies.all()
        self.organization_policies = _policy_entries(policies)
        self.organization_rules = self._policy_rules(policies, "organization")

    def _policy_rules(self, policies: Iterable[models.Policy], origin: str) -> tuple[Rule, ...]:
        ordered = sorted(policies, key=lambda policy: policy.name)
        return tuple(replace(rule, origin=origin) for policy in ordered for rule in self.rules.get(_key(policy.id), ()))

    def _secrets(self) -> dict[str, SealedSecret]:
        rows = models.SecretVersion.objects.filter(retired_at=None).select_related("secret")
        return {
            _key(row.secret_id): SealedSecret(
                id=_key(row.secret_id),
                version_id=str(row.id),
                name=row.secret.name,
                kind=row.secret.kind,
                header_name=row.secret.header_name,
                key_id=row.key_id,
                wrapped_key=bytes(row.wrapped_key),
                ciphertext=bytes(row.ciphertext),
            )
            for row in rows
        }

    def _connectors(self) -> dict[str, Connector]:
        return {_key(row.id): self._connector(row) for row in models.Connector.objects.all()}

    def _connector(self, row: models.Connector) -> Connector:
        secret = self.secrets.get(_key(row.secret_id))
        return Connector(
            id=_key(row.id),
            name=row.name,
            kind=row.kind,
            urls=tuple(row.urls),
            timeout_seconds=row.timeout_seconds,
            is_enabled=row.is_enabled,
            secret=secret,
            secret_missing=row.secret_id is not None and secret is None,
            revision=hashlib.sha256(orjson.dumps([row.kind, row.urls, row.timeout_seconds])).hexdigest()[:16],
        )

    def _tools(self) -> dict[str, Tool]:
        rows = models.ToolDefinition.objects.filter(status="pinned", tool__quarantined_at=None)
        fields = ("tool_id", "digest", "body", *(f"tool__{name}" for name in TOOL_FIELDS))
        return {_key(row[0]): self._tool(*row) for row in rows.values_list(*fields)}

    def _tool(self, tool_id: Any, digest: str, body: Any, connector_id: Any, name: str, *traits: Any) -> Tool:
        connector = self.connectors[_key(connector_id)]
        risk, read_only, data_classes = traits
        return Tool(
            id=_key(tool_id),
            name=name,
            connector=connector,
            definition_digest=digest,
            definition=orjson.loads(bytes(body)),
            variables={
                "name": name,
                "connector": connector.name,
                "risk": risk,
                "read_only": read_only,
                "data_classes": data_classes,
            },
        )

    def _teams(self) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[Rule, ...]], dict[str, frozenset[str]]]:
        """Of each team id: the path of ids from the root; its own rules; the read-set entries of its policies."""
        rows = {_key(team.id): team for team in models.Team.objects.prefetch_related("policies")}
        rows.update(self.draft.teams)
        rules = {i: self._policy_rules(team.policies.all(), f"team {team.name}") for i, team in rows.items()}
        policies = {i: _policy_entries(team.policies.all()) for i, team in rows.items()}
        return {i: _path_from_root(i, rows) for i in rows}, rules, policies

    def _people(self) -> dict[str, Person]:
        teams: dict[str, list[str]] = defaultdict(list)
        for user, team in models.User.teams.through.objects.order_by("team_id").values_list("user_id", "team_id"):
            teams[_key(user)].append(_key(team))
        names = {_key(i): name for i, name in models.Team.objects.values_list("id", "name")}
        fields = models.User.objects.values_list("id", "email", "name", "is_active", "is_staff")
        return {_key(row[0]): self._person(row, teams[_key(row[0])], names) for row in fields}

    def _person(self, row: tuple[Any, ...], teams: list[str], names: Mapping[str, str]) -> Person:
        _, email, name, is_active, is_staff = row
        path = tuple(dict.fromkeys(step for team in teams for step in self.team_paths[team]))
        return Person(
            id=_key(row[0]),
            email=email,
            name=name,
            is_active=is_active,
            is_staff=is_staff,
            team_ids=path,
            variables={
                "email": email,
                "name": name,
                "staff": is_staff,
                "teams": sorted(names[team] for team in path),
            },
        )

    def _roles(self) -> dict[str, Role]:
        bundles: dict[str, set[str]] = defaultdict(set)
        for role, bundle in models.Role.bundles.through.objects.values_list("role_id", "bundle_id"):
            bundles[_key(role)].add(_key(bundle))
        return {
            _key(row.id): Role(
                _key(row.id),
                row.name,
                frozenset(bundles[_key(row.id)]),
                row.starts_at,
                row.ends_at,
                row.schedule,
            )
            for row in models.Role.objects.all()
        }

    def _agents(self) -> dict[str, Agent]:
        roles: dict[str, list[Role]] = defaultdict(list)
        for role, agent in models.Role.agents.through.objects.order_by("role_id").values_list("role_id", "agent_id"):
            roles[_key(agent)].append(self.roles[_key(role)])
        fields = models.Agent.objects.values_list("id", "name", "status", "owner_id", "title", "purpose")
        return {_key(row[0]): self._agent(row, tuple(roles.get(_key(row[0]), ()))) for row in fields}

    def _agent(self, row: tuple[Any, ...], roles: tuple[Role, ...]) -> Agent:
        agent_id, name, status, owner_id, title, purpose = row
        owner = self.people[_key(owner_id)]
        variables = {"name": name, "title": title, "purpose": purpose, "owner": owner.email}
        return Agent(_key(agent_id), name, status, owner, roles, variables)

    def _bundles(self) -> dict[str, Bundle]:
        rows = models.BundleVersion.objects.filter(state="published").select_related("bundle")
        versions = {
            _key(row.bundle_id): row
            for row in rows.prefetch_related("parents", "policies", "tools__connector").order_by("bundle__name")
        }
        drafted: dict[str, models.BundleVersion | None] = {**versions, **self.draft.versions}
        versions = {i: row for i, row in drafted.items() if row is not None}
        self.offers: dict[str, list[Tool]] = defaultdict(list)
        for tool in self.tools.values():
            self.offers[tool.connector.id].append(tool)
        return {i: self._bundle(row, versions) for i, row in versions.items()}

    def _bundle(self, row: models.BundleVersion, versions: Mapping[str, models.BundleVersion]) -> Bundle:
        lineage, is_whole = _lineage(_key(row.bundle_id), versions)
        rules = list(self.organization_rules)
        ancestry: set[str] = set()
        for member in lineage:
            ancestry.add(f"bundle:{member}")
            if member not in versions:
                continue
            version = versions[member]
            policies = version.policies.all()
            rules += self._policy_rules(policies, f"bundle {version.bundle.name} v{version.number}")
            ancestry.add(f"bundle_version:{_key(version.id)}")
            ancestry.update(_policy_entries(policies))
        ancestry.update(self.organization_policies)
        ancestry.update(f"policy_version:{rule.version_id}" for rule in rules)
        tools, by_union_name = self._exposed_once(row) if is_whole else ({}, {})
        return Bundle(
            id=_key(row.bundle_id),
            name=row.bundle.name,
            title=row.bundle.title,
            version_id=_key(row.id),
            number=row.number,
            records_payload=row.recording == "full",
            tools=tools,
            by_union_name=by_union_name,
            tool_ids=frozenset(tool.id for tool in tools.values()),
            rules=tuple(rules),
            ancestry=frozenset(ancestry),
        )

    def _exposed_once(self, row: models.BundleVersion) -> tuple[Mapping[str, Tool], Mapping[str, Tool]]:
        """A version that gave tools to the base gives it the same ones now: versions are frozen."""
        known = self.known.get(_key(row.bundle_id))
        if known is not None and known.tools and known.version_id == _key(row.id):
            return known.tools, known.by_union_name
        return self._exposed(row)

    def _exposed(self, row: models.BundleVersion) -> tuple[dict[str, Tool], dict[str, Tool]]:
        selectors = [
            ToolSelector(_key(entry.connector_id), tuple(entry.allow), tuple(entry.deny)) for entry in row.tools.all()
        ]
        offered = [(selector, tool) for selector in selectors for tool in self.offers[selector.connector_id]]
        tools = {tool.id: tool for selector, tool in offered if selector.selects(tool)}.values()
        is_plain = row.names == "plain" or (not row.names and len(selectors) <= 1)
        return expose(tools, prefixed=not is_plain), expose(tools, prefixed=True)

    def _freezes(self) -> Iterator[Freeze]:
        for row in models.Freeze.objects.filter(lifted_at=None).order_by("created_at"):
            yield freeze_of(row)

    def _credentials(self) -> Iterator[Credential]:
        rows = models.AgentCredential.objects.filter(revoked_at=None)
        for digest, i, agent, start, end in rows.values_list("digest", "id", "agent_id", "not_before", "expires_at"):
            yield Credential(_key(i), _key(agent), bytes(digest), start, end)


def _of_owner(agent: Agent, owner: Person) -> Agent:
    return agent if agent.owner is owner else replace(agent, owner=owner)


def _policy_entries(policies: Iterable[models.Policy]) -> frozenset[str]:
    """Also of policies that have no rule yet: the first rule must touch whoever it binds."""
    return frozenset(f"policy:{_key(policy.id)}" for policy in policies)


def _compile_rule(row: models.Rule) -> Rule:
    return Rule(
        policy_id=_key(row.version.policy_id),
        policy=row.version.policy.name,
        version_id=_key(row.version_id),
        version=row.version.number,
        position=row.position,
        effect=row.effect,
        tools=tuple(row.tools),
        condition=_condition(row),
        reads_arguments=_mentions(row.condition, "args"),
        reads_time=_mentions(row.condition, "time"),
        reads_content=bool(row.findings) or row.on == models.Rule.Side.RESULT,
        reason=row.reason,
    )


def _condition(row: models.Rule) -> Condition | Undecidable | None:
    if not row.condition:
        return None
    try:
        return compile_condition(row.condition)
    except ConditionError:
        logger.error("condition of %s does not compile: the rule counts as undecided", row)
        return Undecidable()


def _mentions(condition: str, variable: str) -> bool:
    """Errs towards yes: a mention inside a string literal counts too."""
    return re.search(rf"\b{variable}\b", condition) is not None


def _path_from_root(team_id: str, teams: Mapping[str, models.Team]) -> tuple[str, ...]:
    path: list[str] = []
    step: str = team_id
    while step and step not in path:
        path.append(step)
        step = _key(teams[step].parent_id)
    return tuple(reversed(path))


def _lineage(bundle_id: str, versions: Mapping[str, models.BundleVersion]) -> tuple[list[str], bool]:
    """Ancestors before the bundle itself, each once; and whether all are published.

    A bundle whose ancestor is not published would lack its rules, so it gives nothing. A cycle ends where it began.
    """
    order: list[str] = []
    visiting: set[str] = set()

    def visit(current: str) -> None:
        if current in visiting:
            return
        visiting.add(current)
        parents = versions[current].parents.all() if current in versions else ()
        for parent in sorted(parents, key=lambda bundle: bundle.name):
            visit(_key(parent.id))
        order.append(current)

    visit(bundle_id)
    return order, all(member in versions for member in order)


def expose(tools: Iterable[Tool], *, prefixed: bool) -> dict[str, Tool]:
    """Exposed name -> tool. Too long, illegal or colliding names are cut and given six hex digits of a hash.

    A name that looks hashed is hashed as well: otherwise one upstream could take the name that another's tool gets.
    """
    ordered = sorted(tools, key=lambda tool: (tool.connector.name, tool.name))
    wanted = [f"{tool.connector.name}{PREFIX}{tool.name}" if prefixed else tool.name for tool in ordered]
    counts = Counter(wanted)
    exposed: dict[str, Tool] = {}
    for name, tool in zip(wanted, ordered, strict=True):
        legal = re.sub(r"[^A-Za-z0-9_./-]", "_", name)
        is_usable = legal == name and len(name) <= NAME_LIMIT and counts[name] == 1 and not LOOKS_HASHED.search(name)
        shown = name if is_usable else _hashed_name(legal, tool)
        if exposed.setdefault(shown, tool) is not tool:
            logger.error("tool %s/%s is left out: its exposed name is taken", tool.connector.name, tool.name)
    return exposed


def _hashed_name(legal: str, tool: Tool) -> str:
    digest = hashlib.sha256(f"{tool.connector.name}/{tool.name}".encode()).hexdigest()[:6]
    return f"{legal[: NAME_LIMIT - 7]}_{digest}"
