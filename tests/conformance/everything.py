"""The upstream of the conformance run: every tool, resource and prompt that the official suite asks for by name.

Built on the Python SDK's low-level server, so that one process speaks both eras. A tool that needs the user asks
through `Call.ask`, which is an `input_required` result for a modern client and requests on the open stream for a legacy
one: so each tool exists in each era, and the suite of one era can run against an upstream of the other.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.session import ServerSession
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

NAME = "conformance-upstream"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
STEP_SECONDS = 0.05
RECONNECT_SECONDS = 0.2
RETRY_MILLISECONDS = 100

Question = dict[str, Any]
Answers = Mapping[str, dict[str, Any]]
ASKING: dict[str, tuple[Any, Any]] = {
    "elicitation/create": (types.ElicitRequest, types.ElicitResult),
    "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageResult),
    "roots/list": (types.ListRootsRequest, types.ListRootsResult),
}


class Unanswered(Exception):
    """A modern client has to answer first and come again."""

    def __init__(self, questions: Mapping[str, Question], state: str | None) -> None:
        super().__init__()
        self.result = types.InputRequiredResult.model_validate(
            {"resultType": "input_required", "inputRequests": questions, "requestState": state}
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One tools/call or prompts/get."""

    context: ServerRequestContext[Any, Any]
    arguments: Mapping[str, Any]
    answers: Answers
    state: str | None

    @property
    def is_modern(self) -> bool:
        return self.context.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def capabilities(self) -> dict[str, Any]:
        declared = self.context.session.client_capabilities
        return declared.model_dump(by_alias=True, exclude_none=True) if declared else {}

    async def ask(self, questions: Mapping[str, Question], *, state: str | None = None) -> Answers:
        """The client's answers, all of them. Raises Unanswered for a modern client that has not given them yet."""
        if not self.is_modern:
            return {key: await self._send(question) for key, question in questions.items()}
        if not questions.keys() <= self.answers.keys():
            raise Unanswered(questions, state)
        return self.answers

    async def _send(self, question: Question) -> dict[str, Any]:
        request, result = ASKING[question["method"]]
        metadata = ServerMessageMetadata(related_request_id=self.context.request_id)
        answer = await self.context.session.send_request(request.model_validate(question), result, metadata=metadata)
        told: dict[str, Any] = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        return told

    async def log(self, text: str) -> None:
        await self.context.session.send_log_message("info", text, related_request_id=self.context.request_id)


Handler = Callable[[Call], Awaitable[dict[str, Any]]]
TOOLS: dict[str, tuple[types.Tool, Handler]] = {}
PROMPTS: dict[str, tuple[types.Prompt, Handler]] = {}
BUS = InMemorySubscriptionBus()
"""Of news for modern clients."""
SESSIONS: deque[ServerSession] = deque(maxlen=100)
"""Of legacy clients, who get their news on the stream that each may hold open."""


async def remember(ctx: ServerRequestContext[Any, Any], call_next: Any) -> Any:
    if ctx.method == "notifications/initialized":
        SESSIONS.append(ctx.session)
    return await call_next(ctx)


async def tell_sessions(tell: Callable[[ServerSession], Awaitable[None]]) -> None:
    for session in list(SESSIONS):
        await tell(session)


def tool(schema: dict[str, Any] | None = None) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        name = handler.__name__
        description = (handler.__doc__ or name.replace("_", " ")).strip()
        definition = {"name": name, "description": description, "inputSchema": schema or {"type": "object"}}
        TOOLS[name] = (types.Tool.model_validate(definition), handler)
        return handler

    return register


