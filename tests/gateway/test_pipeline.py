"""The stages of a call with everything outside faked: order of records, refusals, faults."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connectors.base import RawResult, UpstreamFailure
from connectors.egress import NOT_SENT_IN_TIME
from gateway.call import Answer, Frame, Intent
from gateway.catalogs import Catalogs
from gateway.commit.entry import Verdict
from gateway.mcp.listing import list_items
from gateway.pipeline import DECISIONS, run
from governance.snapshot import Rule, Snapshot
from tests import factories as make
from tests.fakes import OK, FakePorts, answer

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def world(*rules: Rule, epoch: int = 1, **fields: object) -> Snapshot:
    """One live agent with a key that holds helpdesk/ticket_get through the bundle support."""
    agent = make.agent(roles=(make.role("bundle-support"),))
    return make.snapshot(
        agents=(agent,),
        bundles=(make.bundle(rules=rules),),
        credentials=(make.credential(agent, **fields),),  # type: ignore[arg-type]
        epoch=epoch,
    )


def revoked(epoch: int = 2) -> Snapshot:
    return make.snapshot(agents=(make.agent(roles=(make.role("bundle-support"),)),), epoch=epoch)


def frame(name: str = "ticket_get", arguments: object = None, **fields: object) -> Frame:
    defaults = {"token": make.KEY, "bundle": "support", "revision": "2025-11-25"} | fields
    return Frame(name=name, arguments={"id": 7} if arguments is None else arguments, **defaults)  # type: ignore[arg-type]


def text_of(told: Answer) -> str:
    assert told.result is not None
    return str(told.result["content"][0]["text"])


def code_of(told: Answer) -> str:
    assert told.result is not None
    return str(told.result["_meta"]["com.gatehouse/decision"]["code"])


async def test_intent_before_the_upstream_and_outcome_before_the_answer() -> None:
    ports = FakePorts(world())
    told = await run(frame(), ports)
    assert text_of(told) == "done"
    assert ports.log == ["call.intent", "sent", "call.outcome"]
    intent, outcome = (entry.event for entry in ports.entries)
    assert intent.call_id == outcome.call_id
    assert outcome.outcome == "ok"


async def test_what_was_decided_on_is_what_is_sent_and_recorded() -> None:
    ports = FakePorts(world())
    await run(frame(arguments={"b": "\u00e9", "a": 1}), ports)
    assert ports.sent == ['{"a":1,"b":"é"}'.encode()]
    assert ports.entries[0].payload is not None
    assert ports.entries[0].payload.sealed == ports.sent[0]


@pytest.mark.parametrize("token", ["", "gate_ak_unknown"])
async def test_a_stranger_is_refused_and_only_counted(token: str) -> None:
    ports = FakePorts(world())
    told = await run(frame(token=token), ports)
    assert (told.status, ports.log, len(ports.strangers)) == (401, [], 1)


async def test_a_key_issued_a_moment_ago_works() -> None:
    ports = FakePorts(make.snapshot())
    ports.views.append(world(epoch=2))
    assert text_of(await run(frame(), ports)) == "done"


@pytest.mark.parametrize(
    "fields", [{"expires_at": NOON}, {"not_before": NOON + timedelta(seconds=1)}], ids=["expired", "not yet valid"]
)
async def test_a_key_out_of_its_time_is_refused_and_recorded(fields: dict[str, datetime]) -> None:
    ports = FakePorts(world(**fields), at=NOON)
    assert (await run(frame(), ports)).status == 401
    assert ports.log == ["call.refused"]


async def test_unknown_and_invisible_look_alike() -> None:
    hidden = make.tool("ticket_delete")
    agent = make.agent(roles=(make.role("bundle-support"),))
    bundles = (make.bundle(), make.bundle("other", (hidden,)))
    view = make.snapshot(agents=(agent,), bundles=bundles, credentials=(make.credential(agent),))
    answers = [await run(frame(name), FakePorts(view)) for name in ("ticket_delete", "no_such_tool", "")]
    answers.append(await run(frame("ticket_delete", bundle="other"), FakePorts(view)))
    answers.append(await run(frame(bundle="no-such-bundle"), FakePorts(view)))
    answers.append(await run(frame(), FakePorts(world(make.rule("deny")))))
    assert all(told == answers[0] for told in answers)
    assert answers[0].error == {"code": -32602, "message": "Unknown tool"}


@pytest.mark.parametrize("arguments", [[], {"text": "x" * 1_100_000}], ids=["no object", "too large"])
async def test_nor_do_arguments_of_a_wrong_form_tell_them_apart(arguments: object) -> None:
    seen, hidden = world(), world(make.rule("deny"))
    called = (("ticket_get", seen), ("ticket_get", hidden), ("no_such_tool", seen))
    told = [await run(frame(name, arguments=arguments), FakePorts(view)) for name, view in called]
    assert told[0] == told[1] == told[2]


async def test_at_the_union_endpoint_names_carry_their_connector() -> None:
    assert text_of(await run(frame("helpdesk__ticket_get", bundle=None), FakePorts(world()))) == "done"
    assert (await run(frame("ticket_get", bundle=None), FakePorts(world()))).error is not None


async def test_a_denial_explains_itself_and_is_recorded() -> None:
    ports = FakePorts(world(make.rule("deny", "args.id > 5", reason="Only early tickets")))
    told = await run(frame(), ports)
    assert "Only early tickets" in text_of(told)
    assert code_of(told) == "denied_by_rule"
    assert ports.log == ["call.refused"]
    assert ports.entries[0].event.details["rules"][0]["policy"] == "policy"


async def test_the_callers_own_key_never_goes_upstream() -> None:
    ports = FakePorts(world())
    told = await run(frame(arguments={"note": f"my key is {make.KEY}"}), ports)
    assert code_of(told) == "credential_in_arguments"
    assert ports.sent == []
    assert make.KEY not in repr(ports.entries)


async def test_a_vault_value_never_goes_upstream() -> None:
    ports = FakePorts(world())
    ports.secrets = {"helpdesk-token": (b"s3cr3t-value-of-vault",)}
    told = await run(frame(arguments={"note": "s3cr3t-value-of-vault"}), ports)
    assert (code_of(told), ports.sent) == ("credential_in_arguments", [])


@pytest.mark.parametrize("gap", [" ", "\n", ", ", '","', "\u200b", "•"], ids=repr)
async def test_nor_does_it_with_its_letters_apart(gap: str) -> None:
    ports = FakePorts(world())
    ports.secrets = {"helpdesk-token": (b"s3cr3t-value-of-vault",)}
    for note in (gap.join("s3cr3t-value-of-vault"), list("s3cr3t-value-of-vault")):
        told = await run(frame(arguments={"note": note}), ports)
        assert (code_of(told), ports.sent) == ("credential_in_arguments", [])


async def test_fields_that_a_rule_masks_reach_neither_agent_nor_record() -> None:
    ports = FakePorts(world(make.rule("mask", fields=("*.iban",))))
    ports.upstream = lambda _: answer(
        {"structuredContent": {"iban": "DE89"}, "content": [{"type": "text", "text": "DE89"}]}
    )
    told = await run(frame(), ports)
    assert told.result is not None
    assert told.result["structuredContent"] == {"iban": "[MASKED]"}
    outcome = ports.entries[-1]
    assert "DE89" not in repr(told.result) + repr(outcome.payload)
    masked = {"rule": "policy v1#1", "path": "iban", "count": 1}
    assert masked in outcome.event.details["masked_fields"]


async def test_a_vault_value_in_a_result_is_masked_before_record_and_answer() -> None:
    ports = FakePorts(world())
    ports.secrets = {"helpdesk-token": (b"s3cr3t-value-of-vault",)}
    ports.upstream = lambda _: answer({"content": [{"type": "text", "text": "you sent s3cr3t-value-of-vault"}]})
    told = await run(frame(), ports)
    assert text_of(told) == "you sent [SECRET:helpdesk-token]"
    outcome = ports.entries[1]
    assert outcome.event.details["masked"] == ["helpdesk-token"]
    assert outcome.payload is not None
    assert b"s3cr3t" not in outcome.payload.sealed


async def test_an_upstream_error_is_passed_on_and_recorded_as_error() -> None:
    ports = FakePorts(world())
    ports.upstream = lambda _: answer(None, {"code": -32000, "message": "no"})
    told = await run(frame(), ports)
    assert told.error == {"code": -32000, "message": "no"}
    assert ports.entries[1].event.outcome == "error"


@pytest.mark.parametrize(("reached", "advice"), [(True, "do not repeat"), (False, "Nothing was done")])
async def test_a_broken_upstream_is_no_refusal(reached: bool, advice: str) -> None:
    def broken(_: Intent) -> RawResult:
        raise UpstreamFailure("timeout", "It did not answer in time.", reached=reached)

    ports = FakePorts(world())
    ports.upstream = broken
    told = await run(frame(), ports)
    assert advice in text_of(told)
    assert (ports.entries[1].event.outcome, ports.entries[1].event.details["reached"]) == ("failed", reached)


async def test_stale_intents_are_decided_again_on_a_newer_view() -> None:
    ports = FakePorts(world())
    ports.views.append(world(epoch=2))
    ports.verdicts = [Verdict.STALE]
    await run(frame(), ports)
    assert ports.log == ["STALE", "call.intent", "sent", "call.outcome"]
    assert ports.entries[0].event.decided_epoch == 2


async def test_a_revocation_between_decision_and_commit_refuses() -> None:
    ports = FakePorts(world())
    ports.views.append(revoked())
    ports.verdicts = [Verdict.STALE]
    assert (await run(frame(), ports)).status == 401
    assert ports.sent == []


async def test_deciding_again_is_bounded() -> None:
    ports = FakePorts(world())
    ports.verdicts = [Verdict.STALE] * DECISIONS
    told = await run(frame(), ports)
    assert (told.status, told.retry_after_seconds, ports.sent) == (503, 1, [])


async def test_a_result_is_withheld_from_who_lost_the_right_meanwhile() -> None:
    ports = FakePorts(world())
    ports.views.append(revoked())
    ports.verdicts = [Verdict.COMMITTED, Verdict.STALE]
    told = await run(frame(), ports)
    assert (told.status, told.result) == (401, None)
    assert ports.entries[-1].event.outcome == "withheld"
    assert ports.entries[-1].payload is None


async def test_a_result_is_told_when_the_change_did_not_matter() -> None:
    ports = FakePorts(world())
    ports.views.append(world(epoch=2))
    ports.verdicts = [Verdict.COMMITTED, Verdict.STALE]
    assert text_of(await run(frame(), ports)) == "done"
    assert ports.entries[-1].event.outcome == "ok"


async def test_no_record_no_call() -> None:
    ports = FakePorts(world())
    ports.broken_commits = {"call.intent"}
    told = await run(frame(), ports)
    assert (told.status, ports.sent) == (503, [])


async def test_an_outcome_that_cannot_be_recorded_is_told_as_unknown_and_not_to_repeat() -> None:
    ports = FakePorts(world())
    ports.broken_commits = {"call.outcome"}
    told = await run(frame(), ports)
    assert told.status == 200
    assert "Do not repeat" in text_of(told)
    assert code_of(told) == "outcome_unknown"


async def test_an_outcome_that_recovery_wrote_first_is_told_as_unknown() -> None:
    ports = FakePorts(world())
    ports.verdicts = [Verdict.COMMITTED, Verdict.DUPLICATE]
    assert code_of(await run(frame(), ports)) == "outcome_unknown"


async def test_a_refusal_that_cannot_be_recorded_is_unavailable() -> None:
    ports = FakePorts(world(make.rule("deny", "true")))
    ports.broken_commits = {"call.refused"}
    assert (await run(frame(), ports)).status == 503


async def test_a_process_held_up_after_commit_closes_its_intent_and_decides_again() -> None:
    ports = FakePorts(world())
    ports.held_up_ns = 2_000_000_000
    told = await run(frame(), ports)
    assert text_of(told) == "done"
    assert ports.log == ["call.intent", "call.outcome", "call.intent", "sent", "call.outcome"]
    assert ports.entries[1].event.outcome == "not_sent"


@pytest.mark.parametrize("arguments", [[1], "text", 5, True])
async def test_arguments_must_be_an_object(arguments: object) -> None:
    told = await run(frame(arguments=arguments), FakePorts(world()))
    assert told.error is not None
    assert "must be an object" in told.error["message"]


async def test_oversized_arguments_name_the_limit() -> None:
    told = await run(frame(arguments={"text": "x" * 1_100_000}), FakePorts(world()))
    assert told.error is not None
    assert "the limit is 1048576" in told.error["message"]


@pytest.mark.parametrize("field", ["is_enabled", "secret_missing"])
async def test_a_system_that_cannot_be_used_is_refused_before_the_record(field: str) -> None:
    upstream = make.connector(**{field: field == "secret_missing"})
    agent = make.agent(roles=(make.role("bundle-support"),))
    bundle = make.bundle(tools=(make.tool(of=upstream),))
    ports = FakePorts(make.snapshot(agents=(agent,), bundles=(bundle,), credentials=(make.credential(agent),)))
    assert code_of(await run(frame(), ports)) in ("connector_disabled", "secret_missing")
    assert ports.log == ["call.refused"]


async def test_an_unforeseen_failure_after_the_intent_is_told_as_unknown_and_closed_later() -> None:
    def stumble(_: object) -> None:
        raise RuntimeError("unforeseen")

    ports = FakePorts(world())
    ports.vault_index = stumble_after(ports, stumble)  # type: ignore[method-assign]
    told = await run(frame(), ports)
    assert code_of(told) == "outcome_unknown"
    assert ports.log == ["call.intent", "sent", "lost"]


def stumble_after(ports: FakePorts, stumble: object) -> object:
    """The vault's index breaks once the call is out."""
    whole = ports.vault_index
    return lambda view: stumble(view) if "sent" in ports.log else whole(view)  # type: ignore[operator]


