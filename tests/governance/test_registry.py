"""Pinned definitions: what an upstream may change, and what takes a human."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.facts import Fact
from governance.models import Connector, Tool, ToolDefinition
from governance.registry import (
    MAX_DEFINITION_BYTES,
    Catalogue,
    NotDecidable,
    Registration,
    catalogue,
    pin,
    quarantine,
    register,
    registration,
    reject,
    release,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
BY = "person:ira@example.com"


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture
def helpdesk(db: None) -> Connector:
    return Connector.objects.create(name="helpdesk", urls=["http://helpdesk.example.com/mcp"])


def offers(**descriptions: str) -> Catalogue:
    return catalogue(
        ({"name": name, "description": text, "inputSchema": {}} for name, text in descriptions.items()),
        protocol_version="2026-07-28",
    )


def take_in(connector: Connector, found: Catalogue, facts: list[Fact]) -> Registration:
    return register(Connector.objects.get(id=connector.id), found, by=BY, record=facts.append, now=NOW)


def statuses(name: str) -> list[str]:
    rows = ToolDefinition.objects.filter(tool__name=name)
    return sorted(rows.values_list("status", flat=True))


def waiting() -> ToolDefinition:
    return ToolDefinition.objects.get(status="waiting")


@pytest.mark.database
class TestRegistering:
    def test_the_first_answer_is_pinned_as_it_was_sent(self, helpdesk: Connector, facts: list[Fact]) -> None:
        definition = {"name": "a", "inputSchema": {}, "x-vendor": {"z": 1, "a": None}}
        done = take_in(helpdesk, catalogue([definition], protocol_version="2025-11-25"), facts)
        assert done == Registration(pinned=("a",))
        row = ToolDefinition.objects.get()
        assert (row.status, row.decided_by) == ("pinned", BY)
        assert bytes(row.body) == b'{"inputSchema":{},"name":"a","x-vendor":{"a":null,"z":1}}'
        assert [(fact.kind, fact.subject) for fact in facts] == [("tools.registered", "connector:helpdesk")]
        helpdesk.refresh_from_db()
        assert (helpdesk.protocol_version, helpdesk.last_seen_at, helpdesk.last_error) == ("2025-11-25", NOW, "")

    def test_the_same_again_is_nothing(self, helpdesk: Connector, facts: list[Fact]) -> None:
        take_in(helpdesk, offers(a="1"), facts)
        assert not take_in(helpdesk, offers(a="1"), facts)
        assert len(facts) == 1

    def test_a_silent_upstream_leaves_the_first_time_for_later(self, helpdesk: Connector, facts: list[Fact]) -> None:
        take_in(helpdesk, Catalogue(error="timeout: too slow"), facts)
        assert (Connector.objects.get().last_error, facts) == ("timeout: too slow", [])
        assert take_in(helpdesk, offers(a="1"), facts).pinned == ("a",)

    def test_a_change_waits_and_the_pinned_one_stays(self, helpdesk: Connector, facts: list[Fact]) -> None:
        take_in(helpdesk, offers(a="1"), facts)
        assert take_in(helpdesk, offers(a="2", b="new"), facts).waiting == ("a", "b")
        assert (statuses("a"), statuses("b")) == (["pinned", "waiting"], ["waiting"])
        assert not take_in(helpdesk, offers(a="2", b="new"), facts)
        take_in(helpdesk, offers(a="3", b="new"), facts)
        assert statuses("a") == ["pinned", "superseded", "waiting"]

    def test_an_empty_first_answer_was_the_first(self, helpdesk: Connector, facts: list[Fact]) -> None:
        take_in(helpdesk, offers(), facts)
        assert take_in(helpdesk, offers(a="1"), facts).waiting == ("a",)

    def test_new_tools_allow(self, helpdesk: Connector, facts: list[Fact]) -> None:
        take_in(helpdesk, offers(a="1"), facts)
        Connector.objects.update(new_tools="allow")
        assert take_in(helpdesk, offers(a="2", b="1"), facts).pinned == ("a", "b")
        assert statuses("a") == ["pinned", "superseded"]
        assert take_in(helpdesk, offers(a="1", b="1"), facts).pinned == ("a",)
        assert ToolDefinition.objects.get(tool__name="a", status="pinned").digest == offers(a="1").tools[0].digest

    def test_vanished_tools_stay(self, helpdesk: Connector, facts: list[Fact]) -> None:
        take_in(helpdesk, offers(a="1", b="1"), facts)
        done = take_in(helpdesk, offers(b="1"), facts)
        assert (done.vanished, bool(done), statuses("a")) == (("a",), False, ["pinned"])

    def test_the_forecast_is_what_happens(self, helpdesk: Connector, facts: list[Fact]) -> None:
        assert registration(None, offers(a="1"), new_tools="review").pinned == ("a",)
        take_in(helpdesk, offers(a="1"), facts)
        row = Connector.objects.get()
        forecast = registration(row, offers(a="2"), new_tools="review")
        assert forecast == take_in(helpdesk, offers(a="2"), facts)


@pytest.mark.database
class TestDeciding:
    def test_pinning_replaces(self, helpdesk: Connector, facts: list[Fact]) -> None:
        take_in(helpdesk, offers(a="1"), facts)
        take_in(helpdesk, offers(a="2"), facts)
        definition = waiting()
        pin(definition, by=BY, record=facts.append)
        assert statuses("a") == ["pinned", "superseded"]
        assert facts[-1] == Fact("definition.pinned", "tool:helpdesk/a", {"digest": definition.digest})
        with pytest.raises(NotDecidable):
            reject(definition, by=BY, record=facts.append)

    def test_a_rejected_definition_is_never_asked_about_again(self, helpdesk: Connector, facts: list[Fact]) -> None:
        take_in(helpdesk, offers(a="1"), facts)
        take_in(helpdesk, offers(a="2"), facts)
        reject(waiting(), by=BY, record=facts.append)
        assert not take_in(helpdesk, offers(a="2"), facts)
        Connector.objects.update(new_tools="allow")
        assert not take_in(helpdesk, offers(a="2"), facts)
        assert statuses("a") == ["pinned", "rejected"]

    def test_quarantine_and_release(self, helpdesk: Connector, facts: list[Fact]) -> None:
        take_in(helpdesk, offers(a="1"), facts)
        tool = Tool.objects.get()
        quarantine(tool, reason="odd answers", by=BY, record=facts.append, now=NOW)
        with pytest.raises(NotDecidable):
            quarantine(tool, reason="again", by=BY, record=facts.append, now=NOW)
        assert Tool.objects.get().quarantine_reason == "odd answers"
        release(tool, by=BY, record=facts.append)
        assert Tool.objects.get().quarantined_at is None
        with pytest.raises(NotDecidable):
            release(tool, by=BY, record=facts.append)
        assert [fact.kind for fact in facts[1:]] == ["tool.quarantined", "tool.released"]


@pytest.mark.parametrize(
    "definition",
    [
        {"name": ""},
        {"name": "x" * 129},
        {"name": "a\nb"},
        {"name": 3},
        {},
        {"name": "big", "description": "x" * MAX_DEFINITION_BYTES},
        {"name": "huge-number", "n": 2**70},
        {"name": "half", "description": "\ud800"},
        {"name": "fine"},
    ],
)
def test_unusable_definitions_are_left_out_and_told(definition: dict[str, Any]) -> None:
    found = catalogue([{"name": "fine"}, definition], protocol_version="")
    assert [tool.name for tool in found.tools] == ["fine"]
    assert found.unusable == (str(definition.get("name"))[:128],)


@given(st.permutations(["name", "description", "inputSchema", "x"]))
def test_the_order_of_keys_is_no_change(keys: list[str]) -> None:
    values = {"name": "a", "description": "d", "inputSchema": {"type": "object"}, "x": 1}
    (tool,) = catalogue([{key: values[key] for key in keys}], protocol_version="").tools
    (same,) = catalogue([values], protocol_version="").tools
    assert tool == same