def prompt(*arguments: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        name = handler.__name__
        listed = [{"name": argument, "description": f"the {argument}", "required": True} for argument in arguments]
        PROMPTS[name] = (
            types.Prompt.model_validate({"name": name, "description": name, "arguments": listed}),
            handler,
        )
        return handler

    return register


def strings(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}


def content(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"content": list(blocks)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def image() -> dict[str, Any]:
    return {"type": "image", "data": PIXEL, "mimeType": "image/png"}


def embedded(uri: str, words: str, mime: str = "text/plain") -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": words}}


def form(message: str, schema: dict[str, Any]) -> Question:
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sample(words: str, tokens: int = 100) -> Question:
    messages = [{"role": "user", "content": text(words)}]
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": tokens}}


def roots() -> Question:
    return {"method": "roots/list", "params": {}}


def told(answer: Mapping[str, Any]) -> str:
    return f"action={answer.get('action')}, content={json.dumps(answer.get('content', {}))}"


# -- tools: contents


@tool()
async def test_simple_text(call: Call) -> dict[str, Any]:
    return content(text("This is a simple text response for testing."))


@tool()
async def test_image_content(call: Call) -> dict[str, Any]:
    return content(image())


@tool()
async def test_audio_content(call: Call) -> dict[str, Any]:
    return content({"type": "audio", "data": SILENCE, "mimeType": "audio/wav"})


@tool()
async def test_embedded_resource(call: Call) -> dict[str, Any]:
    return content(embedded("test://embedded-resource", "This is an embedded resource content."))


@tool()
async def test_multiple_content_types(call: Call) -> dict[str, Any]:
    resource = embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return content(text("Multiple content types test:"), image(), resource)


@tool()
async def test_error_handling(call: Call) -> dict[str, Any]:
    return content(text("This tool intentionally returns an error for testing")) | {"isError": True}


@tool(
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }
)
async def json_schema_2020_12_tool(call: Call) -> dict[str, Any]:
    return content(text(json.dumps(dict(call.arguments))))


@tool(
    {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        "required": ["region"],
    }
)
async def test_header_parameter(call: Call) -> dict[str, Any]:
    return content(text(f"region: {call.arguments['region']}"))


# -- tools: what is said during a call


@tool()
async def test_tool_with_progress(call: Call) -> dict[str, Any]:
    for done in (0, 50, 100):
        await call.context.session.report_progress(done, 100, f"{done} of 100")
        await asyncio.sleep(STEP_SECONDS)
    return content(text("progress reported"))


@tool()
async def test_tool_with_logging(call: Call) -> dict[str, Any]:
    for step in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.log(step)
        await asyncio.sleep(STEP_SECONDS)
    return content(text("logged"))


@tool()
async def test_logging_tool(call: Call) -> dict[str, Any]:
    await call.log("said only to those who asked for a log")
    return content(text("logged"))


@tool()
async def test_reconnection(call: Call) -> dict[str, Any]:
    """Closes the stream in the middle of a legacy call; the client has to come back for the rest."""
    await call.log("before the disconnect")
    if call.context.close_sse_stream:
        await call.context.close_sse_stream()
        await asyncio.sleep(RECONNECT_SECONDS)
    await call.log("after the disconnect")
    return content(text("Reconnection test completed successfully"))


@tool()
async def test_trigger_tool_change(call: Call) -> dict[str, Any]:
    await BUS.publish(ToolsListChanged())
    await tell_sessions(lambda session: session.send_tool_list_changed())
    return content(text("tools changed"))


@tool()
async def test_trigger_prompt_change(call: Call) -> dict[str, Any]:
    await BUS.publish(PromptsListChanged())
    await tell_sessions(lambda session: session.send_prompt_list_changed())
    return content(text("prompts changed"))


@tool()
async def test_missing_capability(call: Call) -> dict[str, Any]:
    """Cannot work without sampling."""
    if "sampling" not in call.capabilities:
        missing: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "this needs sampling", missing)
    return content(text("sampling is there"))


# -- tools: what is asked during a call


@tool(strings("prompt"))
async def test_sampling(call: Call) -> dict[str, Any]:
    answers = await call.ask({"sample": sample(call.arguments["prompt"])})
    return content(text(f"LLM response: {answers['sample']['content']['text']}"))


@tool(strings("message"))
async def test_elicitation(call: Call) -> dict[str, Any]:
    answers = await call.ask({"who": form(call.arguments["message"], strings("username", "email"))})
    return content(text(f"User response: {told(answers['who'])}"))


@tool()
async def test_streaming_elicitation(call: Call) -> dict[str, Any]:
    answers = await call.ask({"who": form("Who are you?", strings("name"))})
    return content(text(f"User response: {told(answers['who'])}"))


@tool()
async def test_elicitation_sep1034_defaults(call: Call) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
        },
        "required": [],
    }
    answers = await call.ask({"form": form("Please check these defaults", schema)})
    return content(text(f"Elicitation completed: {told(answers['form'])}"))


