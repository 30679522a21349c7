"""What the snapshot makes of the rows: exposed names and inheritance, against upstreams and gaps."""

import gc
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from governance.models import (
    Agent,
    Bundle,
    BundleSelection,
    BundleTool,
    BundleVersion,
    Connector,
    Grant,
    Organization,
    Policy,
    PolicyVersion,
    RateLimit,
    Role,
    Rule,
    Tool,
    User,
)
from governance.models import ToolDefinition as Definition
from governance.snapshot import NOBODY, Program, Undecidable
from governance.snapshot_builder import build_snapshot
from governance.snapshot_bundles import expose
from tests import factories as make

CRM, EVIL = make.connector("crm"), make.connector("evil")
NAMES = st.text(alphabet="ab_0123456789abcdef/é ", min_size=1, max_size=80)


def test_no_upstream_can_take_the_name_that_anothers_tool_gets() -> None:
    stolen = f"search_{sha256(b'crm/search').hexdigest()[:6]}"
    tools = (make.tool("search", of=CRM), make.tool("search", of=EVIL), make.tool(stolen, of=EVIL))
    exposed = expose(tools, prefixed=False)
    assert exposed[stolen] is tools[0]
    assert len(exposed) == 3


@given(st.lists(st.tuples(st.sampled_from([CRM, EVIL]), NAMES), unique=True, max_size=12), st.booleans())
def test_every_tool_has_one_legal_name_that_does_not_depend_on_order(
    offered: list[tuple[make.Connector, str]], prefixed: bool
) -> None:
    tools = [make.tool(name, of=upstream) for upstream, name in offered]
    exposed = expose(tools, prefixed=prefixed)
    assert {tool.id for tool in exposed.values()} == {tool.id for tool in tools}
    assert all(len(name) <= 64 and name.isascii() for name in exposed)
    assert list(expose(reversed(tools), prefixed=prefixed)) == list(exposed)


def a_child_of(*parents: Bundle) -> Bundle:
    """A published bundle with one tool that inherits from these."""
    tool = Tool.objects.create(connector=Connector.objects.create(name="crm"), name="search")
    Definition.objects.create(tool=tool, digest="d", body=b'{"name":"search"}', status=Definition.Status.PINNED)
    child = Bundle.objects.create(name="child")
    version = BundleVersion.objects.create(bundle=child, number=1, created_by="test")
    version.parents.set(parents)
    BundleTool.objects.create(version=version, connector=tool.connector)
    return child


@pytest.mark.django_db
@pytest.mark.database
def test_a_child_of_an_unpublished_parent_gives_nothing() -> None:
    parent = Bundle.objects.create(name="parent")
    child = build_snapshot_of(a_child_of(parent))
    assert child.tools == {}
    assert f"bundle:{parent.id.hex}" in child.ancestry
    BundleVersion.objects.create(bundle=parent, number=1, created_by="test")
    assert list(build_snapshot_of(Bundle.objects.get(name="child")).tools) == ["search"]


@pytest.mark.django_db
@pytest.mark.database
def test_rules_flow_down_from_ancestors_first() -> None:
    policy = Policy.objects.create(name="no-x")
    Rule.objects.create(
        version=PolicyVersion.objects.create(policy=policy, number=1, created_by="test"), position=1, effect="deny"
    )
    parent = Bundle.objects.create(name="parent")
    BundleVersion.objects.create(bundle=parent, number=1, created_by="test").policies.add(policy)
    child = build_snapshot_of(a_child_of(parent))
    assert [rule.origin for rule in child.rules] == ["bundle parent v1"]


@pytest.mark.django_db
@pytest.mark.database
def test_a_bundle_gives_tools_of_the_connectors_it_names_only() -> None:
    bundle = a_child_of()
    other = Tool.objects.create(connector=Connector.objects.create(name="desk"), name="search")
    Definition.objects.create(tool=other, digest="e", body=b'{"name":"search"}', status=Definition.Status.PINNED)
    assert [tool.connector.name for tool in build_snapshot_of(bundle).tools.values()] == ["crm"]
    BundleTool.objects.create(version=BundleVersion.objects.get(), connector=other.connector, allow=["sea*"])
    assert list(build_snapshot_of(bundle).tools) == ["crm__search", "desk__search"]


