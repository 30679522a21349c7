"""Rules that name detectors of somebody else's: real services over HTTP, the real engine, the faked outside."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from connectors.breaker import FAILURES_TO_OPEN
from gateway.canary_index import CanaryIndex
from gateway.pipeline import run
from governance.snapshot import Rule
from governance.snapshot_values import OutsideDetector, SealedCanary
from tests import factories as make
from tests.detector_services import FakeService, presidio, serving
from tests.fakes import FakePorts
from tests.gateway.mcp_surface import McpPorts, Surface
from tests.gateway.test_content_rules import TOKEN, details, nothing_kept, rule, says
from tests.gateway.test_pipeline import code_of, frame, text_of, world

NAME = "detector:people"


OPEN: list[FakePorts] = []


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with serving(presidio) as found:
        yield found
        while OPEN:
            OPEN.pop().detectors.close()
        await asyncio.sleep(0)


def detector(service: FakeService, **fields: Any) -> OutsideDetector:
    told = {"timeout_ms": 10_000, "settings": {"url": service.url}, **fields}
    return OutsideDetector(id="d1", name="people", kind="presidio", version=3, **told)


def ports_with(*rules: Rule, of: OutsideDetector | None) -> FakePorts:
    ports = FakePorts(replace(world(*rules), detectors={of.name: of} if of is not None else {}))
    OPEN.append(ports)
    return ports


def note(text: str, **more: Any) -> Any:
    return frame(arguments={"note": text, **more})


async def test_what_it_finds_is_denied_and_on_record_with_who_said_so(service: FakeService) -> None:
    ports = ports_with(rule("deny", NAME), of=detector(service, severity="high"))
    assert text_of(await run(note("nobody here"), ports)) == "done"
    (asked,) = details(ports, 0)["detectors"]
    assert (asked["detector"], asked["kind"], asked["version"]) == ("people", "presidio", 3)
    assert (asked["outcome"], asked["count"], asked["ms"] > 0) == ("ok", 0, True)
    assert code_of(await run(note("ask Bo Öst"), ports)) == "denied_by_rule"
    said = details(ports, -1)
    (found,) = said["findings"]
    assert (found["rule"], found["version"], found["kind"], found["subject"]) == (
        "people.person",
        3,
        "external",
        "people",
    )
    assert (found["path"], said["detectors"][0]["count"]) == ("/arguments/note", 1)
    assert nothing_kept(ports, "Bo Öst")


async def test_it_masks_exactly_what_it_found_in_arguments_and_in_results(service: FakeService) -> None:
    ports = ports_with(rule("mask", NAME), rule("mask", NAME, on="result", position=2), of=detector(service))
    ports.upstream = lambda _: says("😀 Bo Öst and Ana Lima, at last", structuredContent={"Ana Lima": ["Bo Öst"]})
    told = await run(note("ünd 😀 Ana Lima\nBo Öst"), ports)
    assert orjson.loads(ports.sent[0]) == {"note": "ünd 😀 [PEOPLE.PERSON]\n[PEOPLE.PERSON]"}
    assert text_of(told) == "😀 [PEOPLE.PERSON] and [PEOPLE.PERSON], at last"
    assert told.result is not None
    assert told.result["structuredContent"] == {"[PEOPLE.PERSON]": ["[PEOPLE.PERSON]"]}
    assert details(ports, -1)["detectors"][0]["count"] == 4


async def test_names_that_the_protocol_gives_and_pictures_are_no_text(service: FakeService) -> None:
    ports = ports_with(rule("mask", NAME, on="result"), of=detector(service))
    meta = {"io.modelcontextprotocol/serverInfo": {"name": "desk"}, "acme.example/trace": "t"}
    ports.upstream = lambda _: says("hello", structuredContent={"who": 7}, _meta=meta)
    await run(note("x"), ports)
    (sent,) = service.received
    assert orjson.loads(sent.body)["text"] == "hello\nwho: 7\nname: desk\nacme.example/trace: t\n"


async def test_conditions_read_it_by_name(service: FakeService) -> None:
    reading = make.rule("deny", f"findings.exists(f, f.kind == '{NAME}' && f.confidence > 0.8)")
    ports = ports_with(reading, of=detector(service))
    assert code_of(await run(note("Ana Lima"), ports)) == "denied_by_rule"
    assert text_of(await run(note("Ana"), ports)) == "done"


async def test_it_is_asked_only_where_a_rule_of_this_side_names_it(service: FakeService) -> None:
    ports = ports_with(rule("deny", "secret"), rule("flag", NAME, on="result", position=2), of=detector(service))
    await run(note("Ana Lima"), ports)
    (sent,) = service.received
    assert b"Ana Lima" not in sent.body


async def test_what_it_is_less_sure_of_does_not_count(service: FakeService) -> None:
    ports = ports_with(rule("deny", NAME), of=detector(service, least_confidence=0.9))
    assert text_of(await run(note("Ana Lima"), ports)) == "done"


@pytest.mark.parametrize(
    "fault", ["cut", "500", "401", "429", "garbage", "huge", "deep", "wrong_places", "wrong_types", "wrong_shape"]
)
async def test_no_answer_denies_unless_the_rule_is_open(service: FakeService, fault: str) -> None:
    service.fault = fault
    closed = ports_with(rule("deny", NAME), of=detector(service))
    assert code_of(await run(note("nobody"), closed)) == "denied_by_rule"
    said = details(closed, -1)
    (found,) = said["findings"]
    assert (found["kind"], found["subject"]) == ("limit", NAME)
    assert found["rule"] == f"limit.detector.{said['detectors'][0]['outcome']}"
    assert nothing_kept(closed, "Ana Lima"), "what a service says is not repeated"
    opened = ports_with(rule("deny", NAME, is_open=True), of=detector(service))
    assert text_of(await run(note("nobody"), opened)) == "done"
    assert details(opened, 0)["detectors"][0]["outcome"] != "ok"


async def test_one_that_is_late_is_not_waited_for(service: FakeService) -> None:
    service.fault = "slow"
    ports = ports_with(rule("deny", NAME), of=detector(service, timeout_ms=50))
    assert code_of(await run(note("nobody"), ports)) == "denied_by_rule"
    assert details(ports, -1)["detectors"][0]["outcome"] == "timeout"


async def test_a_result_that_it_could_not_look_at_is_withheld_where_a_rule_masks(service: FakeService) -> None:
    service.fault = "500"
    ports = ports_with(rule("mask", NAME, on="result"), of=detector(service))
    ports.upstream = lambda _: says("Ana Lima")
    assert "Ana Lima" not in text_of(await run(note("x"), ports))
    assert ports.entries[-1].event.outcome == "screened"


async def test_other_rules_are_not_in_doubt_where_it_fails(service: FakeService) -> None:
    service.fault = "500"
    ports = ports_with(rule("deny", "secret"), rule("flag", NAME, position=2), of=detector(service))
    assert text_of(await run(note("nobody"), ports)) == "done"


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"is_enabled": False}, "off"),
        ({"side": "result"}, "other_side"),
        ({"most_bytes": 5}, "too_large"),
        ({"settings": {}}, "settings"),
        ({"settings": {"url": "http://127.0.0.1:9"}}, "connect_failed"),
        ({"settings": {"url": "http://10.1.2.3"}}, "address_refused"),
    ],
)
async def test_one_that_cannot_be_asked_counts_as_found(service: FakeService, fields: Any, outcome: str) -> None:
    ports = ports_with(rule("deny", NAME), of=detector(service, **fields))
    assert code_of(await run(note("nobody"), ports)) == "denied_by_rule"
    assert details(ports, -1)["detectors"][0]["outcome"] == outcome
    assert not service.received


async def test_one_that_is_not_there_any_more_counts_as_found() -> None:
    assert code_of(await run(note("x"), ports_with(rule("deny", NAME), of=None))) == "denied_by_rule"


async def test_a_broken_one_is_left_alone_until_it_passes_a_check(service: FakeService) -> None:
    ports = ports_with(rule("deny", NAME), of=detector(service))
    service.fault = "500"
    for number in range(FAILURES_TO_OPEN + 1):
        await run(note(f"n{number}"), ports)
    asked = len(service.received)
    assert code_of(await run(note("other"), ports)) == "denied_by_rule"
    assert details(ports, -1)["detectors"][0]["outcome"] == "broken"
    assert len(service.received) == asked
    service.fault = ""
    ports.detectors._services["d1"].breaker._due_at = 0.0
    assert text_of(await run(note("again"), ports)) == "done"
    assert text_of(await run(note("and again"), ports)) == "done"
    assert ports.detectors.status("d1") == "closed"


async def test_secrets_are_blotted_out_before_anything_leaves(service: FakeService) -> None:
    ports = ports_with(rule("mask", NAME), of=detector(service))
    ports.secrets = {"crm": (b"vault-value-of-ours",)}
    text = f"key {TOKEN} for Ana Lima {make.KEY}"
    await run(note(text, also="see vault-value-of-ours"), ports)
    assert TOKEN not in service.texts()
    assert make.KEY not in service.texts()
    assert "vault-value-of-ours" not in service.texts()
    assert f"key {'*' * len(TOKEN)} for Ana Lima" in service.texts()
    assert make.KEY not in str([each.headers for each in service.received])


async def test_known_secrets_go_along_where_that_is_wanted_and_ours_never(service: FakeService) -> None:
    ports = ports_with(rule("flag", NAME), of=detector(service, sends_known_secrets=True))
    ports.secrets = {"crm": (b"vault-value-of-ours",)}
    await run(note(f"{TOKEN} vault-value-of-ours {make.KEY}"), ports)
    assert TOKEN in service.texts()
    assert "vault-value-of-ours" not in service.texts()
    assert make.KEY not in service.texts()


async def test_a_call_that_is_decided_twice_asks_once(service: FakeService) -> None:
    ports = ports_with(rule("deny", NAME), of=detector(service))
    ports.views = [ports.views[0], ports.views[0]]
    assert code_of(await run(note("Ana Lima"), ports)) == "denied_by_rule"
    assert len(service.received) == 1


async def test_a_canary_never_leaves(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    index = CanaryIndex([("hr-share", (b"bait-0123456789abcdef",))])
    monkeypatch.setattr("gateway.canary_index._index_of", lambda _: index)
    ports = ports_with(rule("flag", NAME), of=detector(service, sends_known_secrets=True))
    bait = SealedCanary("c", "hr-share", "email", "", b"", b"")
    ports.views = [replace(ports.views[0], canaries=(bait,))]
    await run(note("see bait-0123456789abcdef"), ports)
    assert service.received
    assert "bait-0123456789abcdef" not in service.texts()


@pytest.mark.parametrize("is_open", [False, True])
async def test_clients_of_mcp_meet_the_failure_mode_of_the_rule(service: FakeService, is_open: bool) -> None:
    service.fault = "500"
    known = {"people": detector(service)}
    ports = McpPorts(replace(world(rule("deny", NAME, is_open=is_open)), detectors=known))
    OPEN.append(ports)
    reply = await Surface(ports).ask_modern("tools/call", {"name": "ticket_get", "arguments": {"note": "nobody"}})
    assert reply.status == 200
    assert reply.message["result"].get("isError", False) is not is_open
    assert ports.log == (["call.intent", "sent", "call.outcome"] if is_open else ["call.refused"])
