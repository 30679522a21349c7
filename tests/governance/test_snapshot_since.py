"""A snapshot made from an earlier one and the change log is the one that is made from all rows."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from django.db import models, transaction
from django.utils import timezone

from governance.fence import log
from governance.fence.log import trim_change_log
from governance.models import (
    Advance,
    Agent,
    AgentCredential,
    Authorization,
    Bundle,
    BundleSelection,
    BundleTool,
    BundleVersion,
    Change,
    Connector,
    Freeze,
    Grant,
    OnCallShift,
    Organization,
    Policy,
    PolicyVersion,
    RateLimit,
    Reaction,
    Role,
    Rule,
    Secret,
    SecretVersion,
    Team,
    TokenRevocation,
    Tool,
    ToolDefinition,
    User,
)
from governance.snapshot import Snapshot
from governance.snapshot_builder import build_snapshot
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

Row = TypeVar("Row", bound=models.Model)
STEPS = 80


class NothingThere(Exception):
    """All rows to choose from are deleted."""


class World:
    """Changes something at random, through models, querysets and relations alike."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._made = 0
        Organization.objects.create(name="Gatehouse")
        for kind in ("team", "person", "role", "agent", "key", "connector", "tool", "policy", "bundle"):
            getattr(self, f"add_{kind}")()

    def acts(self) -> Iterator[Callable[[], None]]:
        names = [name for name in dir(World) if name.startswith(("add_", "change_", "end_"))]
        while True:
            yield getattr(self, self._chance.choice(names))

    def _name(self) -> str:
        self._made += 1
        return f"thing-{self._made}"

    def _any(self, model: type[Row]) -> Row:
        rows = list(model._default_manager.order_by("pk"))
        if not rows:
            raise NothingThere
        return self._chance.choice(rows)

    def _update(self, model: type[models.Model], **values: Any) -> None:
        self._update_one(self._any(model), **values)

    def _update_one(self, row: models.Model, **values: Any) -> None:
        type(row)._default_manager.filter(pk=row.pk).update(**values)

    def add_person(self) -> None:
        User.objects.create_user(f"{self._name()}@example.com").teams.add(self._any(Team))

    def change_person(self) -> None:
        self._update(User, email=f"{self._name()}@example.com", is_active=self._chance.random() < 0.7)

    def change_person_rights(self) -> None:
        duties = self._chance.sample(["approver", "security"], k=1)
        self._update(User, duties=duties, manager=self._any(User), same_as=self._any(User), is_superuser=True)

    def end_person(self) -> None:
        doomed = User.objects.create_user(f"{self._name()}@example.com")
        OnCallShift.objects.create(team=self._any(Team), person=doomed, **self._hours())
        Grant.objects.create(kind="elevation", person=doomed, bundle=self._any(Bundle), created_by="t", **self._hours())
        self._any(Role).people.add(doomed)
        doomed.delete()

    def change_person_of_team(self) -> None:
        self._any(User).teams.set([self._any(Team)])

    def end_membership(self) -> None:
        self._any(User).teams.clear()

    def add_team(self) -> None:
        Team.objects.create(name=self._name(), parent=Team.objects.order_by("pk").first())

    def change_team(self) -> None:
        self._update(Team, name=self._name())

    def change_team_attributes(self) -> None:
        values: object = self._chance.choice([["web", "api"], [], "no list", [1]])
        self._update(Team, attributes={"repos": values, "regions": [self._name()]})

    def _hours(self) -> dict[str, Any]:
        now = timezone.now()
        return {"starts_at": now, "ends_at": now + timedelta(hours=self._chance.randint(1, 9))}

    def add_shift(self) -> None:
        OnCallShift.objects.create(team=self._any(Team), person=self._any(User), **self._hours())

    def change_shift(self) -> None:
        OnCallShift.objects.update(team=self._any(Team), person=self._any(User))

    def end_shifts(self) -> None:
        OnCallShift.objects.filter(team=self._any(Team)).delete()

    def add_grant(self) -> None:
        Grant.objects.create(
            kind="elevation", agent=self._any(Agent), bundle=self._any(Bundle), created_by="test", **self._hours()
        )

    def add_consent(self) -> None:
        Grant.objects.create(
            kind="consent",
            agent=self._any(Agent),
            tool=self._any(Tool),
            rules=["p v1#1"],
            condition=self._chance.choice(["", "args.amount < 5", "no condition("]),
            approvers=[str(self._any(User).pk)],
            max_uses=self._chance.choice([None, 3]),
            created_by="test",
            **self._hours(),
        )

    def change_grant(self) -> None:
        Grant.objects.update(ends_at=timezone.now() + timedelta(hours=self._chance.randint(10, 20)))

    def end_grants(self) -> None:
        Grant.objects.update(revoked_at=timezone.now(), revoked_by="test")

    def add_reaction(self) -> None:
        Reaction.objects.create(name=self._name(), trigger="finding", action="hold_run", findings=["secret"])

    def change_reaction(self) -> None:
        Reaction.objects.update(
            is_enabled=self._chance.random() < 0.7, approvers=self._chance.choice([{}, {"count": 2}, {"count": "x"}])
        )

    def end_reactions(self) -> None:
        Reaction.objects.all().delete()

    def change_team_place(self) -> None:
        team = self._any(Team)
        above = [each for each in Team.objects.exclude(pk=team.pk) if not _is_below(each, team)]
        self._update_one(team, parent=self._chance.choice([None, *above]))

    def end_team(self) -> None:
        doomed = self._any(Team)
        if Team.objects.count() > 1 and not doomed.children.exists():
            doomed.delete()

    def change_team_policies(self) -> None:
        self._any(Team).policies.set([self._any(Policy)])

    def add_agent(self) -> None:
        self._any(Role).agents.add(Agent.objects.create(name=self._name(), owner=self._any(User)))

    def change_agent(self) -> None:
        self._update(Agent, owner=self._any(User), status=self._chance.choice(["live", "suspended"]))

    def end_agent(self) -> None:
        doomed = Agent.objects.create(name=self._name(), owner=self._any(User))
        self._any(Role).agents.add(doomed)
        doomed.delete()

    def add_key(self) -> None:
        AgentCredential.objects.create(
            agent=self._any(Agent), digest=self._chance.randbytes(32), hint="h", created_by="test"
        )

    def add_authorization(self) -> None:
        agent, owner = self._any(Agent), self._any(User)
        ends = timezone.now() + timedelta(days=1)
        Authorization.objects.create(agent=agent, person=owner, resource="r", created_by="test", expires_at=ends)

    def end_authorization(self) -> None:
        self.add_authorization()
        self._update(Authorization, revoked_at=timezone.now(), revoked_by="test")

    def end_token(self) -> None:
        TokenRevocation.objects.create(
            token_id=uuid4(),
            digest=b"",
            token_expires_at=timezone.now(),
            revoked_at=timezone.now(),
            revoked_by="test",
        )

    def add_proof(self) -> None:
        AgentCredential.objects.create(
            agent=self._any(Agent),
            kind="client_secret",
            digest=self._chance.randbytes(32),
            hint="h",
            created_by="test",
        )

    def change_key(self) -> None:
        self._update(
            AgentCredential,
            expires_at=timezone.now() + timedelta(days=1),
            person=self._chance.choice([None, self._any(User)]),
        )

    def end_key(self) -> None:
        self._update(AgentCredential, revoked_at=timezone.now(), revoked_by="test")

    def add_role(self) -> None:
        Role.objects.create(name=self._name())

    def change_role(self) -> None:
        self._update(Role, ends_at=timezone.now())

    def change_role_scopes(self) -> None:
        scope = {"tools": ["*"], "when": self._chance.choice(["args.a == 1", "no("]), "text": "only a"}
        self._update(Role, scopes=self._chance.choice([[scope], [{}], []]))

    def change_role_people(self) -> None:
        role = self._any(Role)
        role.people.set([self._any(User)])
        role.teams.set([self._any(Team)])

    def change_role_holders(self) -> None:
        self._any(Role).agents.set([self._any(Agent), self._any(Agent)])

    def change_role_bundles(self) -> None:
        self._any(Role).bundles.set([self._any(Bundle)])

    def end_role(self) -> None:
        if Role.objects.count() > 1:
            self._any(Role).delete()

    def add_connector(self) -> None:
        secret = Secret.objects.create(name=self._name(), kind="bearer")
        _add_version(secret)
        Connector.objects.create(name=self._name(), secret=secret)

    def change_connector(self) -> None:
        self._update(Connector, is_enabled=self._chance.random() < 0.5, timeout_seconds=self._chance.randint(1, 60))

    def change_connector_owner(self) -> None:
        self._update(Connector, owner=self._any(User), stage=self._chance.choice(["", "production"]))

    def change_connector_name(self) -> None:
        self._update(Connector, name=self._name())

    def change_connector_secret(self) -> None:
        self._update(Connector, secret=self._any(Secret))

    def end_connector(self) -> None:
        free = Connector.objects.filter(bundle_tools=None, bundle_selections=None).order_by("pk").first()
        if free is not None and Connector.objects.count() > 1:
            free.delete()

    def change_secret(self) -> None:
        secret = self._any(Secret)
        secret.versions.update(retired_at=timezone.now())
        _add_version(secret)

    def end_secret(self) -> None:
        self._update(SecretVersion, retired_at=timezone.now())

    def add_tool(self) -> None:
        tool = Tool.objects.create(connector=self._any(Connector), name=self._name())
        ToolDefinition.objects.create(tool=tool, digest="d", body=b'{"name":"t"}', status="pinned")

    def change_tool(self) -> None:
        self._update(Tool, quarantined_at=timezone.now() if self._chance.random() < 0.3 else None, risk="high")

    def change_tool_labels(self) -> None:
        self._update(Tool, is_untrusted=self._chance.random() < 0.5, is_egress=True, undo="Cannot be taken back.")

    def change_tool_definition(self) -> None:
        tool = self._any(Tool)
        tool.definitions.update(status="superseded")
        status = self._chance.choice(["pinned", "waiting"])
        ToolDefinition.objects.create(tool=tool, digest=self._name(), body=b'{"name":"u"}', status=status)

    def change_tool_place(self) -> None:
        self._update(Tool, connector=self._any(Connector), name=self._name())

    def end_tool(self) -> None:
        if Tool.objects.count() > 1:
            self._any(Tool).delete()

    def add_policy(self) -> None:
        version = PolicyVersion.objects.create(
            policy=Policy.objects.create(name=self._name()), number=1, created_by="test"
        )
        Rule.objects.create(version=version, position=1, effect="deny", condition='args.text == "x"')
        Organization.objects.get().policies.set([version.policy])

    def change_policy(self) -> None:
        policy = self._any(Policy)
        policy.versions.update(state="superseded")
        version = PolicyVersion.objects.create(policy=policy, number=policy.versions.count() + 1, created_by="test")
        for position in range(self._chance.randint(0, 3)):
            Rule.objects.create(version=version, position=position, effect="ask", tools=[f"thing-{position}*"])

    def change_policy_name(self) -> None:
        self._update(Policy, name=self._name())

    def change_policy_state(self) -> None:
        self._any(Policy).versions.update(state="superseded")

    def change_rule(self) -> None:
        Rule.objects.filter(version=self._any(PolicyVersion)).update(reason=self._name())

    def change_rule_selectors(self) -> None:
        Rule.objects.filter(version=self._any(PolicyVersion)).update(
            connectors=[f"thing-{self._chance.randint(0, 9)}*"],
            risks=["high"],
            data_classes=["finance"],
            access="write",
            fields=["*.iban"],
            effect=self._chance.choice(["mask", "flag", "ask"]),
            approvers=self._chance.choice([{}, {"team": "support"}, {"nonsense": 1}]),
        )

    def change_rule_place(self) -> None:
        version = self._any(PolicyVersion)
        if (rule := Rule.objects.order_by("pk").first()) is not None:
            self._update_one(rule, version=version, position=100 + self._made)
            self._made += 1

    def end_policy(self) -> None:
        if Policy.objects.count() > 1:
            self._any(Policy).delete()

    def add_bundle(self) -> None:
        bundle = Bundle.objects.create(name=self._name())
        version = BundleVersion.objects.create(bundle=bundle, number=1, created_by="test")
        version.policies.add(self._any(Policy))
        connector = self._any(Connector)
        BundleTool.objects.create(version=version, connector=connector)
        BundleSelection.objects.create(version=version, connector=connector, kind="prompt")
        self._any(Role).bundles.add(bundle)

    def change_bundle(self) -> None:
        self._update(Bundle, title=self._name())

    def change_bundle_name(self) -> None:
        self._update(Bundle, name=self._name())

    def change_bundle_version(self) -> None:
        bundle = self._any(Bundle)
        bundle.versions.update(state="superseded")
        version = BundleVersion.objects.create(bundle=bundle, number=bundle.versions.count() + 1, created_by="test")
        version.parents.add(self._any(Bundle))
        BundleTool.objects.create(version=version, connector=self._any(Connector), deny=["thing-1*"])

    def add_staged_version(self) -> None:
        bundle = self._any(Bundle)
        if not bundle.versions.filter(state__in=["draft", "review", "staged"]).exists():
            version = BundleVersion.objects.create(
                bundle=bundle, number=bundle.versions.count() + 1, state="staged", created_by="test"
            )
            version.parents.add(self._any(Bundle))
            version.policies.add(self._any(Policy))
            version.staged_agents.set([self._any(Agent)])
            BundleTool.objects.create(version=version, connector=self._any(Connector))

    def change_staged_agents(self) -> None:
        self._any(BundleVersion).staged_agents.set([self._any(Agent), self._any(Agent)])

    def change_staged_parts(self) -> None:
        if (version := BundleVersion.objects.filter(state="staged").order_by("pk").first()) is not None:
            version.policies.set([self._any(Policy)])
            version.tools.update(deny=["thing-3*"])

    def change_staged_state(self) -> None:
        version = BundleVersion.objects.filter(state="staged").order_by("pk").first()
        if version is not None and self._chance.random() < 0.5:
            self._update_one(version, state="draft")
        elif version is not None:
            version.bundle.versions.filter(state="published").update(state="superseded")
            self._update_one(version, state="published")

    def change_what_a_parent_denies(self) -> None:
        parent = self._any(Bundle)
        self._any(BundleVersion).parents.set([parent])
        BundleTool.objects.filter(version__bundle=parent).update(deny=[f"thing-{self._chance.randint(0, 9)}*"])

    def change_bundle_state(self) -> None:
        self._any(Bundle).versions.update(state="superseded")

    def change_bundle_parts(self) -> None:
        version = self._any(BundleVersion)
        version.policies.set([self._any(Policy), self._any(Policy)])
        version.parents.set([self._any(Bundle)])
        version.tools.update(allow=["thing-2*", "*3"])
        version.selections.update(kind="resource")

    def change_bundle_names(self) -> None:
        self._update(BundleVersion, names=self._chance.choice(["", "plain", "prefixed"]), recording="metadata")

    def end_bundle(self) -> None:
        if Bundle.objects.count() > 1:
            self._any(Bundle).delete()

    def add_freeze(self) -> None:
        Freeze.objects.create(agent=self._any(Agent), created_by="test")

    def end_freezes(self) -> None:
        Freeze.objects.update(lifted_at=timezone.now(), lifted_by="test")

    def add_limit(self) -> None:
        RateLimit.objects.create(name=self._name(), max_requests=1)

    def change_limit(self) -> None:
        RateLimit.objects.update(is_enabled=self._chance.random() < 0.5)

    def change_organization(self) -> None:
        Organization.objects.update(name=self._name(), timezone=self._chance.choice(["UTC", "Asia/Tokyo"]))

    def change_organization_calendar(self) -> None:
        Organization.objects.update(
            business_hours=self._chance.choice([{}, {"days": ["mon"], "from": "08:00", "to": "19:00"}, {"days": 1}]),
            holidays=self._chance.choice([[], [{"date": "2026-12-25"}], [{"date": "soon"}]]),
        )

    def change_organization_networks(self) -> None:
        Organization.objects.update(networks=self._chance.choice([{}, {"office": ["192.0.2.0/24"]}, {"office": ["x"]}]))

    def change_organization_policies(self) -> None:
        Organization.objects.get().policies.set([self._any(Policy)])


