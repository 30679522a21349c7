"""Fills a PostgreSQL database to the size the list pages must stay fast at, without going through the call path.

The rows are made inside the server. Ids are time-ordered over the past 30 days, a few agents and tools are busy
and most are not, and one call in fifty is refused, as in an installation that works.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    BundleTool,
    BundleVersion,
    Connector,
    Role,
    Tool,
    ToolDefinition,
    User,
)

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything. Each call is an intent and an outcome; each refusal is one event."""

    people: int = 2_000
    agents: int = 10_000
    keys_per_agent: int = 2
    connectors: int = 50
    tools: int = 2_000
    roles: int = 200
    calls: int = 2_400_000
    refusals: int = 120_000
    acts: int = 80_000

    @property
    def events(self) -> int:
        return 2 * self.calls + self.refusals + self.acts


SMALL = Scale(
    people=60, agents=120, connectors=3, tools=120, roles=60, calls=300, refusals=120, acts=120
)  # more than one page of everything

FUNCTIONS = """
CREATE FUNCTION pg_temp.event_id(part double precision, salt bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM now() - interval '30 days') * 1000 + part * 2592e6)::bigint), 12, '0')
        || '7' || substr(md5(salt::text), 1, 3) || '8' || substr(md5(salt::text), 4, 15))::uuid
$$;
CREATE FUNCTION pg_temp.moment(part double precision) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT now() - interval '30 days' + part * interval '30 days'
$$;
CREATE FUNCTION pg_temp.session_id(agent bigint, part double precision) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT md5(agent || '/' || floor(part * 720))::uuid
$$;
CREATE FUNCTION pg_temp.busy(number bigint, most int, power double precision) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT (most * power(('x' || substr(md5(number::text), 1, 7))::bit(28)::int / 268435456.0, power))::int
$$;
"""

CALLS = """
INSERT INTO audit_event (id, kind, at, call_id, actor, agent, person, connector, tool, decision, outcome, session,
                         epoch, decided_epoch, header)
    SELECT pg_temp.event_id(part, n * 2 + step), kind, pg_temp.moment(part), pg_temp.event_id(part, n * 2),
        'agent:agent-' || agent, 'agent-' || agent, 'person-' || agent % {people} || '@example.com',
        'connector-' || tool % {connectors}, 'tool-' || tool, 'permit',
        CASE WHEN step = 0 THEN '' WHEN n % 997 = 0 THEN 'unknown' WHEN n % 41 = 0 THEN 'tool_error' ELSE 'ok' END,
        pg_temp.session_id(agent, n / {calls}.0), 1, 1,
        convert_to('{{"details":{{"bytes":812,"masked":[],"upstream_ms":' || 5 + n % 300 || '}},"padding":"'
            || repeat(md5(n::text), 12) || '"}}', 'UTF8')
    FROM (SELECT n, step, kind, (n + step * 0.4) / {calls}.0 AS part, pg_temp.busy(n, {agents} - 1, 4) AS agent,
              pg_temp.busy(n + 7777777, {tools} - 1, 3) AS tool
          FROM generate_series(0, {calls} - 1) n, (VALUES (0, 'call.intent'), (1, 'call.outcome')) steps (step, kind)
         ) each_event;
INSERT INTO audit_event (id, kind, at, actor, agent, person, connector, tool, decision, outcome, epoch, decided_epoch,
                         header)
    SELECT pg_temp.event_id(part, -n), 'call.refused', pg_temp.moment(part), 'agent:agent-' || agent,
        'agent-' || agent, 'person-' || agent % {people} || '@example.com', 'connector-' || tool % {connectors},
        'tool-' || tool, CASE WHEN n % 50 = 0 THEN 'ask' ELSE 'deny' END, 'refused', 1, 1, '{{"details":{{}}}}'::bytea
    FROM (SELECT n, n / {refusals}.0 AS part, pg_temp.busy(n, {agents} - 1, 4) AS agent,
              pg_temp.busy(n + 7777777, {tools} - 1, 3) AS tool FROM generate_series(1, {refusals}) n) each_event;
INSERT INTO audit_event (id, kind, at, actor, agent, epoch, decided_epoch, header)
    SELECT pg_temp.event_id(part, -100000000 - n), CASE WHEN n % 100 = 0 THEN 'key.issued' ELSE 'tools.listed' END,
        pg_temp.moment(part), 'person:person-' || n % {people} || '@example.com', 'agent-' || n % {agents}, 1, 1,
        '{{"details":{{}}}}'::bytea
    FROM (SELECT n, n / {acts}.0 AS part FROM generate_series(1, {acts}) n) each_event;
"""