@tool()
async def test_elicitation_sep1330_enums(call: Call) -> dict[str, Any]:
    options, titled = ["option1", "option2", "option3"], [{"const": "value1", "title": "First"}]
    titled += [{"const": "value2", "title": "Second"}, {"const": "value3", "title": "Third"}]
    schema = {
        "type": "object",
        "properties": {
            "untitledSingle": {"type": "string", "enum": options},
            "titledSingle": {"type": "string", "oneOf": titled},
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
            "titledMulti": {"type": "array", "items": {"anyOf": titled}},
        },
        "required": [],
    }
    answers = await call.ask({"form": form("Please choose", schema)})
    return content(text(f"Elicitation completed: {told(answers['form'])}"))


@tool()
async def test_input_required_result_elicitation(call: Call) -> dict[str, Any]:
    answers = await call.ask({"user_name": form("What is your name?", strings("name"))})
    return content(text(f"Hello, {answers['user_name'].get('content', {}).get('name')}!"))


@tool()
async def test_input_required_result_sampling(call: Call) -> dict[str, Any]:
    answers = await call.ask({"capital_question": sample("What is the capital of France?")})
    return content(text(f"The model said: {answers['capital_question']['content']['text']}"))


@tool()
async def test_input_required_result_list_roots(call: Call) -> dict[str, Any]:
    answers = await call.ask({"client_roots": roots()})
    return content(text(", ".join(root["uri"] for root in answers["client_roots"]["roots"])))


@tool()
async def test_input_required_result_request_state(call: Call) -> dict[str, Any]:
    await call.ask({"confirm": confirmation()}, state="asked once")
    return content(text("state-ok" if call.state == "asked once" or not call.is_modern else "state lost"))


@tool()
async def test_input_required_result_tampered_state(call: Call) -> dict[str, Any]:
    await call.ask({"confirm": confirmation()}, state="sealed")
    return content(text("confirmed"))


@tool()
async def test_input_required_result_multiple_inputs(call: Call) -> dict[str, Any]:
    questions = {
        "user_name": form("What is your name?", strings("name")),
        "greeting": sample("Generate a greeting", 50),
        "client_roots": roots(),
    }
    answers = await call.ask(questions, state="three questions")
    return content(text(json.dumps({key: answers[key] for key in questions})))


@tool()
async def test_input_required_result_multi_round(call: Call) -> dict[str, Any]:
    """The name given in the first round travels as the state of the second."""
    name = call.state
    if name is None or name == "first round":
        answers = await call.ask({"step1": form("Step 1: your name?", strings("name"))}, state="first round")
        name = str(answers["step1"]["content"]["name"])
    answers = await call.ask({"step2": form("Step 2: your favorite color?", strings("color"))}, state=name)
    return content(text(f"{name} likes {answers['step2']['content']['color']}"))


@tool()
async def test_input_required_result_capabilities(call: Call) -> dict[str, Any]:
    able = {"elicitation": form("What is your name?", strings("name")), "sampling": sample("Say something")}
    await call.ask({name: question for name, question in able.items() if name in call.capabilities})
    return content(text("asked only what the client can"))


def confirmation() -> Question:
    return form("Please confirm", {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]})


# -- prompts