async def test_an_unforeseen_failure_of_a_connector_is_a_failure_that_may_have_had_an_effect() -> None:
    def stumble(_: Intent) -> RawResult:
        raise RuntimeError("unforeseen")

    ports = FakePorts(world())
    ports.upstream = stumble
    told = await run(frame(), ports)
    assert "do not repeat" in text_of(told)
    assert ports.entries[1].event.details["code"] == "unforeseen"


async def test_a_call_that_queued_too_long_for_a_connection_is_decided_again() -> None:
    tries = iter([UpstreamFailure(NOT_SENT_IN_TIME, "late", reached=False)])

    def crowded(_: Intent) -> RawResult:
        for failure in tries:
            raise failure
        return answer(OK)

    ports = FakePorts(world())
    ports.upstream = crowded
    assert text_of(await run(frame(), ports)) == "done"
    assert [entry.event.outcome for entry in ports.entries] == ["", "not_sent", "", "ok"]


async def test_a_system_that_stays_crowded_is_given_up() -> None:
    def crowded(_: Intent) -> RawResult:
        raise UpstreamFailure(NOT_SENT_IN_TIME, "late", reached=False)

    ports = FakePorts(world())
    ports.upstream = crowded
    told = await run(frame(), ports)
    assert (told.status, told.retry_after_seconds) == (503, 1)
    assert {entry.event.outcome for entry in ports.entries} == {"", "not_sent", "refused"}


