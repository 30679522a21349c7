"""Reversible masks on the way of calls: tokens for the agent, values for the tools that a rule names, nothing in
evidence."""

import re
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.call import Answer, Frame, Intent
from gateway.mask_vault import Reader, Wanted
from gateway.pipeline import run
from gateway.run_sessions import session_in
from governance.inspection.tokens import Value
from governance.snapshot import Rule, Snapshot
from tests import factories as make
from tests.fakes import FakeMasks, FakePorts
from tests.gateway.test_content_rules import ADDRESS, CARD, TOKEN, nothing_kept, rule, says
from tests.gateway.test_pipeline import code_of, frame, text_of, world

MASKS = rule("mask", "personal_data", "secret", on="result", reversible=True)
RUN = "run-1"
TOKENS = re.compile(r"\[[^\[\]]*~[^\[\]]*\]")


def restores(*findings: str, **fields: Any) -> Rule:
    return rule("restore", *(findings or ("personal_data",)), position=2, **fields)


def asked(**fields: Any) -> Frame:
    return frame(session_id=fields.pop("session_id", RUN), **fields)


def ports_of(*rules: Rule, shared: FakeMasks | None = None, **fields: Any) -> FakePorts:
    ports = FakePorts(world(*rules, **fields))
    ports.masks = shared or FakeMasks()
    return ports


async def masked(ports: FakePorts, text: str, **fields: Any) -> str:
    """What the agent sees of an answer."""
    before, ports.upstream = ports.upstream, lambda _: says(text)
    told = await run(asked(**fields), ports)
    ports.upstream = before
    return text_of(told)


async def sent(ports: FakePorts, note: Any, **fields: Any) -> Any:
    """What its tool gets."""
    count = len(ports.sent)
    await run(asked(arguments={"note": note}, **fields), ports)
    return orjson.loads(ports.sent[-1])["note"] if len(ports.sent) > count else None


# -- tokens


async def test_a_value_is_the_same_token_throughout_a_run_and_another_is_another() -> None:
    ports = ports_of(MASKS)
    first = await masked(ports, f"{ADDRESS}, bo@corp.example, {ADDRESS}")
    one, two, again = first.split(", ")
    assert one.startswith("[EMAIL#1~")
    assert two.startswith("[EMAIL#2~")
    assert (one, one) == (again, await masked(ports, ADDRESS))
    assert one != await masked(ports, ADDRESS, session_id="run-2")
    assert nothing_kept(ports, ADDRESS)
    assert ports.entries[-1].event.details["tokens"] == ["EMAIL#1"]


async def test_the_end_of_a_value_is_shown_where_a_rule_says_so() -> None:
    ports = ports_of(replace(MASKS, keep_last=4))
    card, key = (await masked(ports, f"{CARD} {TOKEN}")).split("] ")
    assert card.startswith("[CARD_NUMBER#1~")
    assert card.endswith(" …1111")
    assert key.startswith("[SECRET:github_token#1~")
    assert key.endswith(" …8B4a]")


@pytest.mark.parametrize("other", [rule("mask", "personal_data", on="result", position=3)], ids=["for good"])
async def test_what_another_rule_masks_for_good_has_no_token(other: Rule) -> None:
    ports = ports_of(MASKS, other)
    assert await masked(ports, ADDRESS) == "[EMAIL]"
    assert (await masked(ports, TOKEN)).startswith("[SECRET:github_token#1~")


async def test_where_no_token_can_be_kept_it_is_masked_for_good() -> None:
    away = FakeMasks()
    away.is_away = True
    assert await masked(ports_of(MASKS, shared=away), ADDRESS) == "[EMAIL]"


# -- putting back


async def test_a_tool_gets_the_value_only_by_a_rule() -> None:
    shared = FakeMasks()
    token = await masked(ports_of(MASKS, shared=shared), ADDRESS)
    assert await sent(ports_of(shared=shared), f"to {token}!") == f"to {token}!"
    ports = ports_of(restores(), shared=shared)
    assert await sent(ports, f"to {token}!") == f"to {ADDRESS}!"
    (told,) = ports.entries[0].event.details["restored"]
    assert {name: told[name] for name in ("rule", "token", "kind", "found_by", "path", "count")} == {
        "rule": "policy v1#2",
        "token": "EMAIL#1",
        "kind": "personal_data",
        "found_by": "email",
        "path": "/arguments/note",
        "count": 1,
    }
    assert len(told["fingerprint"]) == 32
    assert nothing_kept(ports, ADDRESS)
    assert token.encode() in next(entry.payload.sealed for entry in ports.entries if entry.payload)