def _is_below(team: Team, other: Team) -> bool:
    while team.parent is not None:
        team = team.parent
        if team == other:
            return True
    return False


def _add_version(secret: Secret) -> None:
    SecretVersion.objects.create(
        secret=secret,
        number=secret.versions.count() + 1,
        key_id="k",
        wrapped_key=b"w",
        ciphertext=b"c",
        created_at=timezone.now(),
    )


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_changed_in_whatever_order(seed: int) -> None:
    chance = random.Random(seed)
    world = World(chance)
    base = build_snapshot()
    acts = world.acts()
    for _ in range(STEPS):
        done = [next(acts) for _ in range(chance.choice([1, 1, 1, 2, 5]))]
        with transaction.atomic():
            for act in done:
                with suppress(NothingThere):
                    act()
        since, whole = build_snapshot(base), build_snapshot()
        assert since == whole, [act.__name__ for act in done]
        base = since


@pytest.mark.parametrize("act", ["add_grant", "add_reaction", "add_shift", "change_organization_networks"])
def test_what_is_new_leaves_all_that_does_not_rest_on_it(act: str) -> None:
    world = World(random.Random(0))
    base = build_snapshot()
    getattr(world, act)()
    since = build_snapshot(base)
    assert since != base
    for part in ("bundles", "staged", "agents", "people", "tools", "credentials", "rules", "teams"):
        assert getattr(since, part) is getattr(base, part)


