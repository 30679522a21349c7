"""Governed rows as the values that snapshots are made of: of some ids, or of all. The caller holds the transaction."""

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from django.db.models import Model, QuerySet
from django.db.models.functions import Now

from governance import models
from governance.approval_terms import Terms, TermsError, parse_terms
from governance.conditions import Condition, ConditionError, compile_condition
from governance.connected_accounts import covers
from governance.inspection.class_description import DataClass
from governance.networks import Networks, parse_networks
from governance.snapshot import (
    NOBODY,
    Account,
    Agent,
    AllowedPattern,
    Baseline,
    Connector,
    Credential,
    Edition,
    Freeze,
    Grant,
    Person,
    Pick,
    Program,
    RateLimit,
    Reaction,
    Role,
    Rule,
    Scope,
    SealedCanary,
    SealedSecret,
    Shifts,
    Team,
    Tool,
    Undecidable,
)
from governance.snapshot_values import OutsideDetector
from governance.time_of_day import WEEKDAYS, Calendar

logger = logging.getLogger(__name__)

Ids = frozenset[str] | None
"""Of the rows to read; None for all."""


class Place(NamedTuple):
    """Where somebody stands: ids of her teams and all above them, from the roots down, and what these give her."""

    team_ids: tuple[str, ...]
    teams: list[str]
    """Their names."""
    attributes: dict[str, list[str]]


Placing = Callable[[Iterable[str]], Place]
"""Of somebody who is a member of these teams."""

TOOL_FIELDS = (
    *("connector_id", "name", "timeout_seconds", "risk", "is_read_only", "data_classes"),
    *("is_untrusted", "is_egress", "undo"),
)
PERSON_FIELDS = (
    *("id", "email", "name", "is_active", "is_staff"),
    *("duties", "manager_id", "same_as_id", "is_superuser"),
)
PAST_KEPT = timedelta(days=1)
"""Shifts and grants that ended earlier interest nobody who decides."""
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
    rows = _among(models.Connector.objects.select_related("upstream_client"), "id", only)
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
        owner_id=key(row.owner_id),
        stage=row.stage,
        account=row.account,
        upstream_client=_upstream_client(row, secret),
    )


def _upstream_client(row: models.Connector, secret: SealedSecret | None) -> str:
    """Empty where it does not fit any more what the connector has become: tokens go only where they were meant for."""
    client = getattr(row, "upstream_client", None)
    if not row.account or client is None or not covers(client.resource, row.urls):
        return ""
    fits = key(client.secret_id) == key(row.secret_id) and (secret is None or secret.kind == "oauth_client")
    return key(client.pk) if fits else ""


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
    tool_id, digest, body, _, name, timeout_seconds, risk, read_only, data_classes, untrusted, egress, undo = row
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
            "environment": connector.stage,
            "untrusted": untrusted,
            "egress": egress,
            "undo": undo,
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
    masks = row.effect == models.Rule.Effect.MASK and bool(row.fields)
    on_result = row.on == models.Rule.Side.RESULT
    condition = _condition(row.condition, row)
    if (masks or on_result) and _mentions(row.condition, "findings"):
        condition = Undecidable()  # conditions are worked out before the call: nobody knows the result's findings yet
    return Rule(
        policy_id=key(row.version.policy_id),
        policy=row.version.policy.name,
        version_id=key(row.version_id),
        version=row.version.number,
        position=row.position,
        effect=row.effect,
        tools=tuple(row.tools),
        condition=condition,
        reads_arguments=_mentions(row.condition, "args"),
        reads_content=not masks and (bool(row.findings) or on_result),
        reason=row.reason,
        connectors=tuple(row.connectors),
        data_classes=frozenset(row.data_classes),
        risks=frozenset(row.risks),
        access=row.access,
        fields=tuple(row.fields) if masks else (),
        terms=terms_of(row.approvers, row) if row.effect == models.Rule.Effect.ASK else None,
        on=row.on,
        findings=frozenset(row.findings),
        is_open=row.on_failure == models.Rule.OnFailure.OPEN,
        reversible=row.reversible,
        keep_last=row.keep_last,
    )


def terms_of(approvers: Mapping[str, Any], of: object) -> Terms:
    """Of what cannot be read nobody may approve anything."""
    try:
        return parse_terms(approvers)
    except (TermsError, TypeError, ValueError, AttributeError):
        logger.error("approvers of %s cannot be read: nobody can agree", of)
        return NOBODY


def _condition(source: str, of: object) -> Condition | Undecidable | None:
    if not source:
        return None
    try:
        return _compiled(source)
    except ConditionError:
        logger.error("condition of %s does not compile: it counts as undecided", of)
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
    return _editions("published", only)


