"""All that a real upstream may do while a call runs, in both eras: one built on the Python SDK, and one with tasks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest

from connectors.base import Interest, Question, RawResult, UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.mcp_http import McpHttp
from tests.conformance import everything, tasks_upstream
from tests.connectors.conftest import MakeSpec, tool_call
from tests.connectors.relays import RecordingRelay
from tests.connectors.servers import asgi_server, eventually, legacy_only

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
"""Upstreams use what is deprecated, too."""

ANYONE = UpstreamAuth()
POWERS = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}
ANSWERS = {
    "elicitation/create": {"action": "accept", "content": {"name": "Ana", "color": "red", "confirmed": True}},
    "sampling/createMessage": {"role": "assistant", "model": "m", "content": {"type": "text", "text": "sampled"}},
    "roots/list": {"roots": [{"uri": "file:///here"}]},
}
Ask = Callable[..., Awaitable[RawResult]]


def answer(key: str, question: dict[str, Any]) -> dict[str, Any]:
    return ANSWERS[question["method"]]


@pytest.fixture(params=["modern", "legacy"])
async def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def spec(era: str, spec_of: MakeSpec) -> AsyncIterator[UpstreamSpec]:
    app = everything.application()
    async with asgi_server(app if era == "modern" else legacy_only(app)) as origin:
        yield spec_of(f"{origin}/mcp", relays=frozenset(POWERS))


@pytest.fixture
async def tasks_spec(era: str, spec_of: MakeSpec) -> AsyncIterator[UpstreamSpec]:
    app = tasks_upstream.application()
    async with asgi_server(app if era == "modern" else legacy_only(app)) as origin:
        yield spec_of(f"{origin}/mcp", relays=frozenset(POWERS))


@pytest.fixture
def ask(connector: McpHttp) -> Ask:
    async def perform(
        spec: UpstreamSpec, tool: str, relay: RecordingRelay | None = None, **arguments: Any
    ) -> RawResult:
        question = tool_call(tool, orjson.dumps(arguments))
        return await connector.request(spec, ANYONE, question, relay or RecordingRelay(POWERS, answer=answer))

    return perform


def said(raw: RawResult) -> str:
    assert raw.result is not None, raw.error
    text: str = raw.result["content"][0]["text"]
    return text


@pytest.mark.parametrize(
    ("tool", "asks"),
    [
        ("test_elicitation", "elicitation/create"),
        ("test_sampling", "sampling/createMessage"),
        ("test_input_required_result_list_roots", "roots/list"),
        ("test_input_required_result_multi_round", "elicitation/create"),
        ("test_input_required_result_multiple_inputs", "elicitation/create"),
    ],
)
async def test_it_gets_its_answers(ask: Ask, spec: UpstreamSpec, tool: str, asks: str) -> None:
    relay = RecordingRelay(POWERS, answer=answer)
    raw = await ask(spec, tool, relay, prompt="p", message="m")
    assert said(raw)
    assert not (raw.result or {}).get("isError")
    assert asks in {question["method"] for asked in relay.asked for question in asked.values()}


async def test_a_caller_without_powers_is_not_asked(ask: Ask, spec: UpstreamSpec, era: str) -> None:
    relay = RecordingRelay()
    if era == "modern":
        with pytest.raises(UpstreamFailure, match="not offered"):
            await ask(spec, "test_elicitation", relay, message="m")
    else:
        raw = await ask(spec, "test_elicitation", relay, message="m")
        assert raw.error is not None or (raw.result or {})["isError"]
    assert relay.asked == []


async def test_progress_and_logs_arrive(ask: Ask, spec: UpstreamSpec) -> None:
    relay = RecordingRelay(wants_progress=True, log_level="info")
    await ask(spec, "test_tool_with_progress", relay)
    await ask(spec, "test_tool_with_logging", relay)
    told = [params for method, params in relay.told if method == "notifications/progress"]
    assert [params["progress"] for params in told] == [0, 50, 100]
    assert len([method for method, _ in relay.told if method == "notifications/message"]) == 3


async def test_a_stream_that_the_upstream_closes_is_resumed(ask: Ask, spec: UpstreamSpec) -> None:
    assert said(await ask(spec, "test_reconnection"))


async def test_prompts_resources_and_completions(connector: McpHttp, spec: UpstreamSpec) -> None:
    prompts = await connector.catalog(spec, ANYONE, "prompts/list")
    assert "test_simple_prompt" in {prompt["name"] for prompt in prompts.items}
    resources = await connector.catalog(spec, ANYONE, "resources/list")
    assert "test://static-text" in {resource["uri"] for resource in resources.items}
    templates = await connector.catalog(spec, ANYONE, "resources/templates/list")
    assert [template["uriTemplate"] for template in templates.items] == ["test://template/{id}/data"]
    for question in (
        Question("prompts/get", "test_simple_prompt", {"name": b'"test_simple_prompt"'}),
        Question("resources/read", "test://template/7/data", {"uri": b'"test://template/7/data"'}),
        Question(
            "completion/complete",
            "",
            {
                "ref": b'{"type":"ref/prompt","name":"test_prompt_with_arguments"}',
                "argument": b'{"name":"arg1","value":"a"}',
            },
        ),
    ):
        raw = await connector.request(spec, ANYONE, question)
        assert raw.result is not None, raw.error


async def test_its_news_are_heard(connector: McpHttp, ask: Ask, spec: UpstreamSpec) -> None:
    heard: list[str] = []

    async def hear(method: str, params: dict[str, Any]) -> None:
        heard.append(method)

    stands = asyncio.Event()
    listening = asyncio.create_task(
        connector.listen(spec, ANYONE, Interest(tools=True, prompts=True), hear, stands.set)
    )
    async with asyncio.timeout(10):
        await stands.wait()
    await ask(spec, "test_trigger_tool_change")
    await ask(spec, "test_trigger_prompt_change")
    await eventually(lambda: len(heard) >= 2)
    listening.cancel()
    assert set(heard) == {"notifications/tools/list_changed", "notifications/prompts/list_changed"}


# -- tasks


async def test_tasks_are_waited_for(ask: Ask, tasks_spec: UpstreamSpec) -> None:
    assert said(await ask(tasks_spec, "greet", name="Ana"))
    relay = RecordingRelay()
    assert said(await ask(tasks_spec, "slow_compute", relay, seconds=0.3))
    failed = await ask(tasks_spec, "failing_job")
    assert failed.result is not None
    assert failed.result["isError"]
    broken = await ask(tasks_spec, "protocol_error_job")
    assert broken.error is not None


async def test_what_a_task_asks_is_answered(ask: Ask, tasks_spec: UpstreamSpec, era: str) -> None:
    for tool, questions in (("confirm_delete", 1), ("multi_input", 2)):
        relay = RecordingRelay(POWERS, answer=lambda key, question: {"action": "accept", "content": _filled(question)})
        raw = await ask(tasks_spec, tool, relay, filename="f")
        assert raw.result is not None, raw.error
        assert sum(len(asked) for asked in relay.asked) == questions
        assert relay.tasks == (1 if era == "modern" else 0), "a legacy tool that can do without is called plainly"


def _filled(question: dict[str, Any]) -> dict[str, Any]:
    values = {"boolean": True, "string": "word", "integer": 1, "number": 1}
    properties = question["params"]["requestedSchema"]["properties"]
    return {name: values[schema["type"]] for name, schema in properties.items()}
