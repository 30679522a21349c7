"""5,000 rules and 500 bundles: what a decision and the publishing of a change cost, in CPU time."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from governance.decision import AccessRequest, decide
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    Bundle,
    BundleTool,
    BundleVersion,
    Connector,
    Grant,
    Organization,
    Policy,
    PolicyVersion,
    Reaction,
    Role,
    Rule,
    Tool,
    ToolDefinition,
    User,
)
from governance.snapshot import Snapshot
from governance.snapshot_builder import build_snapshot
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MATCHING = 20
ROUNDS = 5
CONDITIONS = (
    "args.amount > {n}",
    "args.amount > {n} && args.currency == 'EUR'",
    "has(args.note) && args.note.startsWith('x{n}')",
    "agent.name == 'bot-x{n}'",
    "person.email == 'x{n}@example.com' || args.amount > 10{n}",
    "!('office' in network.names) && args.amount > {n}",
    "tool.risk == 'high' && args.urgent",
    "person.attributes.repos.size() > {n}",
)


@dataclass(frozen=True, slots=True)
class Scale:
    rules: int
    bundles: int
    calls: int

    @property
    def policies(self) -> int:
        return self.rules // MATCHING


SMALL, LARGE = Scale(200, 20, 50), Scale(5_000, 500, 3_000)


def fill(scale: Scale) -> None:
    """Every call of a bundle's tool meets all rules of its policy; those of all other policies name other tools."""
    with governed_change(by="command:test"):
        Organization.objects.create(networks={"office": ["192.0.2.0/24"]})
        owner = User.objects.create_user("ana@example.com")
        connectors = Connector.objects.bulk_create(Connector(name=f"c-{n}") for n in range(scale.bundles // 10))
        tools = Tool.objects.bulk_create(
            Tool(connector=connectors[n % len(connectors)], name=f"tool-{n}") for n in range(scale.bundles * 2)
        )
        ToolDefinition.objects.bulk_create(
            ToolDefinition(tool=tool, digest="d", body=b"{}", status="pinned") for tool in tools
        )
        versions = _policies(scale, connectors)
        role = Role.objects.create(name="all")
        role.agents.set(Agent.objects.bulk_create(Agent(name=f"bot-{n}", owner=owner) for n in range(20)))
        role.bundles.set(_bundles(scale, connectors, versions))


def _policies(scale: Scale, connectors: list[Connector]) -> list[PolicyVersion]:
    policies = Policy.objects.bulk_create(Policy(name=f"p-{n}") for n in range(scale.policies))
    versions = PolicyVersion.objects.bulk_create(
        PolicyVersion(policy=policy, number=1, created_by="test") for policy in policies
    )
    Rule.objects.bulk_create(
        Rule(
            version=versions[n % scale.policies],
            position=n // scale.policies,
            effect="ask" if n % 2 else "flag",
            tools=["tool-*"],
            connectors=[connectors[n % scale.policies % len(connectors)].name],
            risks=["medium", "high"],
            condition=CONDITIONS[n // scale.policies % len(CONDITIONS)].format(n=1000 + n),
        )
        for n in range(scale.rules)
    )
    return versions


def _bundles(scale: Scale, connectors: list[Connector], versions: list[PolicyVersion]) -> list[Bundle]:
    bundles = Bundle.objects.bulk_create(Bundle(name=f"b-{n}") for n in range(scale.bundles))
    published = BundleVersion.objects.bulk_create(
        BundleVersion(bundle=bundle, number=1, created_by="test") for bundle in bundles
    )
    for n, version in enumerate(published):
        version.policies.add(versions[n % len(versions)].policy)
    BundleTool.objects.bulk_create(
        BundleTool(version=version, connector=connectors[n % len(versions) % len(connectors)])
        for n, version in enumerate(published)
    )
    return bundles


def requests(snapshot: Snapshot, count: int) -> list[AccessRequest]:
    """Of as many pairs of bundle and tool as there are conditions sets to keep, and a few agents."""
    chance = random.Random(0)
    agents, bundles = list(snapshot.agents), [bundle for bundle in snapshot.bundles.values() if bundle.tools]
    arguments: dict[str, Any] = {
        "amount": 120,
        "currency": "EUR",
        "urgent": False,
        "customer": "c-1",
        "text": "x" * 200,
    }
    return [
        AccessRequest(
            agent_id=chance.choice(agents),
            credential_id="key",
            tool_id=chance.choice(list(bundle.tools.values())).id,
            bundle_id=bundle.id,
            arguments=arguments,
            source_ip="192.0.2.7",
            labels=frozenset(),
        )
        for bundle in chance.choices(bundles, k=count)
    ]


def cpu_seconds(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def decisions(snapshot: Snapshot, scale: Scale) -> list[float]:
    """Seconds of each, the best of some rounds, in order; after each has been decided once."""
    asked = requests(snapshot, scale.calls)
    for request in (*asked, *asked):
        holding = snapshot.holding(
            snapshot.agents[request.agent_id], snapshot.bundles[request.bundle_id], snapshot.tools[request.tool_id]
        )
        assert holding is not None
        assert len(holding.rules) == MATCHING
        decide(request, snapshot, NOON)
    rounds = [[cpu_seconds(lambda each=each: decide(each, snapshot, NOON)) for each in asked] for _ in range(ROUNDS)]  # type: ignore[misc]
    return sorted(map(min, zip(*rounds, strict=True)))


def changes() -> Iterator[tuple[str, Callable[[], object]]]:
    """Of every kind that is published."""
    policy = Policy.objects.order_by("name")[0]
    agent, tool, bundle = Agent.objects.order_by("name")[0], Tool.objects.order_by("name")[0], Bundle.objects.first()
    assert bundle is not None
    times = {"starts_at": NOON, "ends_at": datetime(2100, 1, 1, tzinfo=UTC)}
    yield "a rule", lambda: Rule.objects.filter(version__policy=policy).update(reason="changed")
    yield "a policy for all", lambda: Organization.objects.get().policies.add(policy)
    yield "a bundle", lambda: BundleVersion.objects.filter(bundle=bundle).update(recording="metadata")
    yield (
        "a staged version",
        lambda: BundleVersion.objects.create(
            bundle=bundle, number=2, state="staged", created_by="test"
        ).staged_agents.add(agent),
    )
    yield "a grant", lambda: Grant.objects.create(kind="elevation", agent=agent, bundle=bundle, created_by="t", **times)
    yield "a reaction", lambda: Reaction.objects.create(name="hold", trigger="finding", action="hold_run")
    yield "a tool", lambda: Tool.objects.filter(pk=tool.pk).update(risk="high")
    yield "holidays", lambda: Organization.objects.update(holidays=[{"date": "2026-12-25", "name": "Christmas"}])


@pytest.mark.parametrize("scale", [SMALL, pytest.param(LARGE, marks=pytest.mark.soak)], ids=["small", "large"])
def test_a_decision_and_a_change_stay_cheap(scale: Scale, capsys: pytest.CaptureFixture[str]) -> None:
    fill(scale)
    whole = cpu_seconds(build_snapshot)
    snapshot = build_snapshot()
    taken = decisions(snapshot, scale)
    median, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    told = [f"{scale.rules} rules: decide {median * 1e6:.0f} us, p99 {p99 * 1e6:.0f} us; start {whole:.2f} s"]
    for name, change in changes():
        change()
        seconds = cpu_seconds(lambda base=snapshot: build_snapshot(base))  # type: ignore[misc]
        told.append(f"{name}: {seconds * 1e3:.0f} ms")
        assert scale is SMALL or seconds <= 2
        snapshot = build_snapshot(snapshot)
    with capsys.disabled():
        print("\n" + "\n".join(told))
    if scale is LARGE:
        assert whole <= 5
        assert p99 <= 50e-6