def test_one_agents_change_reads_no_other_agent_again() -> None:
    world = World(random.Random(0))
    for _ in range(3):
        world.add_agent()
    base = build_snapshot()
    Agent.objects.filter(name=base.agents[next(iter(base.agents))].name).update(title="renamed")
    since = build_snapshot(base)
    assert sum(since.agents[i] is not agent for i, agent in base.agents.items()) == 1
    assert (since.bundles, since.credentials) == (base.bundles, base.credentials)
    assert since.bundles is base.bundles
    assert since.credentials is base.credentials


def test_one_policys_change_compiles_only_the_bundles_under_it() -> None:
    world = World(random.Random(0))
    Organization.objects.get().policies.clear()
    world.add_policy()
    Organization.objects.get().policies.clear()
    world.add_bundle()
    world.add_bundle()
    first, *others = BundleVersion.objects.order_by("pk")
    policy, other = Policy.objects.order_by("pk")
    first.policies.set([policy])
    for each in others:
        each.policies.set([other])
    base = build_snapshot()
    Rule.objects.filter(version__policy=policy).update(reason="changed")
    since = build_snapshot(base)
    changed = {i for i, bundle in base.bundles.items() if since.bundles[i] is not bundle}
    assert changed == {first.bundle_id.hex}
    assert since.rules[other.pk.hex] is base.rules[other.pk.hex]
    assert (since.tools, since.agents) == (base.tools, base.agents)
    assert since.tools is base.tools
    assert since.agents is base.agents