@pytest.mark.parametrize("trace", [{"baggage": f"k={make.KEY}"}, {"tracestate": "s3cr3t-value-of-vault"}])
async def test_no_credential_travels_in_trace_context(trace: dict[str, str]) -> None:
    ports = FakePorts(world())
    ports.secrets = {"helpdesk-token": (b"s3cr3t-value-of-vault",)}
    told = await run(frame(trace=trace), ports)
    assert (code_of(told), ports.sent) == ("credential_in_arguments", [])
    assert make.KEY.encode() not in ports.entries[0].event.header()


async def test_an_agents_key_is_not_kept_in_evidence_wherever_it_put_it() -> None:
    ports = FakePorts(world())
    await run(frame(make.KEY, session_id=make.KEY, client=make.KEY), ports)
    assert make.KEY.encode() not in ports.entries[0].event.header()


async def test_a_secret_in_a_definition_is_masked_in_the_list() -> None:
    tool = make.tool()
    definition = {**tool.definition, "description": "send s3cr3t-value-of-vault"}
    leaking = replace(tool, definition=definition)
    agent = make.agent(roles=(make.role("bundle-support"),))
    bundles = (make.bundle(tools=(leaking,)),)
    ports = FakePorts(make.snapshot(agents=(agent,), bundles=bundles, credentials=(make.credential(agent),)))
    ports.secrets = {"helpdesk-token": (b"s3cr3t-value-of-vault",)}
    listed = await list_items(frame(method="tools/list"), ports, Catalogs(ports.catalog))
    assert listed["tools"][0]["description"] == "send [SECRET:helpdesk-token]"