@pytest.mark.django_db
@pytest.mark.database
def test_resources_and_prompts_are_held_by_what_is_selected() -> None:
    bundle = a_child_of()
    version, connector = BundleVersion.objects.get(), Connector.objects.get()
    BundleSelection.objects.create(
        version=version, connector=connector, kind="resource", allow=["crm://*"], deny=["crm://salaries/*"]
    )
    built = build_snapshot()
    held = built.bundles[bundle.id.hex]
    assert [(entry.kind, entry.connector.name, entry.allow, entry.deny) for entry in held.selections] == [
        ("resource", "crm", ("crm://*",), ("crm://salaries/*",))
    ]
    for uri, is_held in (("crm://leads", True), ("crm://salaries/ana", False)):
        target = built.target(held.selections[0].connector, "resource", uri)
        assert target is not None
        assert held.holds(target) is is_held
    assert list(held.tools) == ["search"]


@pytest.mark.django_db
@pytest.mark.database
def test_a_child_of_an_unpublished_parent_gives_no_resource_either() -> None:
    bundle = a_child_of(Bundle.objects.create(name="parent"))
    BundleSelection.objects.create(
        version=BundleVersion.objects.get(), connector=Connector.objects.get(), kind="resource"
    )
    assert build_snapshot_of(bundle).selections == ()


@pytest.mark.django_db
def test_how_to_talk_to_a_system_is_in_the_snapshot_and_a_change_of_it_in_its_revision() -> None:
    row = Connector.objects.create(
        name="local",
        kind="stdio",
        command=["server", "--quiet"],
        environment={"MODE": "strict"},
        secret_variable="TOKEN",
        per_agent=True,
        memory_mb=64,
        relays=["elicitation"],
        max_running=2,
        max_waiting=0,
    )
    connector = build_snapshot().connectors[row.id.hex]
    assert connector.program == Program(("server", "--quiet"), {"MODE": "strict"}, "TOKEN", True, 64)
    assert (connector.relays, connector.max_running, connector.max_waiting) == (frozenset({"elicitation"}), 2, 0)
    assert connector.timeout_seconds == 60
    changes: list[dict[str, object]] = [
        *({"command": ["other"]}, {"environment": {}}, {"relays": []}, {"max_running": 3}, {"secret_variable": ""})
    ]
    seen = {connector.revision}
    for change in changes:
        Connector.objects.filter(pk=row.pk).update(**change)
        seen.add(build_snapshot().connectors[row.id.hex].revision)
    assert len(seen) == len(changes) + 1
    Connector.objects.update(last_error="away")
    assert build_snapshot().connectors[row.id.hex].revision in seen


@pytest.mark.django_db
def test_only_limits_that_are_on_are_in_the_snapshot() -> None:
    RateLimit.objects.create(name="on", tools=["ticket_*"], max_requests=5, labels=["flagged"])
    RateLimit.objects.create(name="off", max_running=1, is_enabled=False)
    (limit,) = build_snapshot().limits
    assert (limit.name, limit.max_requests, limit.max_bytes, limit.max_running) == ("on", 5, None, None)
    assert limit.labels == {"flagged"}
    assert (limit.covers(make.tool("ticket_get")), limit.covers(make.tool("kb_search"))) == (True, False)


@pytest.mark.django_db
def test_a_build_leaves_garbage_collection_as_it_was() -> None:
    build_snapshot()
    assert gc.isenabled()
    gc.disable()
    try:
        build_snapshot()
        assert not gc.isenabled()
    finally:
        gc.enable()


def build_snapshot_of(bundle: Bundle) -> make.Bundle:
    return build_snapshot().bundles[bundle.id.hex]


# Inheritance


def published(name: str, *parents: Bundle, **fields: Any) -> BundleVersion:
    bundle, _ = Bundle.objects.get_or_create(name=name)
    version = BundleVersion.objects.create(
        bundle=bundle, number=bundle.versions.count() + 1, created_by="test", **fields
    )
    version.parents.set(parents)
    return version


@pytest.mark.django_db
@pytest.mark.database
def test_a_child_gives_nothing_that_an_ancestor_denies() -> None:
    grandparent = published("grandparent")
    parent = published("parent", grandparent.bundle)
    child = a_child_of(parent.bundle)
    connector = Connector.objects.get()
    BundleSelection.objects.create(version=BundleVersion.objects.get(bundle=child), connector=connector, kind="prompt")
    assert list(build_snapshot_of(child).tools) == ["search"]
    BundleTool.objects.create(version=grandparent, connector=connector, allow=[], deny=["sea*"])
    BundleSelection.objects.create(version=grandparent, connector=connector, kind="prompt", allow=[], deny=["secret_*"])
    held = build_snapshot_of(child)
    assert (held.tools, held.tool_ids) == ({}, frozenset())
    assert not held.selections[0].selects("secret_plan")
    assert held.selections[0].selects("plan")


