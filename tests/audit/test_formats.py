"""Every kind of event in every format, as its readers check it."""

import re
from functools import cache
from typing import Any
from uuid import UUID

import orjson
import pytest
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from audit.event import AuditEvent
from audit.formats import FORMATS
from audit.formats.entry import Entry, SignedSize
from audit.formats.ocsf import class_of
from audit.kinds import KINDS
from audit.redaction import PROFILES, redaction
from tests.audit.writing import NOON

CLASSES = {
    6003: "api_activity",
    3002: "authentication",
    3005: "user_access",
    3004: "entity_management",
    2004: "detection_finding",
}
HOSTILE = 'a|b\\c=d\nCEF:0|x "q"'
COST = {"amount": "0.0042", "currency": "USD"}
SIGNED = SignedSize(7, NOON, "gw/audit\n7\nAAAA=\n\n— gw/audit sig\n")


def entry(kind: str, **fields: Any) -> Entry:
    event = AuditEvent(kind=kind, at=NOON, actor="person:ana@example.com", id=UUID(int=1 << 80), **fields)
    return Entry(41, bytes(32), event.id, event.at, 3, event.header())


def full(kind: str) -> Entry:
    return entry(
        kind,
        agent="triage-bot",
        person="ana@example.com",
        connector="helpdesk",
        tool="ticket_get",
        decision="permit",
        outcome="ok",
        call_id=UUID(int=9),
        details={"subject": "role:support", "ip": "192.0.2.7", "text": HOSTILE, "cost": COST},
    )


@cache
def schema(class_uid: int) -> Validator:
    published = OcsfJsonSchemaEmbedded(_published())
    return Draft202012Validator(published.get_class_schema(CLASSES[class_uid], profiles=[]))


@cache
def _published() -> Any:
    return get_ocsf_schema("1.8.0")


def faults(line: bytes) -> list[str]:
    event = orjson.loads(line)
    return [f"{list(fault.path)}: {fault.message}" for fault in schema(event["class_uid"]).iter_errors(event)]


def test_every_kind_is_an_event_of_the_published_schema() -> None:
    wrong = {}
    for kind in (*KINDS, "kind.unknown"):
        for each in (full(kind), entry(kind)):
            if found := faults(FORMATS["ocsf"].record(each, org="Example Corp", redact=None)):
                wrong[kind] = found
    assert not wrong


def test_what_is_pruned_or_redacted_and_a_checkpoint_are_events_of_it_too() -> None:
    ocsf = FORMATS["ocsf"]
    pruned = Entry(41, bytes(32), UUID(int=1), NOON, 0, None)
    assert faults(ocsf.record(pruned, org="", redact=None)) == []
    assert faults(ocsf.checkpoint(SIGNED, org="Example Corp")) == []
    for profile in PROFILES:
        assert faults(ocsf.record(full("call.outcome"), org="x", redact=redaction(profile))) == []


@pytest.mark.parametrize(
    ("kind", "class_uid"),
    [
        ("call.outcome", 6003),
        ("person.signed_in", 3002),
        ("role.given", 3005),
        ("bundle.published", 3005),
        ("zombies.found", 2004),
        ("agent.created", 3004),
    ],
)
def test_a_kind_has_the_class_that_analysts_look_for(kind: str, class_uid: int) -> None:
    assert class_of(kind).uid == class_uid


def test_an_event_says_where_its_leaf_is_and_how_it_ended() -> None:
    told = orjson.loads(FORMATS["ocsf"].record(full("call.outcome"), org="Example Corp", redact=None))
    assert (told["unmapped"]["leaf_index"], told["unmapped"]["leaf_hash"]) == (41, bytes(32).hex())
    assert (told["status_id"], told["api"]["operation"], told["src_endpoint"]) == (1, "ticket_get", {"ip": "192.0.2.7"})
    refused = orjson.loads(FORMATS["ocsf"].record(entry("call.refused", outcome="refused"), org="x", redact=None))
    assert (refused["status_id"], refused["status_code"]) == (2, "refused")


def test_what_a_call_cost_is_in_every_format() -> None:
    told = {name: each.record(full("call.outcome"), org="x", redact=None) for name, each in FORMATS.items()}
    assert orjson.loads(told["native"])["header"]["details"]["cost"] == COST
    assert orjson.loads(told["ocsf"])["unmapped"]["details"]["cost"] == COST
    _, pairs = parsed(told["cef"])
    assert (pairs["cfp1Label"], pairs["cfp1"], pairs["flexString1"]) == ("cost", "0.0042", "USD")
    _, bare = parsed(
        FORMATS["cef"].record(entry("call.outcome", details={"cost": {"amount": "3"}}), org="x", redact=None)
    )
    assert (bare["cfp1"], "flexString1" in bare) == ("3", False)


def parsed(line: bytes) -> tuple[list[str], dict[str, str]]:
    """As a reader of CEF does it."""
    parts = re.split(r"(?<!\\)(?:\\\\)*\|", line.decode(), maxsplit=7)
    pairs = re.findall(r"(\w+)=((?:\\.|[^=\\])*)(?= \w+=|$)", parts[7])
    return parts[:7], {key: re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), v) for key, v in pairs}


def test_a_line_of_cef_survives_hostile_text() -> None:
    line = FORMATS["cef"].record(
        entry("call.refused", agent=HOSTILE, tool=HOSTILE, outcome="refused"), org=HOSTILE, redact=None
    )
    assert b"\n" not in line
    header, pairs = parsed(line)
    assert (header[0], header[4], header[6]) == ("CEF:0", "call.refused", "6")
    assert (pairs["sproc"], pairs["cs1"], pairs["cs2"], pairs["cn1"]) == (HOSTILE, HOSTILE, HOSTILE, "41")
    assert (pairs["cs1Label"], pairs["cn1Label"]) == ("tool", "leafIndex")
    odd, _ = parsed(FORMATS["cef"].record(entry("odd|kind\\x.y"), org="x", redact=None))
    assert len(odd) == 7


def test_a_checkpoint_keeps_every_line_of_its_note_in_cef() -> None:
    line = FORMATS["cef"].checkpoint(SIGNED, org="x")
    assert parsed(line)[1]["cs1"] == SIGNED.note


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_kind_is_one_line_in_every_format(name: str) -> None:
    for kind in KINDS:
        assert b"\n" not in FORMATS[name].record(full(kind), org="x", redact=None)
