"""An upstream with tasks, strict, on bare ASGI because no SDK has them: the extension of 2026-07-28 and the
experimental tasks of 2025-11-25. What a tool does is written once; how it asks and is waited for depends on the
request.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MODERN, LEGACY = "2026-07-28", "2025-11-25"
META = "io.modelcontextprotocol/"
EXTENSION = f"{META}tasks"
RELATED = f"{META}related-task"
TTL_MILLISECONDS, POLL_MILLISECONDS = 600_000, 100
NAMED_BY = {"tools/call": "name", "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}
TERMINAL = {"completed", "failed", "cancelled"}
FAIL_SECONDS = 0.5

Json = dict[str, Any]
Ask = Callable[[Mapping[str, Json]], Awaitable[Mapping[str, Json]]]


class Fault(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"code": code, "message": message} | ({"data": data} if data is not None else {})


class Unanswered(Exception):
    def __init__(self, questions: Mapping[str, Json]) -> None:
        super().__init__()
        self.result = {"resultType": "input_required", "inputRequests": dict(questions)}


# -- what the tools do


def said(text: str, **more: Any) -> Json:
    return {"content": [{"type": "text", "text": text}], **more}


def form(message: str, name: str, kind: str) -> Json:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


async def greet(arguments: Json, ask: Ask) -> Json:
    return said(f"Hello, {arguments['name']}!")


async def slow_compute(arguments: Json, ask: Ask) -> Json:
    await asyncio.sleep(arguments["seconds"])
    return said(f"computed {arguments.get('label', '')} in {arguments['seconds']} s")


async def failing_job(arguments: Json, ask: Ask) -> Json:
    await asyncio.sleep(FAIL_SECONDS)
    return said("the job failed", isError=True)


async def protocol_error_job(arguments: Json, ask: Ask) -> Json:
    await asyncio.sleep(FAIL_SECONDS)
    raise Fault(-32603, "the job broke", status=200)


async def confirm_delete(arguments: Json, ask: Ask) -> Json:
    answers = await ask({"confirm": form(f"Delete {arguments['filename']}?", "confirm", "boolean")})
    return said(f"deleted: {is_yes(answers['confirm'])}")


async def multi_input(arguments: Json, ask: Ask) -> Json:
    answers = await ask({key: form(f"The {key} name?", "name", "string") for key in ("first", "second")})
    return said(", ".join(str(answers[key].get("content", {}).get("name")) for key in ("first", "second")))


async def test_tool_with_task(arguments: Json, ask: Ask) -> Json:
    answers = await ask({"user_name": form("What is your name?", "name", "string")})
    return said(f"Done for {answers['user_name']['content']['name']}")


def is_yes(answer: Json) -> bool:
    return answer.get("action") == "accept" and bool(answer.get("content", {}).get("confirm"))


@dataclass(frozen=True, slots=True)
class Tool:
    run: Callable[[Json, Ask], Awaitable[Json]]
    properties: Mapping[str, str] = field(default_factory=dict)
    support: str = "optional"
    asks_first: bool = False
    """All questions are asked before the task is made."""

    @property
    def required(self) -> list[str]:
        return [name for name in self.properties if name != "label"]

    def misses(self, arguments: Json) -> Json | None:
        """What a call without a required argument is told; no task is made of it."""
        missing = [name for name in self.required if name not in arguments]
        return said(f"missing: {', '.join(missing)}", isError=True) if missing else None

    def listed(self, *, is_modern: bool) -> Json:
        properties = {name: {"type": kind} for name, kind in self.properties.items()}
        schema = {"type": "object", "properties": properties, "required": self.required}
        listed = {"name": self.run.__name__, "description": self.run.__name__, "inputSchema": schema}
        return listed if is_modern else listed | {"execution": {"taskSupport": self.support}}


TOOLS = {
    tool.run.__name__: tool
    for tool in (
        Tool(greet, {"name": "string"}, "forbidden"),
        Tool(slow_compute, {"seconds": "number", "label": "string"}),
        Tool(failing_job, support="required"),
        Tool(protocol_error_job),
        Tool(confirm_delete, {"filename": "string"}),
        Tool(multi_input),
        Tool(test_tool_with_task, asks_first=True),
    )
}


# -- tasks


def now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass
class Job:
    id: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)
    status: str = "working"
    result: Json | None = None
    error: Json | None = None
    questions: dict[str, Json] = field(default_factory=dict)
    answers: dict[str, Json] = field(default_factory=dict)
    work: "asyncio.Task[None] | None" = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def become(self, status: str) -> None:
        async with self.changed:
            self.status, self.updated = status, now()
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self.changed:
            await self.changed.wait_for(condition)

    async def ask(self, questions: Mapping[str, Json]) -> Mapping[str, Json]:
        self.questions = dict(questions)
        await self.become("input_required")
        await self.until(lambda: not self.questions)
        return self.answers

    async def take(self, answers: Mapping[str, Json]) -> None:
        for key in answers.keys() & self.questions.keys():
            self.answers[key] = answers[key]
            del self.questions[key]
        await self.become("input_required" if self.questions else "working")

    async def run(self, tool: Tool, arguments: Json, ask: Ask) -> None:
        try:
            self.result = await tool.run(arguments, ask)
            await self.become("completed")
        except Fault as fault:
            self.error = fault.error
            await self.become("failed")

    async def cancel(self) -> None:
        if self.status in TERMINAL:
            return
        if self.work is not None:
            self.work.cancel()
        self.questions.clear()
        await self.become("cancelled")

    def seen_modern(self) -> Json:
        times = {"createdAt": self.created, "lastUpdatedAt": self.updated}
        return {"taskId": self.id, "status": self.status, **times} | {
            "ttlMs": TTL_MILLISECONDS,
            "pollIntervalMs": POLL_MILLISECONDS,
        }

    def detailed(self) -> Json:
        found = {"inputRequests": self.questions, "result": self.result, "error": self.error}
        return self.seen_modern() | {key: value for key, value in found.items() if value}

    def seen_legacy(self) -> Json:
        is_broken = self.result is not None and self.result.get("isError")
        times = {"createdAt": self.created, "lastUpdatedAt": self.updated}
        status = "failed" if is_broken else self.status
        return {"taskId": self.id, "status": status, **times} | {
            "ttl": TTL_MILLISECONDS,
            "pollInterval": POLL_MILLISECONDS,
        }


class Jobs:
    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def start(self, tool: Tool, arguments: Json, ask: Ask | None = None) -> Job:
        job = Job()
        self._jobs[job.id] = job
        job.work = asyncio.create_task(job.run(tool, arguments, ask or job.ask))
        return job

    def at(self, params: Json) -> Job:
        try:
            return self._jobs[params["taskId"]]
        except KeyError:
            raise Fault(-32602, "Unknown task") from None

    def all(self) -> list[Job]:
        return list(self._jobs.values())


def tool_of(params: Json) -> Tool:
    if params.get("name") not in TOOLS:
        raise Fault(-32602, f"Unknown tool: {params.get('name')}")
    return TOOLS[params["name"]]


# -- the modern era


class Modern:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._methods: dict[str, Callable[[Json], Awaitable[Json]]] = {
            "server/discover": self.discover,
            "tools/list": self.list_tools,
            "tools/call": self.call,
            "tasks/get": self.get,
            "tasks/update": self.update,
            "tasks/cancel": self.cancel,
        }

    async def answer(self, message: Json, headers: Mapping[str, str]) -> Json:
        method, params = message["method"], message.get("params") or {}
        check_headers(method, params, headers)
        if method not in self._methods:
            raise Fault(-32601, f"Method not found: {method}", status=404)
        if method.startswith("tasks/") and not has_tasks(params):
            raise lacks_tasks()
        result = {"resultType": "complete"} | await self._methods[method](params)
        server = {"name": "tasks-upstream", "version": "1"}
        return result | {"_meta": {f"{META}serverInfo": server}}

    async def discover(self, params: Json) -> Json:
        capabilities: Json = {"tools": {}, "extensions": {EXTENSION: {}}}
        return {"supportedVersions": [MODERN], "capabilities": capabilities, "ttlMs": 0, "cacheScope": "public"}

    async def list_tools(self, params: Json) -> Json:
        listed = [tool.listed(is_modern=True) for tool in TOOLS.values()]
        return {"tools": listed, "ttlMs": 0, "cacheScope": "public"}

    async def call(self, params: Json) -> Json:
        tool, arguments = tool_of(params), params.get("arguments") or {}
        if complaint := tool.misses(arguments):
            return complaint
        ask = answered_by(params.get("inputResponses") or {})
        try:
            if tool.support == "forbidden" or not has_tasks(params):
                if tool.support == "required":
                    raise lacks_tasks()
                return await tool.run(arguments, ask)
            if tool.asks_first:
                await tool.run(arguments, ask)
                return {"resultType": "task"} | self._jobs.start(tool, arguments, ask).seen_modern()
        except Unanswered as unanswered:
            return unanswered.result
        return {"resultType": "task"} | self._jobs.start(tool, arguments).seen_modern()

    async def get(self, params: Json) -> Json:
        return self._jobs.at(params).detailed()

    async def update(self, params: Json) -> Json:
        await self._jobs.at(params).take(params.get("inputResponses") or {})
        return {}

    async def cancel(self, params: Json) -> Json:
        await self._jobs.at(params).cancel()
        return {}


def answered_by(given: Mapping[str, Json]) -> Ask:
    async def ask(questions: Mapping[str, Json]) -> Mapping[str, Json]:
        if not questions.keys() <= given.keys():
            raise Unanswered(questions)
        return given

    return ask


def has_tasks(params: Json) -> bool:
    declared = params["_meta"][f"{META}clientCapabilities"]
    return EXTENSION in declared.get("extensions", {})


def lacks_tasks() -> Fault:
    return Fault(-32021, "this needs tasks", {"requiredCapabilities": {"extensions": {EXTENSION: {}}}})


def check_headers(method: str, params: Json, headers: Mapping[str, str]) -> None:
    meta = params.get("_meta") or {}
    if f"{META}protocolVersion" not in meta or f"{META}clientCapabilities" not in meta:
        raise Fault(-32602, "_meta lacks protocolVersion or clientCapabilities")
    expected = {"mcp-protocol-version": meta[f"{META}protocolVersion"], "mcp-method": method}
    if method in NAMED_BY:
        expected["mcp-name"] = params.get(NAMED_BY[method])
    for name, value in expected.items():
        if headers.get(name) != value:
            raise Fault(-32020, f"{name} does not match the body")
    if meta[f"{META}protocolVersion"] != MODERN:
        requested = meta[f"{META}protocolVersion"]
        raise Fault(-32022, "Unsupported protocol version", {"supported": [MODERN], "requested": requested})


# -- the legacy era


class Stream:
    """The SSE answer of one legacy POST, which starts when something is asked on it."""

    def __init__(self, send: Any, waiting: dict[str, "asyncio.Future[Json]"]) -> None:
        self._send, self._waiting = send, waiting
        self.is_open = False

    async def write(self, message: Json) -> None:
        if not self.is_open:
            self.is_open = True
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        event = b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n"
        await self._send({"type": "http.response.body", "body": event, "more_body": True})

    async def ask(self, questions: Mapping[str, Json], meta: Json | None = None) -> Mapping[str, Json]:
        return {key: await self._ask(question, meta) for key, question in questions.items()}

    async def _ask(self, question: Json, meta: Json | None) -> Json:
        number = f"ask-{secrets.token_hex(4)}"
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        params = question["params"] | ({"_meta": meta} if meta else {})
        await self.write({"jsonrpc": "2.0", "id": number, "method": question["method"], "params": params})
        try:
            return await answer
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})


class Legacy:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self.waiting: dict[str, asyncio.Future[Json]] = {}
        self._methods: dict[str, Callable[[Json, Stream], Awaitable[Json]]] = {
            "initialize": self.initialize,
            "ping": self.ping,
            "tools/list": self.list_tools,
            "tools/call": self.call,
            "tasks/get": self.get,
            "tasks/result": self.result,
            "tasks/list": self.list_tasks,
            "tasks/cancel": self.cancel,
        }

    async def answer(self, message: Json, stream: Stream) -> Json:
        if message["method"] not in self._methods:
            raise Fault(-32601, f"Method not found: {message['method']}", status=200)
        return await self._methods[message["method"]](message.get("params") or {}, stream)

    async def initialize(self, params: Json, stream: Stream) -> Json:
        tasks: Json = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
        server = {"name": "tasks-upstream", "version": "1"}
        return {"protocolVersion": LEGACY, "capabilities": {"tools": {}, "tasks": tasks}, "serverInfo": server}

    async def ping(self, params: Json, stream: Stream) -> Json:
        return {}

    async def list_tools(self, params: Json, stream: Stream) -> Json:
        return {"tools": [tool.listed(is_modern=False) for tool in TOOLS.values()]}

    async def call(self, params: Json, stream: Stream) -> Json:
        tool, arguments = tool_of(params), params.get("arguments") or {}
        if complaint := tool.misses(arguments):
            return complaint
        if "task" in params:
            if tool.support == "forbidden":
                raise Fault(-32601, "this tool makes no tasks", status=200)
            return {"task": self._jobs.start(tool, arguments).seen_legacy()}
        if tool.support == "required":
            raise Fault(-32601, "this tool needs a task", status=200)
        return await tool.run(arguments, stream.ask)

    async def get(self, params: Json, stream: Stream) -> Json:
        return self._jobs.at(params).seen_legacy()

    async def result(self, params: Json, stream: Stream) -> Json:
        """Waits for the end, and asks meanwhile what the tool asks."""
        job = self._jobs.at(params)
        related = {RELATED: {"taskId": job.id}}
        while job.status not in TERMINAL:
            await job.until(lambda: job.status != "working")
            if job.questions:
                await job.take(await stream.ask(dict(job.questions), related))
        if job.result is None:
            raise Fault(**(job.error or {"code": -32602, "message": "the task was cancelled"}), status=200)
        return job.result | {"_meta": related}

    async def list_tasks(self, params: Json, stream: Stream) -> Json:
        return {"tasks": [job.seen_legacy() for job in self._jobs.all()]}

    async def cancel(self, params: Json, stream: Stream) -> Json:
        job = self._jobs.at(params)
        if job.status in TERMINAL:
            raise Fault(-32602, "the task has ended", status=200)
        await job.cancel()
        return job.seen_legacy()


# -- HTTP


class Upstream:
    def __init__(self) -> None:
        jobs = Jobs()
        self._modern, self._legacy = Modern(jobs), Legacy(jobs)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["method"] != "POST":
            await respond(send, 405, None)
            return
        message = json.loads(await body_of(receive))
        if "id" not in message:
            await respond(send, 202, None)
        elif "method" not in message:
            self._settle(message)
            await respond(send, 202, None)
        elif headers.get("mcp-protocol-version") == MODERN:
            await self._answer(message, send, self._modern.answer(message, headers))
        else:
            await self._converse(message, send, receive)

    def _settle(self, message: Json) -> None:
        waiting = self._legacy.waiting.get(message["id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(message.get("result") or {"action": "cancel"})

    async def _answer(self, message: Json, send: Any, work: Awaitable[Json]) -> None:
        status, reply = await outcome(work)
        await respond(send, status, {"jsonrpc": "2.0", "id": message["id"], **reply})

    async def _converse(self, message: Json, send: Any, receive: Any) -> None:
        """JSON, or a stream once the tool asks; the work ends when the client leaves."""
        stream = Stream(send, self._legacy.waiting)
        work = asyncio.create_task(outcome(self._legacy.answer(message, stream)))
        gone = asyncio.create_task(receive())
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not work.done():
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            return
        status, reply = work.result()
        answer = {"jsonrpc": "2.0", "id": message["id"], **reply}
        if stream.is_open:
            await stream.write(answer)
            await stream.close()
        else:
            await respond(send, status, answer)


async def outcome(work: Awaitable[Json]) -> tuple[int, Json]:
    try:
        return 200, {"result": await work}
    except Fault as fault:
        return fault.status, {"error": fault.error}


async def body_of(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        part = await receive()
        body, more = body + part.get("body", b""), part.get("more_body", False)
    return body


async def respond(send: Any, status: int, message: Json | None) -> None:
    body = json.dumps(message).encode() if message is not None else b""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def application() -> Upstream:
    return Upstream()
