"""Which session a call's records belong to, and what they say of why it was asked."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import orjson
import pytest

from connectors.base import RawResult, UpstreamFailure
from gateway.call import Frame, Intent
from gateway.mcp.message import read_message
from gateway.operation import Operation
from gateway.pipeline import run
from gateway.sealed_payloads import asked_of
from tests import factories as make
from tests.fakes import FakePorts
from tests.gateway.test_pipeline import frame, world

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-{span}-01"


async def sessions(*frames: Frame, ports: FakePorts | None = None) -> list[UUID | None]:
    """Of each record that these calls leave."""
    ports = ports or FakePorts(world())
    for each in frames:
        await run(each, ports)
    return [entry.event.session for entry in ports.entries]


def traced(span: str, trace: str = TRACE) -> Frame:
    return frame(trace={"traceparent": trace.format(span=span)})


async def test_all_records_of_one_mcp_session_are_of_one_session() -> None:
    found = await sessions(frame(session_id="a"), frame("nowhere", session_id="a"), frame(session_id="b"))
    assert None not in found
    assert found[0] == found[1] == found[2] != found[3] == found[4]


async def test_spans_of_one_trace_are_one_session() -> None:
    one, _, other, _ = await sessions(traced("00f067aa0ba902b7"), traced("00f067aa0ba902b8"))
    assert one == other


@pytest.mark.parametrize("trace", ["", "00-" + "0" * 32 + "-{span}-01", "x" * 400, TRACE + "\n"])
async def test_without_a_trace_it_is_what_the_agent_does_in_that_hour(trace: str) -> None:
    one, _, other, _ = await sessions(traced("00f067aa0ba902b7", trace), frame())
    assert one == other


async def test_an_hour_later_it_is_another_session() -> None:
    ports = FakePorts(world())
    await run(frame("nowhere"), ports)
    ports.at += timedelta(hours=1)
    await run(frame("nowhere"), ports)
    one, other = (entry.event.session for entry in ports.entries)
    assert one != other


async def test_nobody_gets_into_the_session_of_another_agent() -> None:
    mine, _ = await sessions(traced("00f067aa0ba902b7"))
    agent = make.agent("rogue", roles=(make.role("bundle-support"),))
    theirs = FakePorts(make.snapshot(agents=(agent,), bundles=(make.bundle(),), credentials=(make.credential(agent),)))
    assert mine not in await sessions(traced("00f067aa0ba902b7"), ports=theirs)


async def test_what_the_agents_side_says_of_its_reasons_is_sealed_with_the_arguments() -> None:
    ports = FakePorts(world())
    await run(frame(stated_reason="Ana asked", stated_context="ticket 7"), ports)
    intent = ports.entries[0]
    assert intent.payload is not None
    body = orjson.loads(intent.payload.sealed)
    assert body == {"asked": {"id": 7}, "said": {"reason": "Ana asked", "context": "ticket 7"}}
    header = intent.event.header()
    assert b"Ana asked" not in header
    assert asked_of(header, body) == {"id": 7}


async def test_of_a_call_without_reasons_the_arguments_alone_are_sealed() -> None:
    ports = FakePorts(world())
    await run(frame(arguments={"said": 1, "asked": 2}), ports)
    assert ports.entries[0].payload is not None
    body = orjson.loads(ports.entries[0].payload.sealed)
    assert asked_of(ports.entries[0].event.header(), body) == {"said": 1, "asked": 2}


async def test_a_credential_in_the_context_is_refused() -> None:
    ports = FakePorts(world())
    await run(frame(stated_context=f"use {make.KEY}"), ports)
    assert ports.log == ["call.refused"]


async def test_the_records_say_what_took_how_long_and_how_much_went_out() -> None:
    ports, message = FakePorts(world()), read_message({"jsonrpc": "2.0", "id": 1, "method": "tools/call"})
    with Operation(message, revision="2025-11-25", secret=""):
        await run(frame(), ports)
    intent, outcome = (entry.event.details for entry in ports.entries)
    assert intent["bytes"] == len(b'{"id":7}') + len(b'"ticket_get"')
    assert 0 <= outcome["gateway_ms"] < 60_000


async def test_of_a_failure_the_record_says_how_long_the_upstream_took() -> None:
    def broken(_: Intent) -> RawResult:
        raise UpstreamFailure("timeout", "late", reached=True)

    ports, message = FakePorts(world()), read_message({"jsonrpc": "2.0", "id": 1, "method": "tools/call"})
    ports.upstream = broken
    with Operation(message, revision="2025-11-25", secret=""):
        await run(frame(), ports)
    assert {"gateway_ms", "upstream_ms"} <= set(ports.entries[1].event.details)


async def test_a_refusal_names_the_definition_that_was_decided_on() -> None:
    ports = FakePorts(world())
    ports.secrets = {"helpdesk-token": (b"s3cr3t-value-of-vault",)}
    await run(replace(frame(), arguments={"id": "s3cr3t-value-of-vault"}), ports)
    assert "definition" in ports.entries[0].event.details
