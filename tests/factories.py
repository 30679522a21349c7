"""Builders of snapshot values for tests of pure code; every argument has a harmless default."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from governance.conditions import compile_condition
from governance.snapshot import (
    Agent,
    Bundle,
    Connector,
    Credential,
    Freeze,
    Grant,
    Person,
    Role,
    Rule,
    Selection,
    Snapshot,
    Tool,
)
from governance.time_of_day import Calendar

KEY = "gate_ak_" + "0" * 49


def person(
    email: str = "ana@example.com",
    *,
    is_active: bool = True,
    teams: tuple[str, ...] = (),
    attributes: Mapping[str, list[str]] | None = None,
) -> Person:
    said = attributes or {}
    variables = {"email": email, "name": "", "staff": False, "teams": list(teams), "attributes": said}
    return Person(f"person-{email}", email, "", is_active, False, teams, variables)


def grant(kind: str = "consent", **fields: Any) -> Grant:
    defaults: dict[str, Any] = {
        "id": f"grant-{kind}",
        "agent_id": "",
        "person_id": "",
        "bundle_id": "",
        "tool_id": "",
        "condition": None,
        "rules": frozenset(),
        "definition_digest": "digest",
        "session": "",
        "approvers": (),
        "starts_at": datetime.min.replace(tzinfo=UTC),
        "ends_at": datetime.max.replace(tzinfo=UTC),
        "is_counted": False,
    }
    return Grant(kind=kind, **(defaults | fields))


def connector(name: str = "helpdesk", **fields: Any) -> Connector:
    defaults: dict[str, Any] = {
        "kind": "fake",
        "urls": (),
        "timeout_seconds": 30.0,
        "is_enabled": True,
        "secret": None,
        "secret_missing": False,
        "revision": "1",
    }
    return Connector(id=f"connector-{name}", name=name, **(defaults | fields))


def tool(name: str = "ticket_get", *, of: Connector | None = None, **said: Any) -> Tool:
    """`said` is what the admin says of it, as conditions read it."""
    upstream = of or connector()
    variables = {
        "name": name,
        "connector": upstream.name,
        "risk": "medium",
        "read_only": False,
        "data_classes": [],
        "environment": upstream.stage,
        "untrusted": False,
        "egress": False,
        "undo": "",
        **said,
    }
    definition = {"name": name, "inputSchema": {"type": "object"}}
    return Tool(f"tool-{upstream.name}-{name}", name, upstream, "digest", definition, variables)


def rule(
    effect: str, when: str = "", *, tools: tuple[str, ...] = ("*",), origin: str = "bundle", **fields: Any
) -> Rule:
    defaults: dict[str, Any] = {
        "policy_id": "policy",
        "policy": "policy",
        "version_id": "policy-version",
        "version": 1,
        "position": 1,
        "reads_content": False,
        "reason": "",
    }
    return Rule(
        effect=effect,
        tools=tools,
        condition=compile_condition(when) if when else None,
        reads_arguments="args" in when,
        origin=origin,
        **(defaults | fields),
    )


def role(*bundles: str, name: str = "role", **fields: Any) -> Role:
    defaults: dict[str, Any] = {"starts_at": None, "ends_at": None, "schedule": {}}
    return Role(f"role-{name}", name, frozenset(bundles), **(defaults | fields))


def selection(
    kind: str, *, of: Connector | None = None, allow: tuple[str, ...] = ("*",), deny: tuple[str, ...] = ()
) -> Selection:
    return Selection(kind, of or connector(), allow, deny)


def bundle(name: str = "support", tools: tuple[Tool, ...] = (), rules: tuple[Rule, ...] = (), **fields: Any) -> Bundle:
    held = tools or (tool(),)
    defaults: dict[str, Any] = {"version_id": f"version-{name}", "number": 1, "records_payload": True}
    return Bundle(
        id=f"bundle-{name}",
        name=name,
        title="",
        tools={each.name: each for each in held},
        by_union_name={f"{each.connector.name}__{each.name}": each for each in held},
        tool_ids=frozenset(each.id for each in held),
        rules=rules,
        ancestry=frozenset({f"bundle:bundle-{name}"}),
        **(defaults | fields),
    )


def agent(
    name: str = "triage-bot", *, owner: Person | None = None, roles: tuple[Role, ...] = (), status: str = "live"
) -> Agent:
    answerable = owner or person()
    variables = {"name": name, "title": "", "purpose": "", "owner": answerable.email}
    return Agent(f"agent-{name}", name, status, answerable, roles, variables)


def credential(of: Agent, key: str = KEY, **fields: Any) -> Credential:
    defaults: dict[str, datetime | None] = {"not_before": None, "expires_at": None}
    return Credential(f"credential-{of.name}", of.id, sha256(key.encode()).digest(), **(defaults | fields))


def snapshot(
    *,
    agents: tuple[Agent, ...] = (),
    bundles: tuple[Bundle, ...] = (),
    credentials: tuple[Credential, ...] = (),
    freezes: tuple[Freeze, ...] = (),
    team_rules: Mapping[str, tuple[Rule, ...]] | None = None,
    epoch: int = 1,
    timezone: str = "UTC",
    calendar: Calendar | None = None,
    people: tuple[Person, ...] = (),
    **fields: Any,
) -> Snapshot:
    known = (*bundles, *fields.get("staged", {}).values())
    tools = {each.id: each for held in known for each in held.tools.values()}
    return Snapshot(
        epoch=epoch,
        calendar=calendar or Calendar(ZoneInfo(timezone)),
        organization="Example Corp",
        credentials={each.digest: each for each in credentials},
        credential_ends={each.id: each.expires_at for each in credentials if each.expires_at},
        agents={each.id: each for each in agents},
        people={each.id: each for each in (*(agent.owner for agent in agents), *people)},
        tools=tools,
        connectors={
            **{each.connector.id: each.connector for each in tools.values()},
            **{each.connector.id: each.connector for held in bundles for each in held.selections},
        },
        secrets=(),
        bundles={each.id: each for each in bundles},
        bundle_ids={each.name: each.id for each in bundles},
        team_rules=team_rules or {},
        team_policies={},
        freezes=freezes,
        **fields,
    )
