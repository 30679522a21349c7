"""Governed rows as the values that snapshots are made of: of some ids, or of all. The caller holds the transaction."""

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Model, QuerySet

from governance import models
from governance.conditions import Condition, ConditionError, compile_condition
from governance.snapshot import (
    Agent,
    Connector,
    Credential,
    Edition,
    Freeze,
    Person,
    Pick,
    Program,
    RateLimit,
    Role,
    Rule,
    SealedSecret,
    Team,
    Tool,
    Undecidable,
)

logger = logging.getLogger(__name__)

Ids = frozenset[str] | None
"""Of the rows to read; None for all."""
Place = Callable[[Iterable[str]], tuple[tuple[str, ...], list[str]]]
"""Teams somebody is a member of -> ids of these and all above them, from the roots down; and their names."""

TOOL_FIELDS = ("connector_id", "name", "timeout_seconds", "risk", "is_read_only", "data_classes")
REQUEST_COLUMNS = (
    "kind",
    "urls",
    "timeout_seconds",
    "relays",
    "max_running",
    "max_waiting",
    "command",
    "environment",
    "secret_variable",
    "per_agent",
    "memory_mb",
)
"""Of a connector: all that says how to talk to its upstream."""
CONDITIONS_KEPT = 10_000


def key(value: UUID | None) -> str:
    """Empty for none."""
    return value.hex if value is not None else ""


def keys(rows: Iterable[Model]) -> frozenset[str]:
    return frozenset(row.pk.hex for row in rows)


def containers_of(model: type[Model], column: str, ids: Iterable[str]) -> frozenset[str]:
    """What the rows with these ids belong to; nothing for rows that are gone."""
    return frozenset(key(i) for i in _among(model._default_manager.all(), "id", ids).values_list(column, flat=True))


def _among(rows: QuerySet[Any], column: str, only: Iterable[str] | None) -> QuerySet[Any]:
    return rows if only is None else rows.filter(**{f"{column}__in": [UUID(i) for i in only]})


# -- upstreams


