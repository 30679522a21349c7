"""What an upstream may say and ask while a call runs, in both eras."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.base import RawResult, UpstreamAuth, UpstreamFailure
from connectors.egress import Egress
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import LOOPBACK, MakeSpec, tool_call
from tests.connectors.relays import FORM, URL, RecordingRelay, refuse
from tests.connectors.servers import ScriptedServer, Turn, eventually, scripted_server

DONE = {"content": [], "isError": False}
RELAYS = frozenset(("elicitation", "sampling", "roots"))
ASK_FORM = {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {"type": "object"}}}
ASK_URL = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://up.example/x", "message": "Open"}}
Ask = Callable[..., Awaitable[RawResult]]


@pytest.fixture
def ask(connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth) -> Ask:
    async def perform(relay: RecordingRelay, *, params: dict[str, bytes] | None = None, **changes: Any) -> RawResult:
        question = tool_call()
        question = tool_call() if params is None else type(question)("tools/call", "act", {**question.params, **params})
        return await connector.request(spec_of(upstream.url, relays=RELAYS, **changes), auth, question, relay)

    return perform


def answers(upstream: ScriptedServer) -> list[dict[str, Any]]:
    """What we answered to the upstream's own requests."""
    return [seen.message for seen in upstream.requests if seen.body and "method" not in seen.message]


def streaming(*messages: dict[str, Any], answers_expected: int = 0) -> Callable[[ScriptedServer], Any]:
    """A tools/call that says the messages and ends well once it got that many answers."""

    def script_for(upstream: ScriptedServer) -> Any:
        async def script(turn: Turn) -> None:
            await turn.stream_head()
            for message in messages:
                await turn.event({"jsonrpc": "2.0", **message})
            await eventually(lambda: len(answers(upstream)) >= answers_expected)
            await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
            await turn.stream_end()

        return script

    return script_for


# -- legacy: questions on the stream of the call


@pytest.mark.parametrize(
    ("powers", "question"),
    [
        (FORM, ASK_FORM),
        ({"elicitation": {}}, ASK_FORM),
        (URL, ASK_URL),
        ({"sampling": {}}, {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}}),
        ({"roots": {}}, {"method": "roots/list"}),
    ],
)
async def test_a_legacy_question_reaches_the_caller_and_its_answer_the_upstream(
    ask: Ask, upstream: ScriptedServer, powers: dict[str, Any], question: dict[str, Any]
) -> None:
    upstream.be_legacy(session_id="s-1")
    upstream.scripts["tools/call"] = streaming({"id": "q-1", **question}, answers_expected=1)(upstream)
    relay = RecordingRelay(powers)
    assert (await ask(relay)).result == DONE
    assert relay.asked == [{"q-1": {"params": {}, **question}}]
    assert answers(upstream) == [
        {"jsonrpc": "2.0", "id": "q-1", "result": {"action": "accept", "content": {"key": "q-1"}}}
    ]
    reply = next(seen for seen in upstream.requests if seen.body and "method" not in seen.message)
    assert reply.headers["mcp-session-id"] == "s-1"


@pytest.mark.parametrize(
    ("powers", "question"),
    [
        ({}, ASK_FORM),
        (FORM, ASK_URL),
        ({"elicitation": {}}, ASK_URL),
        ({"elicitation": {"url": {}}}, ASK_FORM),
        (FORM, {"method": "roots/list"}),
        (FORM, {"method": "tools/call", "params": {}}),
        (FORM, {"method": "elicitation/create", "params": []}),
        (FORM, {"method": "elicitation/create", "params": {"mode": []}}),
        (FORM, {"method": "elicitation/create", "params": {"mode": "other"}}),
        (URL, {"method": "elicitation/create", "params": {"mode": "url", "url": "file:///etc/passwd"}}),
        (URL, {"method": "elicitation/create", "params": {"mode": "url", "url": "javascript:alert(1)"}}),
        (URL, {"method": "elicitation/create", "params": {"mode": "url", "url": "http://[half"}}),
        (URL, {"method": "elicitation/create", "params": {"mode": "url"}}),
    ],
)
async def test_what_the_caller_gave_no_power_for_is_not_asked(
    ask: Ask, upstream: ScriptedServer, powers: dict[str, Any], question: dict[str, Any]
) -> None:
    upstream.be_legacy()
    is_message = isinstance(question.get("params", {}), dict)
    upstream.scripts["tools/call"] = streaming({"id": 1, **question}, answers_expected=int(is_message))(upstream)
    relay = RecordingRelay(powers)
    assert (await ask(relay)).result == DONE
    assert relay.asked == []
    assert [answer["error"]["code"] for answer in answers(upstream)] == [-32601] * int(is_message)