def staged_editions(only: Ids) -> dict[str, Edition]:
    """Bundle id -> its staged version."""
    return _editions("staged", only)


def _editions(state: str, only: Ids) -> dict[str, Edition]:
    rows = _among(models.BundleVersion.objects.filter(state=state), "bundle_id", only).select_related(
        "bundle__retention"
    )
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
        retention=row.bundle.retention.name if row.bundle.retention else "",
    )


def _pick(kind: str, entry: models.BundleTool | models.BundleSelection) -> Pick:
    return Pick(kind, key(entry.connector_id), tuple(entry.allow), tuple(entry.deny))


# -- who


def teams(only: Ids) -> dict[str, Team]:
    rows = _among(models.Team.objects.prefetch_related("policies"), "id", only)
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
    rows = _among(models.OnCallShift.objects.filter(ends_at__gt=Now() - PAST_KEPT), "team_id", only)
    found: dict[str, list[tuple[str, Any, Any]]] = defaultdict(list)
    for team, person, start, end in rows.order_by("starts_at", "id").values_list(
        "team_id", "person_id", "starts_at", "ends_at"
    ):
        found[key(team)].append((key(person), start, end))
    return {team: tuple(on_call) for team, on_call in found.items()}


def people(only: Ids, *, place: Placing) -> dict[str, Person]:
    teams: dict[str, list[str]] = defaultdict(list)
    members = _among(models.User.teams.through.objects.order_by("team_id"), "user_id", only)
    for user, team in members.values_list("user_id", "team_id"):
        teams[key(user)].append(key(team))
    rows = _among(models.User.objects.order_by(), "id", only)
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
    rows = _among(models.Role.objects.all(), "id", only)
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
    for role, other in _among(through.objects.all(), "role_id", only).values_list("role_id", column):
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
    return Scope(tools, _condition(source, of) or Undecidable(), text)


def agents(only: Ids, *, people: Mapping[str, Person], roles: Mapping[str, Role]) -> dict[str, Agent]:
    held: dict[str, list[Role]] = defaultdict(list)
    members = _among(models.Role.agents.through.objects.order_by("role_id"), "agent_id", only)
    for role, agent in members.values_list("role_id", "agent_id"):
        held[key(agent)].append(roles[key(role)])
    staged = _staged_versions(only)
    rows = _among(models.Agent.objects.order_by(), "id", only)
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
    rows = _among(through.objects.all(), "agent_id", only)
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
    rows = _among(keys.order_by(), "id", only)
    fields = rows.values_list("digest", "id", "agent_id", "not_before", "expires_at", "person_id")
    return {
        bytes(digest): Credential(key(i), key(agent), bytes(digest), start, end, key(person))
        for digest, i, agent, start, end, person in fields
    }


def proofs(only: Ids) -> frozenset[str]:
    """Ids of the live credentials that are no keys."""
    others = models.AgentCredential.objects.filter(revoked_at=None).exclude(kind=models.AgentCredential.Kind.KEY)
    return frozenset(map(key, _among(others.order_by(), "id", only).values_list("id", flat=True)))


def authorizations(only: Ids) -> frozenset[str]:
    rows = _among(models.Authorization.objects.filter(revoked_at=None).order_by(), "id", only)
    return frozenset(map(key, rows.values_list("id", flat=True)))


def ended_tokens(only: Ids) -> frozenset[str]:
    rows = _among(models.TokenRevocation.objects.all(), "token_id", only)
    return frozenset(map(key, rows.values_list("token_id", flat=True)))


def accounts(only: Ids) -> dict[str, Account]:
    rows = models.UpstreamGrant.objects.exclude(status="ended").exclude(connector=None).order_by()
    found = _among(rows, "id", only).values_list("id", "connector_id", "person_id", "client_id", "status")
    return {
        key(i): Account(key(i), key(connector), key(person), key(client), status)
        for i, connector, person, client, status in found
    }


# -- access and consent for a time, and what happens by itself


def grants() -> dict[str, Grant]:
    rows = models.Grant.objects.filter(revoked_at=None, ends_at__gt=Now() - PAST_KEPT).order_by("starts_at", "id")
    read = (_grant(row) for row in rows)
    return {grant.id: grant for grant in read if grant is not None}


def _grant(row: models.Grant) -> Grant | None:
    """None for one that cannot be read: it gives nothing."""
    try:
        approvers, rules = tuple(UUID(i).hex for i in row.approvers), frozenset(row.rules)
    except (TypeError, ValueError, AttributeError):
        logger.error("grant %s cannot be read: it gives nothing", row.pk)
        return None
    return Grant(
        id=key(row.id),
        kind=row.kind,
        agent_id=key(row.agent_id),
        person_id=key(row.person_id),
        bundle_id=key(row.bundle_id),
        tool_id=key(row.tool_id),
        condition=_condition(row.condition, f"grant {row.pk}"),
        rules=rules,
        definition_digest=row.definition_digest,
        session=row.session,
        approvers=approvers,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        is_counted=row.max_uses is not None,
    )


