"""Values of the vault are masked without any rule, so a tool's output schema is promised: then it holds."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.pipeline import run
from governance.snapshot import Rule
from tests import factories as make
from tests.fakes import FakePorts, answer
from tests.gateway.test_content_rules import details, rule
from tests.gateway.test_pipeline import frame, text_of

SECRET = "s3cr3t-value-of-vault"
MASK = "[SECRET:helpdesk-token]"
SHAPED = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^s3"}}}
FREE = {"type": "object", "properties": {"a": {"type": "string"}}}


def ports_of(schema: Any, result: dict[str, Any], *rules: Rule) -> FakePorts:
    agent = make.agent(roles=(make.role("bundle-support"),))
    tool = replace(make.tool(), definition={"name": "ticket_get", "outputSchema": schema})
    bundle = make.bundle(tools=(tool,), rules=rules)
    ports = FakePorts(make.snapshot(agents=(agent,), bundles=(bundle,), credentials=(make.credential(agent),)))
    ports.secrets = {"helpdesk-token": (SECRET.encode(),)}
    ports.upstream = lambda _: answer(result)
    return ports


def result_of(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "structuredContent": {"a": text}}


async def test_a_mask_that_the_schema_has_room_for_stands_there() -> None:
    ports = ports_of(FREE, result_of(SECRET))
    assert (await run(frame(), ports)).result == result_of(MASK)


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
async def test_where_it_has_none_the_result_is_withheld_and_it_is_on_record(cut: bool) -> None:
    schema: Any = {"type": "object", "properties": {"a": {"items": {"enum": [SECRET[:9], SECRET[9:]]}}}}
    result = {"content": [], "structuredContent": {"a": [SECRET[:9], SECRET[9:]]}}
    ports = ports_of(schema, result) if cut else ports_of(SHAPED, result_of(SECRET))
    told = await run(frame(), ports)
    assert told.result is not None
    assert told.result["isError"] is True
    assert "structuredContent" not in told.result
    assert "do not repeat" in text_of(told)
    assert (details(ports, -1)["masked"], ports.entries[-1].event.outcome) == (["helpdesk-token"], "tool_error")


async def test_what_is_masked_beside_the_structured_content_breaks_nothing() -> None:
    result = {"content": [{"type": "text", "text": SECRET}], "structuredContent": {"a": "s3"}}
    told = await run(frame(), ports_of(SHAPED, result))
    assert told.result == {**result, "content": [{"type": "text", "text": MASK}]}


async def test_a_schema_that_was_not_promised_is_not_kept() -> None:
    ports = ports_of(SHAPED, result_of(SECRET), rule("mask", "personal_data", on="result"))
    assert (await run(frame(), ports)).result == result_of(MASK)