def secrets(only: Ids) -> dict[str, SealedSecret]:
    rows = _among(models.SecretVersion.objects.filter(retired_at=None), "secret_id", only).select_related("secret")
    return {
        key(row.secret_id): SealedSecret(
            id=key(row.secret_id),
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


def connectors(only: Ids, *, secrets: Mapping[str, SealedSecret]) -> dict[str, Connector]:
    rows = _among(models.Connector.objects.all(), "id", only)
    return {key(row.id): _connector(row, secrets.get(key(row.secret_id))) for row in rows}


def _connector(row: models.Connector, secret: SealedSecret | None) -> Connector:
    return Connector(
        id=key(row.id),
        name=row.name,
        kind=row.kind,
        urls=tuple(row.urls),
        timeout_seconds=row.timeout_seconds,
        is_enabled=row.is_enabled,
        secret=secret,
        secret_missing=row.secret_id is not None and secret is None,
        revision=_revision(row),
        relays=frozenset(row.relays),
        max_running=row.max_running,
        max_waiting=row.max_waiting,
        program=program_of(row),
    )


def _revision(row: models.Connector) -> str:
    said = [getattr(row, column) for column in REQUEST_COLUMNS]
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def program_of(row: models.Connector) -> Program | None:
    """None: it is no local server."""
    if not row.command:
        return None
    return Program(tuple(row.command), row.environment, row.secret_variable, row.per_agent, row.memory_mb)


def tools(only: Ids, *, connectors: Mapping[str, Connector]) -> dict[str, Tool]:
    served = models.ToolDefinition.objects.filter(status="pinned", tool__quarantined_at=None).order_by()
    fields = ("tool_id", "digest", "body", *(f"tool__{name}" for name in TOOL_FIELDS))
    found = _among(served, "tool_id", only).values_list(*fields)
    return {key(row[0]): _tool(row, connectors[key(row[3])]) for row in found}


def _tool(row: tuple[Any, ...], connector: Connector) -> Tool:
    tool_id, digest, body, _, name, timeout_seconds, risk, read_only, data_classes = row
    return Tool(
        id=key(tool_id),
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
        timeout_seconds=timeout_seconds,
    )


# -- rules and bundles


def rules(only: Ids) -> Mapping[str, list[models.Rule]]:
    """Policy id -> rows of its version in force, for `rule_of`."""
    found: dict[str, list[models.Rule]] = defaultdict(list)
    if only is None or only:
        rows = _among(models.Rule.objects.filter(version__state="published"), "version__policy_id", only)
        for row in rows.prefetch_related("version__policy").order_by("version_id", "position"):
            found[key(row.version.policy_id)].append(row)
    return found


def rule_of(row: models.Rule) -> Rule:
    """Compiles its condition."""
    return Rule(
        policy_id=key(row.version.policy_id),
        policy=row.version.policy.name,
        version_id=key(row.version_id),
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
        return _compiled(row.condition)
    except ConditionError:
        logger.error("condition of %s does not compile: the rule counts as undecided", row)
        return Undecidable()


@lru_cache(maxsize=CONDITIONS_KEPT)
def _compiled(condition: str) -> Condition:
    """Compiling takes most of the time of reading a rule, and rules outlive snapshots. Raises ConditionError."""
    return compile_condition(condition)


def _mentions(condition: str, variable: str) -> bool:
    """Errs towards yes: a mention inside a string literal counts too."""
    return re.search(rf"\b{variable}\b", condition) is not None


def editions(only: Ids) -> dict[str, Edition]:
    """Bundle id -> its published version."""
    rows = _among(models.BundleVersion.objects.filter(state="published"), "bundle_id", only).select_related("bundle")
    rows = rows.prefetch_related("parents", "policies", "tools", "selections").order_by()
    return {key(row.bundle_id): edition_of(row) for row in rows}


def edition_of(row: models.BundleVersion) -> Edition:
    picks = [_pick("tool", entry) for entry in row.tools.all()]
    picks += [_pick(entry.kind, entry) for entry in row.selections.all()]
    return Edition(
        bundle_id=key(row.bundle_id),
        name=row.bundle.name,
        title=row.bundle.title,
        version_id=key(row.id),
        number=row.number,
        names=row.names,
        recording=row.recording,
        parent_ids=keys(row.parents.all()),
        policy_ids=keys(row.policies.all()),
        picks=tuple(sorted(picks, key=lambda pick: (pick.kind, pick.connector_id))),
    )


def _pick(kind: str, entry: models.BundleTool | models.BundleSelection) -> Pick:
    return Pick(kind, key(entry.connector_id), tuple(entry.allow), tuple(entry.deny))


# -- who


def teams(only: Ids) -> dict[str, Team]:
    rows = _among(models.Team.objects.prefetch_related("policies"), "id", only)
    return {key(row.id): team_of(row) for row in rows}


def team_of(row: models.Team) -> Team:
    return Team(key(row.id), row.name, key(row.parent_id), keys(row.policies.all()))


def people(only: Ids, *, place: Place) -> dict[str, Person]:
    teams: dict[str, list[str]] = defaultdict(list)
    members = _among(models.User.teams.through.objects.order_by("team_id"), "user_id", only)
    for user, team in members.values_list("user_id", "team_id"):
        teams[key(user)].append(key(team))
    rows = _among(models.User.objects.order_by(), "id", only)
    fields = rows.values_list("id", "email", "name", "is_active", "is_staff")
    return {key(row[0]): person_of(*row, teams=teams.get(key(row[0]), ()), place=place) for row in fields}


def person_of(
    i: UUID, email: str, name: str, is_active: bool, is_staff: bool, *, teams: Iterable[str], place: Place
) -> Person:
    member_of = tuple(sorted(teams))
    path, names = place(member_of)
    return Person(
        id=key(i),
        email=email,
        name=name,
        is_active=is_active,
        is_staff=is_staff,
        team_ids=path,
        variables={"email": email, "name": name, "staff": is_staff, "teams": names},
        member_of=member_of,
    )


def roles(only: Ids) -> dict[str, Role]:
    bundles: dict[str, set[str]] = defaultdict(set)
    given = _among(models.Role.bundles.through.objects.all(), "role_id", only)
    for role, bundle in given.values_list("role_id", "bundle_id"):
        bundles[key(role)].add(key(bundle))
    rows = _among(models.Role.objects.all(), "id", only)
    return {
        key(row.id): Role(
            key(row.id), row.name, frozenset(bundles[key(row.id)]), row.starts_at, row.ends_at, row.schedule
        )
        for row in rows
    }


def agents(only: Ids, *, people: Mapping[str, Person], roles: Mapping[str, Role]) -> dict[str, Agent]:
    held: dict[str, list[Role]] = defaultdict(list)
    members = _among(models.Role.agents.through.objects.order_by("role_id"), "agent_id", only)
    for role, agent in members.values_list("role_id", "agent_id"):
        held[key(agent)].append(roles[key(role)])
    rows = _among(models.Agent.objects.order_by(), "id", only)
    fields = rows.values_list("id", "name", "status", "owner_id", "title", "purpose")
    return {key(row[0]): _agent(row, people[key(row[3])], tuple(held.get(key(row[0]), ()))) for row in fields}


def _agent(row: tuple[Any, ...], owner: Person, roles: tuple[Role, ...]) -> Agent:
    agent_id, name, status, _, title, purpose = row
    variables = {"name": name, "title": title, "purpose": purpose, "owner": owner.email}
    return Agent(key(agent_id), name, status, owner, roles, variables)


def credentials(only: Ids) -> dict[bytes, Credential]:
    """By digest."""
    rows = _among(models.AgentCredential.objects.filter(revoked_at=None).order_by(), "id", only)
    fields = rows.values_list("digest", "id", "agent_id", "not_before", "expires_at")
    return {
        bytes(digest): Credential(key(i), key(agent), bytes(digest), start, end)
        for digest, i, agent, start, end in fields
    }


# -- what bounds everybody


def freezes() -> tuple[Freeze, ...]:
    return tuple(freeze_of(row) for row in models.Freeze.objects.filter(lifted_at=None).order_by("created_at"))


def freeze_of(row: models.Freeze) -> Freeze:
    return Freeze(
        agent_id=key(row.agent_id) or None,
        connector_id=key(row.connector_id) or None,
        tool_id=key(row.tool_id) or None,
        reason=row.reason,
        ends_at=row.ends_at,
    )


def limits() -> tuple[RateLimit, ...]:
    return tuple(_rate_limit(row) for row in models.RateLimit.objects.filter(is_enabled=True))


def _rate_limit(row: models.RateLimit) -> RateLimit:
    return RateLimit(
        id=key(row.id),
        name=row.name,
        per=row.per,
        tools=tuple(row.tools),
        window_seconds=row.window_seconds,
        max_requests=row.max_requests,
        max_bytes=row.max_bytes,
        max_running=row.max_running,
    )