async def test_numbers_come_back_as_numbers_and_text_stays_json() -> None:
    shared = FakeMasks()
    ports = ports_of(MASKS, shared=shared)
    ports.upstream = lambda _: says('{"card": 4111111111111111}', structuredContent={"card": 4111111111111111})
    told = (await run(asked(), ports)).result
    assert told is not None
    token = told["structuredContent"]["card"]
    assert orjson.loads(told["content"][0]["text"]) == {"card": token}
    ports = ports_of(restores(), shared=shared)
    assert await sent(ports, {"card": token, "text": f'{{"card":"{token}"}}'}) == {
        "card": 4111111111111111,
        "text": '{"card":4111111111111111}',
    }


def view(agent: str, owner: str, session: str) -> tuple[Snapshot, dict[str, Any]]:
    person = make.person(owner)
    whose = make.agent(agent, owner=person, roles=(make.role("bundle-support"),))
    rules = (MASKS, restores())
    snapshot = make.snapshot(
        agents=(whose,), bundles=(make.bundle(rules=rules),), credentials=(make.credential(whose),), epoch=1
    )
    return snapshot, {"session_id": session}


MINE = ("triage-bot", "ana", RUN)


@pytest.mark.parametrize(
    ("whose", "is_mine"),
    [
        (MINE, True),
        (("other-bot", "ana", RUN), False),
        (("triage-bot", "lee", RUN), False),
        (("triage-bot", "ana", "run-2"), False),
        (("triage-bot", "ana", ""), False),
    ],
    ids=["mine", "another agent", "another person", "another session", "no session"],
)
async def test_of_another_run_it_is_just_text(whose: tuple[str, str, str], is_mine: bool) -> None:
    shared = FakeMasks()
    ports = FakePorts(view(*MINE)[0])
    ports.masks = shared
    token = await masked(ports, ADDRESS)
    snapshot, fields = view(*whose)
    ports.views = [snapshot]
    if not is_mine:
        assert await masked(ports, ADDRESS, **fields) != token
    await masked(ports, "bo@corp.example", **fields)
    assert await sent(ports, token, **fields) == (ADDRESS if is_mine else token)
    assert ("restored" in ports.entries[-2].event.details) is is_mine


@pytest.mark.parametrize(
    "forged",
    [
        "[EMAIL#1]",
        "[EMAIL#1~aaaaaaaa]",
        "[EMAIL#2~{proof}]",
        "[PHONE#1~{proof}]",
        "[EMAIL#1~{proof} …mple]",
        "[email#1~{proof}]",
        "EMAIL#1~{proof}",
    ],
    ids=str,
)
async def test_a_forged_token_is_just_text(forged: str) -> None:
    shared = FakeMasks()
    token = await masked(ports_of(MASKS, shared=shared), ADDRESS)
    forged = forged.format(proof=token[9:17])
    assert await sent(ports_of(restores(), shared=shared), forged) == forged


async def test_what_an_upstream_writes_like_a_token_stays_hidden() -> None:
    """It cannot smuggle a value past a mask by dressing it up."""
    ports = ports_of(MASKS)
    said = await masked(ports, f"[{TOKEN}#1~aaaaaaaa]")
    assert TOKEN not in said


# -- rules have the last word

DENIES = rule("deny", "personal_data", position=3, reason="No mail addresses here.")
MATRIX = {
    "nothing": ((), "token"),
    "restore": ((restores(),), "value"),
    "another kind": ((restores("secret"),), "token"),
    "another tool": ((restores(tools=("other_*",)),), "token"),
    "condition met": ((restores(when="args.note != ''"),), "value"),
    "condition not met": ((restores(when="args.note == 'x'"),), "token"),
    "condition undecided": ((restores(when="args.nothing == 1"),), "token"),
    "denied for it": ((restores(), DENIES), "denied_by_rule"),
    "denied, but not put back": ((DENIES,), "token"),
    "denied anyhow": ((restores(), make.rule("deny", "args.note != ''", position=3)), "denied_by_rule"),
    "denied by a condition on findings": (
        (restores(), make.rule("deny", "findings.exists(f, f.rule == 'email')", position=3)),
        "denied_by_rule",
    ),
    "masked in arguments": ((restores(), rule("mask", "personal_data", position=3)), "token"),
    "flagged": ((restores(), rule("flag", "personal_data", position=3)), "value"),
}