def a_base_and_one_unlogged_change() -> Snapshot:
    """Only who reads all rows again can find the change: what the log says of it is gone."""
    World(random.Random(0))
    base = build_snapshot()
    Agent.objects.update(title="renamed")
    return base


def test_a_log_that_was_trimmed_is_not_believed() -> None:
    base = a_base_and_one_unlogged_change()
    trim_change_log(timedelta(0))
    assert build_snapshot(base) == build_snapshot() != base


def test_a_log_of_another_history_is_not_believed() -> None:
    """A backup was restored and has gone past the epoch of our snapshot on a way of its own."""
    base = a_base_and_one_unlogged_change()
    Change.objects.all().delete()
    Advance.objects.filter(epoch=base.epoch).update(at=timezone.now() + timedelta(minutes=1))
    assert build_snapshot(base) == build_snapshot()


def test_very_much_at_once_is_read_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST_TOUCHED", 1)
    World(random.Random(0)).add_agent()
    base = build_snapshot()
    Agent.objects.update(title="renamed")
    assert build_snapshot(base) == build_snapshot() != base


def test_what_a_parent_denies_from_now_on_its_child_gives_no_more() -> None:
    world = World(random.Random(0))
    world.add_bundle()
    parent, child = BundleVersion.objects.order_by("number", "bundle__name")
    child.parents.set([parent.bundle])
    base = build_snapshot()
    assert base.bundles[child.bundle_id.hex].tools
    parent.tools.update(deny=["*"])
    since = build_snapshot(base)
    assert since.bundles[child.bundle_id.hex].tools == {}
    assert since == build_snapshot()
