"""Humans agree to a call into which real values are put: to which tokens, and to exactly these values."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.call import Frame
from gateway.mask_vault import Reader, Wanted
from gateway.pipeline import run
from gateway.run_sessions import session_in
from governance.inspection.tokens import Value
from governance.snapshot import Rule
from tests.fakes import FakeMasks
from tests.fresh_database import fresh_database
from tests.gateway.asking import (
    AGENT,
    ANA,
    AskingPorts,
    approve,
    asking,
    code_of,
    frame,
    in_thread,
    request,
    uid,
    with_ports,
    world,
)
from tests.gateway.test_content_rules import ADDRESS, rule

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

MAIL = Value("EMAIL", "email", (("personal_data",),), ADDRESS)
RESTORES = rule("restore", "personal_data", position=2)
ASKS = rule("ask", "personal_data", position=3, terms=asking().terms)


def called(**arguments: Any) -> Frame:
    return replace(frame(**arguments), session_id="run-1")


async def token_of(ports: AskingPorts) -> str:
    session = session_in(called(), "triage-bot", "ana@example.com", 0)
    reader = Reader(uid(AGENT).hex, uid(ANA).hex, session)
    return (await ports.masks.keep(reader, [Wanted(MAIL, 0)], retention="standard"))[MAIL]


def view(*rules: Rule) -> Any:
    return world(*rules, RESTORES, ASKS)


def test_what_was_agreed_to_runs_with_its_value_and_nothing_kept_has_it() -> None:
    async def use(ports: AskingPorts) -> None:
        call = called(note=await token_of(ports))
        assert code_of(await run(call, ports)) == "approval_required"
        row = await in_thread(request)
        assert [(each["name"], each["kind"]) for each in row.restores] == [("EMAIL#1", "personal_data")]
        assert ADDRESS not in repr(row.restores)
        assert ADDRESS.encode() not in bytes(row.arguments)
        await in_thread(approve)
        await run(call, ports)
        assert orjson.loads(ports.sent[-1]) == {"note": ADDRESS}
        intent = next(entry for entry in ports.entries if entry.event.kind == "call.intent")
        assert intent.event.details["restored"][0]["token"] == "EMAIL#1"
        assert ADDRESS not in repr(intent.event.details)

    with_ports(use, view())


@pytest.mark.parametrize("change", ["another value", "the rule is gone"])
def test_what_has_changed_since_is_void(change: str) -> None:
    async def use(ports: AskingPorts) -> None:
        token = await token_of(ports)
        call = called(note=token)
        await run(call, ports)
        await in_thread(approve)
        if change == "another value":
            kept = ports.masks
            assert isinstance(kept, FakeMasks)
            for values in kept.kept.values():
                values[MAIL._replace(text="eve@corp.example")] = values.pop(MAIL)
        else:
            agent = ports.views[0]
            ports.views = [replace(agent, bundles=(await in_thread(lambda: world(always()))).bundles)]
        await run(call, ports)
        assert ports.sent == []
        states = await in_thread(
            lambda: list(type(request()).objects.order_by("number").values_list("state", flat=True))
        )
        assert states[0] == "void"

    with_ports(use, view(always()))


def always() -> Rule:
    return asking(position=1)