def reactions() -> tuple[Reaction, ...]:
    return tuple(_reaction(row) for row in models.Reaction.objects.filter(is_enabled=True).order_by("name"))


def data_classes() -> Mapping[str, DataClass]:
    return {row.name: row.described() for row in models.DataClass.objects.order_by("name")}


def baselines(only: Ids) -> dict[str, Baseline]:
    rows = _among(models.AgentBaseline.objects.all(), "agent_id", only)
    return {
        key(row.agent_id): Baseline(
            row.learns_until,
            frozenset(row.tools),
            frozenset(tool.partition("/")[0] for tool in row.tools),
            frozenset(row.hours),
            row.busiest_hour,
            frozenset(row.destinations),
            row.destinations_from,
        )
        for row in rows
    }


def detectors() -> Mapping[str, OutsideDetector]:
    return {row.name: detector_of(row) for row in models.ExternalDetector.objects.order_by("name")}


def detector_of(row: models.ExternalDetector) -> OutsideDetector:
    return OutsideDetector(
        id=key(row.id),
        name=row.name,
        kind=row.kind,
        version=row.number,
        settings=row.settings,
        secret_id=key(row.secret_id) if row.secret_id else "",
        side=row.side,
        timeout_ms=row.timeout_ms,
        most_bytes=row.most_bytes,
        severity=row.severity,
        least_confidence=row.least_confidence,
        sends_known_secrets=row.send_known_secrets,
        is_enabled=row.is_enabled,
    )


def canaries() -> tuple[SealedCanary, ...]:
    rows = models.Canary.objects.order_by("name")
    return tuple(
        SealedCanary(key(row.id), row.name, row.kind, row.key_id, bytes(row.wrapped_key), bytes(row.ciphertext))
        for row in rows
    )


def _reaction(row: models.Reaction) -> Reaction:
    return Reaction(
        id=key(row.id),
        name=row.name,
        trigger=row.trigger,
        count=row.count,
        minutes=row.minutes,
        findings=frozenset(row.findings),
        action=row.action,
        lasting_minutes=row.lasting_minutes,
        terms=terms_of(row.approvers, f"reaction {row.name}"),
    )


def exceptions() -> tuple[AllowedPattern, ...]:
    """What is over is left out, as the database's clock has it; who reads looks at the end again."""
    rows = models.PatternException.objects.filter(ended_at=None, awaits_second=False, ends_at__gt=Now())
    return tuple(
        AllowedPattern(
            name=row.name,
            rule=row.rule,
            fingerprint=row.fingerprint,
            path=row.path,
            tool_id=key(row.tool_id),
            connector_id=key(row.connector_id),
            bundle_id=key(row.bundle_id),
            ends_at=row.ends_at,
        )
        for row in rows.order_by("name")
    )


def detection_off() -> frozenset[str]:
    return frozenset(models.DetectionOff.objects.values_list("rule", flat=True))


# -- the organisation


def calendar_of(row: models.Organization) -> Calendar:
    """What cannot be read is left open: conditions that rest on it are undecided, roles closed on holidays closed."""
    days, opens, closes = _business_hours(row)
    return Calendar(ZoneInfo(row.timezone), days, opens, closes, _holidays(row))


def _business_hours(row: models.Organization) -> tuple[tuple[str, ...], time, time]:
    usual = Calendar()
    hours = row.business_hours
    if hours == {}:
        return usual.days, usual.opens, usual.closes
    try:
        days = tuple(day for day in WEEKDAYS if day in hours["days"])
        return days, time.fromisoformat(hours["from"]), time.fromisoformat(hours["to"])
    except (KeyError, TypeError, ValueError):
        logger.error("the organisation's business hours cannot be read: nobody knows when they are")
        return (), usual.opens, usual.closes


def _holidays(row: models.Organization) -> frozenset[date] | None:
    try:
        return frozenset(date.fromisoformat(entry["date"]) for entry in row.holidays)
    except (KeyError, TypeError, ValueError):
        logger.error("the organisation's holidays cannot be read: any day may be one")
        return None


def networks_of(row: models.Organization) -> Networks:
    try:
        return parse_networks(row.networks)
    except (TypeError, ValueError, AttributeError):
        logger.error("the organisation's networks cannot be read: nobody knows where a call comes from")
        return Networks(None)


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
        labels=frozenset(row.labels),
    )