LOG = """
INSERT INTO audit_leaf (index, event_id, hash)
    SELECT row_number() OVER (ORDER BY id) - 1, id, sha256(id::text::bytea) FROM audit_event;
INSERT INTO audit_checkpoint (size, root, frontier, at, note)
    SELECT n, sha256(''::bytea), ''::bytea, now(), '' FROM generate_series(1, {acts}) n;
INSERT INTO audit_session (id, began, agent, person, last_at, calls, refused, failed)
    SELECT session, min(id::text)::uuid, min(agent), min(person), max(at), count(*), 0, 0
    FROM audit_event WHERE kind = 'call.intent' GROUP BY session;
INSERT INTO audit_call_tally (hour, agent, connector, tool, decision, outcome, calls, upstream_ms, slowest_ms)
    SELECT date_trunc('hour', at), agent, connector, tool, decision, outcome, count(*), count(*) * 80, 300
    FROM audit_event WHERE kind IN ('call.outcome', 'call.refused') GROUP BY 1, 2, 3, 4, 5, 6;
"""


def fill(scale: Scale) -> None:
    with governed_change(by="command:scale"):
        _fill_governed(scale)
    sizes = {name: getattr(scale, name) for name in Scale.__dataclass_fields__}
    with connection.cursor() as cursor:
        cursor.execute(FUNCTIONS)
        with _index_built_afterwards(cursor):
            cursor.execute(CALLS.format(**sizes))
        for script in (LOG.format(**sizes), "ANALYZE"):
            cursor.execute(script)


@contextmanager
def _index_built_afterwards(cursor: CursorWrapper) -> Iterator[None]:
    """Several times faster than to keep eight indexes while five million rows arrive in no order of theirs."""
    cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'audit_event' AND indexname !~ 'pkey'")
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        cursor.execute(definition)


def _fill_governed(scale: Scale) -> None:
    people = _many(User(email=f"person-{n}@example.com", password="!") for n in range(scale.people))
    agents = _many(
        Agent(name=f"agent-{n}", title=f"Agent {n}", purpose="Sorts tickets", owner=people[n % scale.people])
        for n in range(scale.agents)
    )
    roles = _many(Role(name=f"role-{n}") for n in range(scale.roles))
    Role.agents.through.objects.bulk_create(
        Role.agents.through(role=roles[n % scale.roles], agent=agent) for n, agent in enumerate(agents)
    )
    _many(
        AgentCredential(agent=agent, digest=sha256(f"{agent.name}/{n}".encode()).digest(), hint=f"gate_ak_{n}")
        for agent in agents
        for n in range(scale.keys_per_agent)
    )
    connectors = _many(
        Connector(name=f"connector-{n}", urls=["https://example.com/mcp"]) for n in range(scale.connectors)
    )
    tools = _many(Tool(connector=connectors[n % scale.connectors], name=f"tool-{n}") for n in range(scale.tools))
    _fill_bundles(connectors, roles)
    _many(
        ToolDefinition(tool=tool, digest=f"{n:064x}", body=b"{}", status="waiting" if n % 4 == 0 else "pinned")
        for n, tool in enumerate(tools)
    )


def _fill_bundles(connectors: list[Connector], roles: list[Role]) -> None:
    """One for each connector with all its tools; every role gives two."""
    bundles = _many(Bundle(name=f"bundle-{n}") for n in range(len(connectors)))
    versions = _many(BundleVersion(bundle=bundle, number=1, created_by="command:scale") for bundle in bundles)
    _many(BundleTool(version=each, connector=connector) for each, connector in zip(versions, connectors, strict=True))
    held = Role.bundles.through
    held.objects.bulk_create(
        held(role=role, bundle=bundles[(n + step) % len(bundles)]) for n, role in enumerate(roles) for step in (0, 1)
    )


def _many(rows: Iterable[Row]) -> list[Row]:
    made = list(rows)
    return type(made[0])._default_manager.bulk_create(made, batch_size=2000)