async def test_a_caller_who_does_not_answer_is_an_error_to_the_upstream(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.be_legacy()
    upstream.scripts["tools/call"] = streaming({"id": 1, **ASK_FORM}, answers_expected=1)(upstream)
    assert (await ask(RecordingRelay(FORM, answer=refuse))).result == DONE
    assert answers(upstream) == [{"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "Nobody is there."}}]


@pytest.mark.parametrize(
    ("powers", "declared"),
    [
        ({}, {}),
        ({"elicitation": {}, "roots": {}}, {"elicitation": {"form": {}}, "roots": {}}),
        (
            {"elicitation": {"url": {}}, "sampling": {"tools": {}}},
            {"elicitation": {"url": {}}, "sampling": {"tools": {}}},
        ),
        ({"sampling": {"made": {"up": 1}}, "roots": [], "other": {}}, {"sampling": {}}),
    ],
)
async def test_a_legacy_session_declares_what_its_callers_can_be_asked(
    ask: Ask, upstream: ScriptedServer, powers: dict[str, Any], declared: dict[str, Any]
) -> None:
    upstream.be_legacy()
    upstream.scripts["tools/call"] = streaming()(upstream)
    await ask(RecordingRelay(powers))
    assert upstream.sent("initialize")[0].message["params"]["capabilities"] == declared


async def test_callers_who_can_be_asked_the_same_share_a_legacy_session(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.be_legacy()
    upstream.scripts["tools/call"] = streaming()(upstream)
    callers: list[dict[str, Any]] = [{}, FORM, {}, {"elicitation": {}}, FORM]
    for powers in callers:
        await ask(RecordingRelay(powers))
    assert len(upstream.sent("initialize")) == 2


async def test_a_modern_upstream_is_asked_once_how_to_speak_to_it(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.scripts["tools/call"] = streaming()(upstream)
    callers: list[dict[str, Any]] = [{}, FORM, URL]
    for powers in callers:
        await ask(RecordingRelay(powers))
    assert len(upstream.sent("server/discover")) == 1


async def test_time_stands_still_while_the_caller_is_asked(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.be_legacy()
    upstream.scripts["tools/call"] = streaming({"id": 1, **ASK_FORM}, answers_expected=1)(upstream)

    class Slow(RecordingRelay):
        async def ask(self, requests: Any) -> Any:
            await asyncio.sleep(1.5)
            return await super().ask(requests)

    raw = await ask(Slow(FORM), timeout_seconds=1)
    assert raw.result == DONE
    assert raw.upstream_ms < 1_400, "the caller's time counts as the upstream's"


async def test_a_question_withdrawn_or_outlived_is_not_asked_any_longer(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.be_legacy()
    ended: list[str] = []

    class Patient(RecordingRelay):
        async def ask(self, requests: Any) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                ended.extend(requests)

    withdrawal = {"method": "notifications/cancelled", "params": {"requestId": 1}}

    async def script(turn: Turn) -> None:
        await turn.stream_head()
        await turn.event({"jsonrpc": "2.0", "id": 1, **ASK_FORM})
        await turn.event({"jsonrpc": "2.0", "id": 2, **ASK_FORM})
        await asyncio.sleep(0.05)
        await turn.event({"jsonrpc": "2.0", **withdrawal})
        await eventually(lambda: ended == ["1"])
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
        await turn.stream_end()

    upstream.scripts["tools/call"] = script
    assert (await ask(Patient(FORM))).result == DONE
    await eventually(lambda: ended == ["1", "2"])
    assert answers(upstream) == []


async def test_a_modern_upstream_cannot_ask_on_its_stream(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.scripts["tools/call"] = streaming({"id": 1, **ASK_FORM})(upstream)
    relay = RecordingRelay(FORM)
    assert (await ask(relay)).result == DONE
    assert relay.asked == []
    assert answers(upstream) == []


# -- progress and logs


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_progress_is_told_as_far_as_it_really_is_progress(ask: Ask, upstream: ScriptedServer, era: str) -> None:
    if era == "legacy":
        upstream.be_legacy()
    steps: list[Any] = [1, 2, 2, 1.5, True, "9", None, 3.25]

    async def script(turn: Turn) -> None:
        token = turn.seen.message["params"]["_meta"]["progressToken"]
        await turn.stream_head()
        for progress in steps:
            params = {"progressToken": token, "progress": progress, "total": 5}
            await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        stray = {"progressToken": "other", "progress": 99}
        await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": stray})
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
        await turn.stream_end()

    upstream.scripts["tools/call"] = script
    relay = RecordingRelay(wants_progress=True)
    assert (await ask(relay)).result == DONE
    assert [params["progress"] for _, params in relay.told] == [1, 2, 3.25]
    assert relay.told[0][1]["total"] == 5


async def test_nobody_who_wants_no_progress_asks_for_it(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.scripts["tools/call"] = streaming(
        {"method": "notifications/progress", "params": {"progressToken": 3, "progress": 1}}
    )(upstream)
    relay = RecordingRelay()
    await ask(relay)
    assert relay.told == []
    assert "progressToken" not in upstream.sent("tools/call")[0].message["params"]["_meta"]


async def dripping(turn: Turn, *, steps: int, seconds: float, progress: Callable[[int], float]) -> None:
    token = turn.seen.message["params"]["_meta"]["progressToken"]
    await turn.stream_head()
    for step in range(steps):
        await asyncio.sleep(seconds)
        params = {"progressToken": token, "progress": progress(step)}
        await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": DONE})
    await turn.stream_end()


async def test_real_progress_gives_more_time(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.scripts["tools/call"] = lambda turn: dripping(turn, steps=5, seconds=0.25, progress=float)
    assert (await ask(RecordingRelay(wants_progress=True), timeout_seconds=1)).result == DONE


@pytest.mark.parametrize(("steps", "progress"), [(20, lambda step: 1.0), (200, float)])
async def test_neither_pretended_nor_endless_progress_does(
    ask: Ask, upstream: ScriptedServer, steps: int, progress: Callable[[int], float]
) -> None:
    upstream.scripts["tools/call"] = lambda turn: dripping(turn, steps=steps, seconds=0.02, progress=progress)
    with pytest.raises(UpstreamFailure) as caught:
        await ask(RecordingRelay(wants_progress=True), timeout_seconds=0.1)
    assert caught.value.code == "timeout"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_log_messages_are_told_from_the_wanted_level_on(ask: Ask, upstream: ScriptedServer, era: str) -> None:
    if era == "legacy":
        upstream.be_legacy(capabilities={"tools": {}, "logging": {}})
    levels = ["debug", "warning", "nonsense", "error", 5]
    upstream.scripts["tools/call"] = streaming(
        *({"method": "notifications/message", "params": {"level": level, "data": "x"}} for level in levels)
    )(upstream)

    async def set_level(turn: Turn) -> None:
        await turn.result({})

    upstream.scripts["logging/setLevel"] = set_level
    for level in ("warning", "error", "info", ""):
        relay = RecordingRelay(log_level=level)
        await ask(relay)
        expected = {"warning": ["warning", "error"], "error": ["error"], "info": ["warning", "error"], "": []}
        assert [params["level"] for _, params in relay.told] == expected[level]
    if era == "legacy":
        assert [seen.message["params"]["level"] for seen in upstream.sent("logging/setLevel")] == ["warning", "info"]
    else:
        metas = [seen.message["params"]["_meta"] for seen in upstream.sent("tools/call")]
        assert [meta.get("io.modelcontextprotocol/logLevel") for meta in metas] == ["warning", "error", "info", None]


async def test_an_upstream_without_logging_is_not_asked_for_logs(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.be_legacy()
    upstream.scripts["tools/call"] = streaming()(upstream)
    await ask(RecordingRelay(log_level="debug"))
    assert "logging/setLevel" not in upstream.methods()


# -- modern: input_required


def wanting(*rounds: dict[str, Any]) -> Any:
    """A tools/call that answers with one of the results after the other, then is done."""
    left = list(rounds)

    async def script(turn: Turn) -> None:
        await turn.result(left.pop(0) if left else {**DONE, "resultType": "complete"})

    return script


def want(state: str | None = "s", **requests: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"resultType": "input_required"}
    if requests:
        result["inputRequests"] = requests
    if state is not None:
        result["requestState"] = state
    return result


async def test_questions_are_asked_and_the_request_is_sent_again_with_the_answers(
    ask: Ask, upstream: ScriptedServer
) -> None:
    upstream.scripts["tools/call"] = wanting(want("s1", a=ASK_FORM, b=ASK_FORM), want(None, c=ASK_FORM))
    relay = RecordingRelay(FORM)
    raw = await ask(relay)
    assert raw.result == {**DONE, "resultType": "complete"}
    assert [sorted(asked) for asked in relay.asked] == [["a", "b"], ["c"]]
    first, second, third = (seen.message for seen in upstream.sent("tools/call"))
    assert first["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["elicitation"] == {"form": {}}
    assert second["params"]["requestState"] == "s1"
    assert second["params"]["inputResponses"]["a"] == {"action": "accept", "content": {"key": "a"}}
    assert "requestState" not in third["params"]
    assert third["params"]["arguments"] == {}
    assert len({first["id"], second["id"], third["id"]}) == 3


async def test_a_state_without_questions_is_handed_back_after_a_pause(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.scripts["tools/call"] = wanting(want("s1"), want("s2"))
    relay = RecordingRelay()
    raw = await ask(relay)
    assert raw.error is None
    assert [seen.message["params"].get("requestState") for seen in upstream.sent("tools/call")] == [None, "s1", "s2"]
    assert relay.asked == []


async def test_a_caller_who_can_resume_gets_the_questions_itself(ask: Ask, upstream: ScriptedServer) -> None:
    wanted = want("opaque", a=ASK_FORM)
    upstream.scripts["tools/call"] = wanting(wanted)
    relay = RecordingRelay(FORM, can_resume=True)
    assert (await ask(relay)).result == wanted
    resumed = await ask(relay, params={"inputResponses": b'{"a":{"action":"decline"}}', "requestState": b'"opaque"'})
    assert resumed.result == {**DONE, "resultType": "complete"}
    params = upstream.sent("tools/call")[1].message["params"]
    assert (params["inputResponses"], params["requestState"]) == ({"a": {"action": "decline"}}, "opaque")
    assert relay.asked == []


async def test_answers_are_not_sent_to_a_legacy_upstream_which_knows_none(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.be_legacy()
    upstream.scripts["tools/call"] = streaming()(upstream)
    await ask(RecordingRelay(), params={"inputResponses": b"{}", "requestState": b'"x"'})
    assert set(upstream.sent("tools/call")[0].message["params"]) == {"name", "arguments"}


@pytest.mark.parametrize("can_resume", [True, False])
@pytest.mark.parametrize(
    "result",
    [
        want(None),
        want(a=ASK_URL),
        want(a={"method": "tools/call", "params": {}}),
        want(a={"method": [], "params": {}}),
        want(a={"method": "elicitation/create", "params": {"mode": {}}}),
        want(**{f"q{number}": ASK_FORM for number in range(17)}),
        {"resultType": "input_required", "inputRequests": [ASK_FORM]},
        {"resultType": "input_required", "requestState": 5},
        {"resultType": "surprise", "content": []},
        {"resultType": "task"},
        {"resultType": None, "content": []},
    ],
)
async def test_what_was_not_offered_is_no_answer(
    ask: Ask, upstream: ScriptedServer, result: dict[str, Any], can_resume: bool
) -> None:
    upstream.scripts["tools/call"] = wanting(result)
    relay = RecordingRelay(FORM, can_resume=can_resume)
    with pytest.raises(UpstreamFailure) as caught:
        await ask(relay)
    assert (caught.value.code, caught.value.reached) == ("bad_answer", True)
    assert relay.asked == []


async def test_an_upstream_that_asks_for_ever_is_given_up(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.scripts["tools/call"] = wanting(*(want(a=ASK_FORM) for _ in range(50)))
    relay = RecordingRelay(FORM)
    with pytest.raises(UpstreamFailure) as caught:
        await ask(relay)
    assert caught.value.code == "bad_answer"
    assert len(relay.asked) == 10


async def test_a_question_nobody_answers_ends_the_call_as_one_that_arrived(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.scripts["tools/call"] = wanting(want(a=ASK_FORM))
    with pytest.raises(UpstreamFailure) as caught:
        await ask(RecordingRelay(FORM, answer=refuse))
    assert (caught.value.code, caught.value.reached) == ("not_answered", True)
    assert "Nobody is there." in caught.value.message


# -- legacy: addresses to open


def demanding_url(turns: int, url: str = "https://up.example/connect") -> Any:
    left = [None] * turns

    async def script(turn: Turn) -> None:
        if left:
            left.pop()
            elicitation = {"mode": "url", "elicitationId": "e-1", "url": url, "message": "Connect"}
            await turn.error(-32042, status="200 OK", elicitations=[elicitation])
        else:
            await turn.result(DONE)

    return script


async def test_an_address_to_open_becomes_a_question(ask: Ask, upstream: ScriptedServer) -> None:
    upstream.be_legacy(version="2025-11-25")
    upstream.scripts["tools/call"] = demanding_url(1)
    relay = RecordingRelay(URL)
    assert (await ask(relay)).result == DONE
    assert relay.asked[0]["e-1"]["params"]["url"] == "https://up.example/connect"
    upstream.scripts["tools/call"] = demanding_url(1)
    raw = await ask(RecordingRelay(URL, can_resume=True))
    assert raw.error is None
    assert raw.result is not None
    assert raw.result["resultType"] == "input_required"
    assert raw.result["inputRequests"]["e-1"]["method"] == "elicitation/create"


@pytest.mark.parametrize(
    ("relay", "url"),
    [
        (RecordingRelay(FORM), "https://up.example"),
        (RecordingRelay(URL, answer=refuse), "https://up.example"),
        (RecordingRelay(URL, answer=lambda key, question: {"action": "decline"}), "https://up.example"),
        (RecordingRelay(URL), "file:///etc/passwd"),
    ],
)
async def test_an_address_nobody_opens_stays_the_error_it_was(
    ask: Ask, upstream: ScriptedServer, relay: RecordingRelay, url: str
) -> None:
    upstream.be_legacy(version="2025-11-25")
    upstream.scripts["tools/call"] = demanding_url(1, url)
    raw = await ask(relay)
    assert raw.error is not None
    assert raw.error["code"] == -32042
    assert len(upstream.sent("tools/call")) == 1


# -- anything at all

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from(["", "a", "form", "url", "working", "https://x.y"]),
    lambda children: (
        st.lists(children, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "a",
                    "method",
                    "params",
                    "mode",
                    "url",
                    "task",
                    "taskId",
                    "status",
                    "requestId",
                    "progressToken",
                    "data",
                ]
            ),
            children,
            max_size=3,
        )
    ),
    max_leaves=6,
)
METHODS = st.sampled_from(
    [
        "elicitation/create",
        "sampling/createMessage",
        "roots/list",
        "ping",
        "notifications/progress",
        "notifications/message",
        "notifications/cancelled",
        "notifications/tools/list_changed",
    ]
)
SAID = st.fixed_dictionaries(
    {"method": METHODS | JUNK}, optional={"id": st.integers(0, 3) | JUNK, "params": JUNK, "result": JUNK}
)
RESULTS = st.fixed_dictionaries(
    {},
    optional={
        "resultType": st.sampled_from(["complete", "input_required", "task", "other"]) | JUNK,
        "inputRequests": st.dictionaries(st.sampled_from(["k", "l"]), SAID, max_size=2) | JUNK,
        "requestState": JUNK,
        "taskId": JUNK,
        "status": JUNK,
        "task": JUNK,
        "content": JUNK,
    },
)
ERRORS = st.fixed_dictionaries(
    {"code": st.sampled_from([-32042, -32000, -32020, 7]), "message": st.just("no")}, optional={"data": JUNK}
)


@pytest.mark.parametrize("era", ["modern", "legacy"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(SAID, max_size=4), result=RESULTS, error=st.none() | ERRORS, can_resume=st.booleans())
async def test_whatever_is_said_ends_in_an_answer_or_a_failure(  # noqa: PLR0917
    spec_of: MakeSpec,
    auth: UpstreamAuth,
    era: str,
    said: list[dict[str, Any]],
    result: dict[str, Any],
    error: dict[str, Any] | None,
    can_resume: bool,
) -> None:
    outcome = {"result": result} if error is None else {"error": error}

    async def script(turn: Turn) -> None:
        await turn.stream_head()
        for message in said:
            await turn.event({"jsonrpc": "2.0", **message})
        await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], **outcome})
        await turn.stream_end()

    mcp = McpHttp(Egress(allowed_networks=LOOPBACK))
    relay = RecordingRelay(URL, wants_progress=True, log_level="debug", can_resume=can_resume)
    async with scripted_server() as server:
        (server.be_modern if era == "modern" else server.be_legacy)()
        server.scripts["tools/call"] = script
        with suppress(UpstreamFailure):
            raw = await mcp.request(spec_of(server.url, relays=RELAYS, timeout_seconds=0.3), auth, tool_call(), relay)
            assert (raw.result is None) != (raw.error is None)
    await mcp.close()
