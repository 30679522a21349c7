"""What the snapshot makes of the rows: exposed names and inheritance, against upstreams and gaps."""

import gc
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.models import Bundle, BundleTool, BundleVersion, Connector, Policy, PolicyVersion, Rule, Tool
from governance.models import ToolDefinition as Definition
from governance.snapshot_builder import build_snapshot, expose
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
