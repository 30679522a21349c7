"""Classifying and publishing the tools of a new connector, and coming back to one half made."""

import re
from typing import Any

import orjson
import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway.console.once import new_ticket
from governance.agent_keys import key_digest
from governance.bundles import publish_bundle
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    BundleSelection,
    BundleTool,
    BundleVersion,
    Connector,
    Role,
    Tool,
    User,
)
from tests.connectors.servers import ScriptedServer
from tests.gateway.admin_pages import no_inlines
from tests.gateway.connecting import TOOLS, a_known_connector, add, reachable, step, tried, upstream
from tests.gateway.signing_in import sign_in

__all__ = ("reachable", "upstream")

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql, pytest.mark.usefixtures("reachable")]


# Classifying


def test_suggestions_are_accepted_in_one_go(upstream: ScriptedServer) -> None:
    client = sign_in("it-admin")
    connector = a_known_connector(client, upstream)
    client.post(step("classify", connector), {"accept": "yes"})
    classed = {tool.name: (tool.risk, tool.is_read_only) for tool in Tool.objects.all()}
    assert classed == {"kb_search": ("low", True), "kb_read": ("low", True), "ticket_delete": ("high", False)}
    event = orjson.loads(bytes(EventRow.objects.get(kind="tools.classified").header))
    assert event["details"]["count"] == 3


def risks_on(page: Any) -> dict[str, tuple[str, bool]]:
    """What the form has filled in, by tool."""
    found = re.findall(
        r'aria-label="Risk of (\w+)".*?value="(\w+)"\s+selected.*?only reads"\s+(checked)?',
        page.content.decode(),
        re.DOTALL,
    )
    return {name: (risk, bool(reads)) for name, risk, reads in found}


def test_suggestions_are_filled_in_until_somebody_has_said_otherwise(upstream: ScriptedServer) -> None:
    client = sign_in("it-admin")
    connector = a_known_connector(client, upstream)
    suggested = {"kb_search": ("low", True), "kb_read": ("low", True), "ticket_delete": ("high", False)}
    page = client.get(step("classify", connector))
    assert risks_on(page) == suggested
    assert "3 tools nobody has classified yet: our suggestion is filled in" in page.content.decode()
    assert {tool.risk for tool in Tool.objects.all()} == {"medium"}

    kept = Tool.objects.get(name="kb_read")
    client.post(step("classify", connector), {f"risk-{kept.pk}": "medium"})
    page = client.get(step("classify", connector))
    assert risks_on(page) == {**suggested, "kb_read": ("medium", False)}
    assert "1 tool classified." in page.content.decode()
    assert page.content.decode().count("suggested, not saved yet") == 2