def user(block: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": block}


@prompt()
async def test_simple_prompt(call: Call) -> dict[str, Any]:
    return {"messages": [user(text("This is a simple prompt for testing."))]}


@prompt("arg1", "arg2")
async def test_prompt_with_arguments(call: Call) -> dict[str, Any]:
    given = ", ".join(f"{name}='{value}'" for name, value in call.arguments.items())
    return {"messages": [user(text(f"Prompt with arguments: {given}"))]}


@prompt("resourceUri")
async def test_prompt_with_embedded_resource(call: Call) -> dict[str, Any]:
    resource = embedded(call.arguments["resourceUri"], "Embedded resource content for testing.")
    return {"messages": [user(resource), user(text("Please process the embedded resource above."))]}


@prompt()
async def test_prompt_with_image(call: Call) -> dict[str, Any]:
    return {"messages": [user(image()), user(text("Please analyze the image above."))]}


@prompt()
async def test_input_required_result_prompt(call: Call) -> dict[str, Any]:
    answers = await call.ask({"user_context": form("What context should the prompt use?", strings("context"))})
    return {"messages": [user(text(f"Context: {told(answers['user_context'])}"))]}


# -- resources

RESOURCES = {
    "test://static-text": {"mimeType": "text/plain", "text": "This is the content of the static text resource."},
    "test://static-binary": {"mimeType": "image/png", "blob": PIXEL},
    "test://watched-resource": {"mimeType": "text/plain", "text": "Watched resource content"},
}
TEMPLATE = {"uriTemplate": "test://template/{id}/data", "name": "template", "mimeType": "application/json"}
TEMPLATE_START, TEMPLATE_END = "test://template/", "/data"


def resource_at(uri: str) -> dict[str, Any]:
    if uri in RESOURCES:
        return RESOURCES[uri]
    if uri.startswith(TEMPLATE_START) and uri.endswith(TEMPLATE_END):
        id_ = uri[len(TEMPLATE_START) : -len(TEMPLATE_END)]
        return {
            "mimeType": "application/json",
            "text": json.dumps({"id": id_, "templateTest": True, "data": f"Data for ID: {id_}"}),
        }
    raise KeyError(uri)


# -- the server


async def run(
    handler: Handler, context: ServerRequestContext[Any, Any], params: Any
) -> dict[str, Any] | types.InputRequiredResult:
    answers = {
        key: answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        for key, answer in (params.input_responses or {}).items()
    }
    try:
        return await handler(Call(context, params.arguments or {}, answers, params.request_state))
    except Unanswered as unanswered:
        return unanswered.result


async def call_tool(context: Any, params: types.CallToolRequestParams) -> Any:
    if params.name not in TOOLS:
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
    result = await run(TOOLS[params.name][1], context, params)
    return types.CallToolResult.model_validate(result) if isinstance(result, dict) else result


async def get_prompt(context: Any, params: types.GetPromptRequestParams) -> Any:
    if params.name not in PROMPTS:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
    result = await run(PROMPTS[params.name][1], context, params)
    return types.GetPromptResult.model_validate(result) if isinstance(result, dict) else result


async def read_resource(context: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = str(params.uri)
    try:
        found = resource_at(uri)
    except KeyError:
        is_modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
        raise MCPError(types.INVALID_PARAMS if is_modern else -32002, "Resource not found", {"uri": uri}) from None
    return types.ReadResourceResult.model_validate({"contents": [{"uri": uri, **found}]})


async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[definition for definition, _ in TOOLS.values()])


async def list_prompts(context: Any, params: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=[definition for definition, _ in PROMPTS.values()])


async def list_resources(context: Any, params: Any) -> types.ListResourcesResult:
    listed = [{"uri": uri, "name": uri, "mimeType": found["mimeType"]} for uri, found in RESOURCES.items()]
    return types.ListResourcesResult.model_validate({"resources": listed})


async def list_templates(context: Any, params: Any) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult.model_validate({"resourceTemplates": [TEMPLATE]})


async def complete(context: Any, params: types.CompleteRequestParams) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=[], total=0, has_more=False))


async def accept(context: Any, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


class Replay(EventStore):
    """What was sent on each stream, so that a client that lost its stream gets the rest."""

    def __init__(self) -> None:
        self._events: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        try:
            stream, _ = self._events[int(last_event_id) - 1]
        except (ValueError, IndexError):
            return None
        later = enumerate(self._events[int(last_event_id) :], int(last_event_id) + 1)
        for number, (other, message) in later:
            if other == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def make_server() -> Server[Any]:
    server: Server[Any] = Server(
        NAME,
        version="1",
        get_tool_input_schema=lambda name: TOOLS[name][0].input_schema if name in TOOLS else None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=accept,
        on_unsubscribe_resource=accept,
        on_completion=complete,
        on_set_logging_level=accept,
        on_subscriptions_listen=ListenHandler(BUS),
    )
    server.middleware.append(remember)
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    everything_changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
    server.create_initialization_options = partial(  # type: ignore[method-assign]
        server.create_initialization_options, everything_changes
    )
    return server


def application() -> Any:
    return make_server().streamable_http_app(event_store=Replay(), retry_interval=RETRY_MILLISECONDS)