@pytest.mark.django_db
@pytest.mark.database
def test_what_an_ancestor_denies_of_another_system_does_not_matter() -> None:
    parent = published("parent")
    child = a_child_of(parent.bundle)
    other = Connector.objects.create(name="desk")
    BundleTool.objects.create(version=parent, connector=other, allow=[], deny=["*"])
    assert list(build_snapshot_of(child).tools) == ["search"]


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.parametrize(
    ("above", "own", "records"),
    [("full", "metadata", True), ("metadata", "full", True), ("metadata", "metadata", False)],
)
def test_a_child_records_at_least_what_its_ancestors_do(above: str, own: str, records: bool) -> None:
    child = a_child_of(published("parent", recording=above).bundle)
    BundleVersion.objects.filter(bundle=child).update(recording=own)
    assert build_snapshot_of(child).records_payload is records


# Staged versions


@pytest.mark.django_db
@pytest.mark.database
def test_a_staged_version_is_compiled_beside_the_published_one() -> None:
    bundle = a_child_of()
    owner = User.objects.create_user("ana@example.com")
    pilot, other = (Agent.objects.create(name=name, owner=owner) for name in ("pilot", "other"))
    staged = published("child", state="staged")
    staged.staged_agents.add(pilot)
    built = build_snapshot()
    assert list(built.bundles[bundle.id.hex].tools) == ["search"]
    assert built.staged[bundle.id.hex].tools == {}
    versions = [built.bundle_for(built.agents[agent.id.hex], bundle.id.hex) for agent in (pilot, other)]
    assert [version and version.number for version in versions] == [2, 1]


@pytest.mark.django_db
@pytest.mark.database
def test_children_inherit_the_published_version_of_a_staged_parent() -> None:
    parent = published("parent")
    child = a_child_of(parent.bundle)
    staged = published("parent", state="staged")
    BundleTool.objects.create(version=staged, connector=Connector.objects.get(), deny=["*"])
    assert list(build_snapshot_of(child).tools) == ["search"]


# What cannot be read is strict


@pytest.mark.django_db
@pytest.mark.database
def test_what_cannot_be_read_gives_least(caplog: pytest.LogCaptureFixture) -> None:
    owner = User.objects.create_user("ana@example.com")
    agent = Agent.objects.create(name="bot", owner=owner)
    bundle = a_child_of()
    Role.objects.create(name="r", scopes=[{"tools": ["x"], "when": "no condition("}, {"no": "scope"}])
    Rule.objects.create(
        version=PolicyVersion.objects.create(policy=Policy.objects.create(name="p"), number=1, created_by="test"),
        position=1,
        effect="ask",
        approvers={"nonsense": 1},
    )
    now = timezone.now()
    Grant.objects.create(
        kind="elevation",
        agent=agent,
        bundle=bundle,
        approvers=["nobody"],
        starts_at=now,
        ends_at=now + timedelta(hours=1),
        created_by="test",
    )
    Organization.objects.create(business_hours={"days": 1}, holidays=[{}], networks={"office": ["x"]})
    built = build_snapshot()
    (role,) = built.roles.values()
    assert [(scope.tools, scope.condition) for scope in role.scopes] == [
        (("x",), Undecidable()),
        (("*",), Undecidable()),
    ]
    ((rule,),) = built.rules.values()
    assert rule.terms == NOBODY
    assert built.grants == {}
    assert (built.calendar.days, built.calendar.holidays, built.networks.ranges) == ((), None, None)
    assert len(caplog.records) == 7


@pytest.mark.django_db
@pytest.mark.database
def test_a_mask_over_fields_does_not_wait_for_findings() -> None:
    version = PolicyVersion.objects.create(policy=Policy.objects.create(name="p"), number=1, created_by="test")
    for position, fields in enumerate((["*.iban"], [])):
        Rule.objects.create(
            version=version, position=position, effect="mask", on="result", findings=["secret"], fields=fields
        )
    Rule.objects.create(version=version, position=3, effect="mask", fields=["*.ssn"], condition="findings.size() > 0")
    ((first, second, third),) = build_snapshot().rules.values()
    assert (first.reads_content, first.fields) == (False, ("*.iban",))
    assert (second.reads_content, second.fields) == (True, ())
    assert third.condition == Undecidable()