def test_what_is_saved_in_the_tools_form_is_said(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    tool = Tool.objects.get(name="kb_read")
    form = {"risk": "medium", "data_classes": "", **no_inlines("definitions")}
    assert owner.post(reverse("admin:governance_tool_change", args=[tool.pk]), form).status_code == 302
    assert risks_on(owner.get(step("classify", connector)))["kb_read"] == ("medium", False)


def test_the_admins_word_counts_and_other_tools_stay(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    tool = Tool.objects.get(name="kb_search")
    answer = owner.post(step("classify", connector), {f"risk-{tool.pk}": "high", f"reads-{tool.pk}": "on"})
    assert answer["Location"] == step("publish", connector)
    assert {each.name for each in Tool.objects.filter(risk="medium")} == {"ticket_delete", "kb_read"}
    owner.post(step("classify", connector), {f"risk-{tool.pk}": "nonsense"})
    tool.refresh_from_db()
    assert (tool.risk, tool.is_read_only) == ("high", True)


def test_an_auditor_looks_and_changes_nothing(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    auditor = sign_in("auditor")
    for name in ("classify", "publish", "done", "overview"):
        assert auditor.get(step(name, connector)).status_code == 200
        if name != "overview":
            assert auditor.post(step(name, connector), {"accept": "yes"}).status_code in (403, 404)
    assert auditor.post(step("try", connector)).status_code == 403
    assert not Tool.objects.exclude(risk="medium").exists()


# Publishing


def wish(**fields: Any) -> dict[str, Any]:
    return {"bundle_name": "helpdesk", "tools": ["kb_search"], "receiver": "nobody", "seen": "0", **fields}


def published_names(bundle: str) -> list[str]:
    version = BundleVersion.objects.get(bundle__name=bundle, state="published")
    return sorted(pattern for tool in version.tools.all() for pattern in tool.allow)


def test_from_nothing_to_a_key(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    owner.post(step("classify", connector), {"accept": "yes"})
    form = owner.get(step("publish", connector)).content.decode()
    assert re.findall(r'name="tools"\s+value="(\w+)"\s+checked', form) == ["kb_search"]

    fields = wish(receiver="new", agent_name="my-laptop")
    effect = owner.post(step("publish", connector), fields).content.decode()
    assert "my-laptop" in effect
    assert "1 tool of helpdesk" in effect
    assert not Bundle.objects.exists()

    answer = owner.post(step("publish", connector), {**fields, "confirmed": "yes"})
    agent = Agent.objects.get()
    assert published_names("helpdesk") == ["kb_search"]
    assert (agent.owner.email, agent.roles.get().bundles.get().name) == ("owner@example.com", "helpdesk")
    page = owner.get(answer["Location"]).content.decode()
    assert "/mcp/helpdesk" in page
    assert "took effect in epoch" in page

    issued = owner.post(answer["Location"], {"once": new_ticket()})
    key = re.search(r"gate_ak_[0-9A-Za-z]{49}", issued.content.decode())
    assert key is not None
    assert AgentCredential.objects.get().digest == key_digest(key[0])
    assert "no-store" in issued["Cache-Control"]
    assert key[0] not in owner.get(answer["Location"]).content.decode()
    assert {"bundle.published", "agent.created", "role.given", "key.issued"} <= set(
        EventRow.objects.values_list("kind", flat=True)
    )


def test_it_hands_over_to_security(upstream: ScriptedServer) -> None:
    it = sign_in("it-admin")
    connector = a_known_connector(it, upstream)
    security = sign_in("security", email="sam@example.com")
    page = it.get(step("publish", connector)).content.decode()
    assert "sam@example.com" in page
    assert step("publish", connector) in page
    assert it.post(step("publish", connector), wish(confirmed="yes")).status_code == 403
    assert not Bundle.objects.exists()

    refused = security.post(step("publish", connector), wish(receiver="new", agent_name="x", confirmed="yes"))
    assert refused.status_code == 422
    agent = Agent.objects.create(name="triage-bot", owner=User.objects.get(email="sam@example.com"))
    fields = wish(receiver="existing", agent=str(agent.pk), confirmed="yes")
    done = security.post(step("publish", connector), fields)
    assert security.post(done["Location"]).status_code == 403
    assert "noor@example.com" in security.get(done["Location"]).content.decode()
    assert it.post(done["Location"], {"once": new_ticket()}).status_code == 200
    assert AgentCredential.objects.get().agent == agent


def test_an_existing_bundle_keeps_what_it_has(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    crm = Connector.objects.create(name="crm")
    bundle = Bundle.objects.create(name="support")
    agent = Agent.objects.create(name="triage-bot", owner=User.objects.get())
    Role.objects.create(name="support").bundles.add(bundle)
    agent.roles.add(Role.objects.get())
    publish_bundle(
        bundle,
        tools=[BundleTool(connector=crm, allow=["*"]), BundleTool(connector=connector, allow=["kb_*"])],
        selections=[BundleSelection(connector=connector, kind="prompt", allow=["greet"], deny=["x"])],
        parents=[],
        policies=[],
        names="prefixed",
        recording="metadata",
        by="test",
        record=[].append,
    )
    shown = owner.get(step("publish", connector), {"bundle": str(bundle.pk)}).content.decode()
    assert sorted(re.findall(r'name="tools"\s+value="(\w+)"\s+checked', shown)) == ["kb_read", "kb_search"]
    fields = wish(bundle=str(bundle.pk), bundle_name="", tools=["kb_search", "ticket_delete"], seen="1")
    effect = owner.post(step("publish", connector), fields).content.decode()
    assert "1 agent gains 1 tool" in effect
    assert "1 agent loses 1 tool" in effect
    assert "by pattern" in effect
    owner.post(step("publish", connector), {**fields, "confirmed": "yes"})
    version = BundleVersion.objects.get(state="published")
    assert published_names("support") == ["*", "kb_search", "ticket_delete"]
    assert (version.number, version.names, version.recording) == (2, "prefixed", "metadata")
    assert version.selections.values_list("connector", "kind", "allow", "deny").get() == (
        *(connector.pk, "prompt", ["greet"], ["x"]),
    )
    assert agent.roles.count() == 1


def test_what_somebody_else_published_meanwhile_is_not_overwritten(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    owner.post(step("publish", connector), wish(confirmed="yes"))
    bundle = Bundle.objects.get()
    late = wish(bundle=str(bundle.pk), bundle_name="", tools=["ticket_delete"], seen="0", confirmed="yes")
    answer = owner.post(step("publish", connector), late)
    assert answer["Location"] == step("publish", connector)
    assert published_names("helpdesk") == ["kb_search"]


def test_a_tool_called_star_gives_only_itself(owner: Client, upstream: ScriptedServer) -> None:
    upstream.be_modern(tools=[*TOOLS, {"name": "*", "inputSchema": {"type": "object"}}])
    connector = a_known_connector(owner, upstream)
    owner.post(step("publish", connector), wish(tools=["*"], confirmed="yes"))
    assert published_names("helpdesk") == ["[*]"]
    text = owner.get(step("publish", connector), {"bundle": str(Bundle.objects.get().pk)}).content.decode()
    assert re.findall(r'name="tools"\s+value="([^"]+)"\s+checked', text) == ["*"]


def test_an_unknown_tool_cannot_be_published(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    assert owner.post(step("publish", connector), wish(tools=["other"], confirmed="yes")).status_code == 422
    assert not Bundle.objects.exists()


# Coming back


def test_a_half_made_connector_is_shown_and_taken_up_again(owner: Client, upstream: ScriptedServer) -> None:
    connector = add(owner, upstream.url, name="helpdesk")
    assert owner.get(step("resume", connector))["Location"] == step("test", connector)
    listed = owner.get(reverse("admin:governance_connector_changelist")).content.decode()
    assert "not finished" in listed
    assert reverse("connector_new") in listed
    assert "never reached" in owner.get(reverse("connectors")).content.decode()
    assert step("resume", connector) in owner.get(reverse("connector_new")).content.decode()
    tried(owner, connector)
    assert owner.get(step("resume", connector))["Location"] == step("classify", connector)
    owner.post(step("classify", connector), {"accept": "yes"})
    assert owner.get(step("resume", connector))["Location"] == step("publish", connector)
    owner.post(step("publish", connector), wish(confirmed="yes"))
    assert owner.get(step("resume", connector))["Location"] == step("done", connector)
    assert "not finished" not in owner.get(reverse("connectors")).content.decode()


def test_a_connector_that_gives_only_prompts_is_finished(owner: Client, upstream: ScriptedServer) -> None:
    connector = a_known_connector(owner, upstream)
    publish_bundle(
        Bundle.objects.create(name="support"),
        tools=[],
        selections=[BundleSelection(connector=connector, kind="prompt")],
        parents=[],
        policies=[],
        names="",
        recording="full",
        by="test",
        record=[].append,
    )
    for page in (
        reverse("connectors"),
        reverse("admin:governance_connector_changelist"),
        step("overview", connector),
    ):
        assert "not finished" not in owner.get(page).content.decode()
    assert owner.get(step("resume", connector))["Location"] == step("done", connector)
    assert owner.get(step("done", connector)).status_code == 200
    assert step("resume", connector) not in owner.get(reverse("connector_new")).content.decode()


def test_pages_open_for_what_is_there_only(owner: Client) -> None:
    missing = Connector(name="gone")
    for name in ("address", "test", "classify", "publish", "done", "overview", "resume"):
        assert owner.get(step(name, missing)).status_code == 404