@pytest.mark.parametrize("case", MATRIX)
async def test_who_decides(case: str) -> None:
    rules, expected = MATRIX[case]
    shared = FakeMasks()
    token = await masked(ports_of(MASKS, shared=shared), ADDRESS)
    ports = ports_of(*rules, shared=shared)
    told = await run(asked(arguments={"note": token}), ports)
    if expected in ("token", "value"):
        assert orjson.loads(ports.sent[0]) == {"note": token if expected == "token" else ADDRESS}
    else:
        assert (code_of(told), ports.sent) == (expected, [])
    assert nothing_kept(ports, ADDRESS)


# -- what may never go


async def test_a_value_of_the_vault_does_not_go_by_a_detour() -> None:
    shared = FakeMasks()
    token = await masked(ports_of(MASKS, shared=shared), ADDRESS)
    ports = ports_of(restores(), shared=shared)
    ports.secrets = {"helpdesk": (ADDRESS.encode(),)}
    told = await run(asked(arguments={"note": token}), ports)
    assert (code_of(told), ports.sent) == ("credential_in_arguments", [])


async def test_nor_does_the_agents_own_key() -> None:
    shared = FakeMasks()
    mine = Reader("agent-triage-bot", "person-ana@example.com", session_in(asked(), "triage-bot", "ana@example.com", 0))
    key = Value("SECRET:key", "key", (("secret",),), make.KEY)
    kept = await shared.keep(mine, [Wanted(key, 0)], retention="standard")
    ports = ports_of(restores("secret"), shared=shared)
    told = await run(asked(arguments={"note": kept[key]}), ports)
    assert (code_of(told), ports.sent) == ("credential_in_arguments", [])


ECHOES = {"text": ADDRESS, "json": f'{{"a":"{ADDRESS}"}}', "base64": "YW5hLmxpbWFAY29ycC5leGFtcGxl"}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
async def test_an_upstream_that_repeats_it_repeats_it_in_vain(echo: str) -> None:
    shared = FakeMasks()
    token = await masked(ports_of(MASKS, shared=shared), ADDRESS)
    ports = ports_of(restores(), shared=shared)
    ports.upstream = lambda _: says(f"stored {echo}", structuredContent={"to": ADDRESS})
    told = await run(asked(arguments={"note": token}), ports)
    assert told.result is not None
    assert echo not in text_of(told)
    assert told.result["structuredContent"] == {"to": token}
    assert nothing_kept(ports, ADDRESS)


async def test_tokens_in_arguments_are_no_findings_themselves() -> None:
    shared = FakeMasks()
    token = await masked(ports_of(MASKS, shared=shared), f"api_key={TOKEN}")
    (token,) = TOKENS.findall(token)
    ports = ports_of(rule("deny", "secret"), shared=shared)
    told: Answer = await run(asked(arguments={"api_key": token}), ports)
    assert text_of(told) == "done"


async def test_a_value_cannot_break_out_of_the_json_it_is_put_into() -> None:
    shared = FakeMasks()
    hostile = '"quoted"@corp.example'
    ports = ports_of(MASKS, shared=shared)
    text = await masked(ports, f"write to ana+x@corp.example or {hostile}")
    for token in TOKENS.findall(text):
        put = await sent(ports_of(restores(), shared=shared), f'{{"to":"{token}"}}')
        assert set(orjson.loads(put)) == {"to"}


async def test_nothing_shows_a_value(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Intent] = []
    shared = FakeMasks()
    token = await masked(ports_of(MASKS, shared=shared), ADDRESS)
    ports = ports_of(restores(), shared=shared)
    ports.upstream = lambda intent: seen.append(intent) or says("done")
    await run(asked(arguments={"note": token}), ports)
    assert seen[0].screened.restored is not None
    shown = (
        repr(seen[0]) + repr(seen[0].screened.restored) + repr(seen[0].call.tokens) + repr(list(shared.kept.values()))
    )
    assert ADDRESS not in shown + caplog.text
