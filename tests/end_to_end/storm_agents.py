"""Agents of both eras in a storm: what they do by chance, and what they make of what they are told."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from tests.end_to_end.histories import Heard, digest_of
from tests.end_to_end.storm_upstream import BAD_HABITS, done
from tests.end_to_end.wire import BOTH_KINDS, META, MODERN, NEWEST_LEGACY, modern_headers, modern_message

if TYPE_CHECKING:
    from tests.end_to_end.storm import Storm

BATCHING = "2025-03-26"
BATCH = 3
ATTEMPTS = 25
PATIENCE_SECONDS = 8.0
"""After that an agent gives up and goes on with something new."""
ANSWER = {"sure": {"action": "accept", "content": {}}}
DENIED_CODES = {-32001, -32603, 403, 429}
"""What the gateway itself says when it did nothing; of -32603 those without a word about a call."""


def judge(status: int, message: Mapping[str, Any], nonce: str) -> tuple[Heard, str]:
    """How to take an answer, and what it was."""
    result, error = message.get("result"), message.get("error")
    if isinstance(error, dict):
        return _judge_error(status, error)
    if not isinstance(result, dict) or status != 200:
        return Heard.STRANGE, f"{status} {message}"
    meta = result.get("_meta") or {}
    if "com.gatehouse/failure" in meta:
        return Heard.FAILED, str(meta)
    if decision := meta.get("com.gatehouse/decision"):
        return (Heard.UNKNOWN if decision["code"] == "outcome_unknown" else Heard.REFUSED), str(meta)
    if result.get("resultType") == "input_required":
        return Heard.ASKED, ""
    is_ours = result.get("content") == done({"nonce": nonce})["content"]
    return (Heard.DONE, "") if is_ours else (Heard.STRANGE, f"{status} {message}")


def _judge_error(status: int, error: Mapping[str, Any]) -> tuple[Heard, str]:
    told = f"{status} {error}"
    text = error.get("message", "")
    if "process that ran" in text or "outcome is unknown" in text:
        return Heard.UNKNOWN, told
    if status in (401, 404, 429, 503) or (status == 200 and error.get("code") in DENIED_CODES):
        return Heard.REFUSED, told
    return Heard.STRANGE, told


@dataclass(slots=True)
class Answered:
    """One HTTP exchange as far as it got. `messages` are with their event ids, if they had any."""

    status: int = 0
    session: str = ""
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer_to(self, request_id: object) -> dict[str, Any] | None:
        return next((it for _, it in self.messages if it.get("id") == request_id and "method" not in it), None)

    @property
    def last_event_id(self) -> str:
        return next((event_id for event_id, _ in reversed(self.messages) if event_id), "")


class Agent:
    """Calls in one manner after the other until told to stop; whatever breaks, it goes on with something new."""

    def __init__(self, storm: "Storm", number: int) -> None:
        self.storm = storm
        self.number = number
        self.chance = random.Random(f"{storm.seed} {number}")
        self.recorder = storm.recorder
        self.key = storm.keys[number % len(storm.keys)]
        self._http = httpx.AsyncClient(timeout=PATIENCE_SECONDS)
        self._session = ""
        self._count = 0

    async def live(self, until: float) -> None:
        while time.monotonic() < until:
            await self.act()

    async def act(self) -> None:
        """In any manner, once."""
        manner = self.chance.choice((self.calls, self.calls_modern, self.batches, self.loses_its_stream, self.answers,
                                     self.waits, self.leaves, self.cancels, self.listens, self.errs))  # fmt: skip
        self.storm.manners[manner.__name__] += 1
        if self.key.id in self.recorder.revoked and self.chance.random() < 0.3:
            self.key = self.storm.live_key()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await manner()

    async def close(self) -> None:
        await self._http.aclose()

    # -- manners

    async def calls(self) -> None:
        params = self._new(self._any_habit())
        await self._tell(params, await self._post(self._legacy(params)))

    async def calls_modern(self) -> None:
        params = self._new(self._any_habit())
        await self._tell(params, await self._post(self._modern(params)))

    async def batches(self) -> None:
        several = [self._new(self.chance.choice(("works", "is-slow", "resets"))) for _ in range(BATCH)]
        bodies = [self._body(params) for params in several]
        answered = await self._exchange(bodies, {"MCP-Protocol-Version": BATCHING})
        for params in several:
            await self._tell(params, answered)

    async def loses_its_stream(self) -> None:
        """Breaks off after the first event and asks for the rest, at whichever process."""
        session = await self._in_session()
        params = self._new("talks", _meta={"progressToken": "p"})
        headers = self._legacy(params, session)[1]
        answered = await self._exchange(self._body(params), headers, leave_after_events=1)
        for _ in range(ATTEMPTS):
            event_id = answered.last_event_id
            if not event_id or answered.answer_to(self._id(params)) is not None:
                break
            again = {"Accept": "text/event-stream", "Mcp-Session-Id": session, "Last-Event-ID": event_id}
            more = await self._exchange(None, again | {"MCP-Protocol-Version": NEWEST_LEGACY})
            answered.messages += more.messages
            if more.status in (401, 404):
                break
            await asyncio.sleep(0.05)
        await self._tell(params, answered)

    async def answers(self) -> None:
        """A question, and the retry that brings its answer."""
        params = self._new("asks")
        powers = {"elicitation": {"form": {}}}
        answered = await self._post(self._modern(params, powers))
        await self._tell(params, answered)
        message = answered.answer_to(self._id(params)) or {}
        if (state := (message.get("result") or {}).get("requestState")) is None:
            return
        nonce = params["arguments"]["nonce"]
        resumed = {**params, "inputResponses": ANSWER, "requestState": f"state-{nonce}"}
        digest = self.recorder.sends(self.key.id, resumed)
        answered = await self._post(self._modern({**resumed, "requestState": state}, powers))
        await self._tell(params, answered, digest=digest)

    async def waits(self) -> None:
        """A task of 2025-11-25."""
        session = await self._in_session()
        params = self._new(self.chance.choice(("works", "is-slow", "is-late", "resets")), task={"ttl": 600_000})
        body, headers = self._legacy(params, session)
        answered = await self._exchange(body, headers)
        created = (answered.answer_to(self._id(params)) or {}).get("result") or {}
        if "task" not in created:
            await self._tell(params, answered)
            return
        if self.chance.random() < 0.2:
            await self._ask("tasks/cancel", headers, taskId=created["task"]["taskId"])
        for _ in range(ATTEMPTS):
            task = (await self._ask("tasks/get", headers, taskId=created["task"]["taskId"]) or {}).get("result", {})
            if task.get("status") in ("completed", "failed"):
                break
            if task.get("status") == "cancelled":
                return
            await asyncio.sleep(0.1)
        else:
            return
        message = await self._ask("tasks/result", headers, taskId=created["task"]["taskId"])
        if message is not None and not _has_lost_its_task(message):
            result = message.get("result")
            if isinstance(result, dict):
                result.get("_meta", {}).pop("io.modelcontextprotocol/related-task", None)
            await self._hears(params, 200, message)

    async def leaves(self) -> None:
        """Without waiting for the answer, which cancels in the modern era."""
        params = self._new("is-slow")
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05 + self.chance.random() * 0.3):
                await self._tell(params, await self._post(self._modern(params)))

    async def cancels(self) -> None:
        session = await self._in_session()
        params = self._new("is-slow")
        body, headers = self._legacy(params, session)
        calling = asyncio.create_task(self._exchange(body, headers))
        await asyncio.sleep(self.chance.random() * 0.3)
        notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": self._id(params)}}
        await self._exchange(notice, headers)
        await self._tell(params, await calling)

    async def listens(self) -> None:
        """For news, for a moment; in the older era its session ends with it."""
        if self.chance.random() < 0.5:
            message = modern_message("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            await self._exchange(message, modern_headers(message), leave_after_events=1)
            return
        named = {"Mcp-Session-Id": await self._in_session(), "MCP-Protocol-Version": NEWEST_LEGACY}
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await self._exchange(None, named | {"Accept": "text/event-stream"})
        self._session = ""
        await self._exchange(None, named, method="DELETE")

    async def errs(self) -> None:
        """In one of the ways that are answered without a call."""
        headers = {"MCP-Protocol-Version": NEWEST_LEGACY}
        wrong: tuple[tuple[Any, dict[str, str]], ...] = (
            ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "unknown"}}, headers),
            ({"jsonrpc": "2.0", "id": 1, "method": "unknown"}, headers),
            ({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers | {"Mcp-Session-Id": f"no-{self._count}"}),
            ({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers | {"Authorization": "Bearer wrong"}),
            ([], headers),
        )
        await self._exchange(*self.chance.choice(wrong))

    # -- means

    def _any_habit(self) -> str:
        if self.chance.random() < 0.1:
            return self.chance.choice(BAD_HABITS)
        return self.chance.choice(("works", "works", "works", "is-slow", "talks"))

    def _new(self, habit: str, **more: Any) -> dict[str, Any]:
        """The params of a request that nobody has sent yet."""
        self._count += 1
        arguments = {"nonce": f"{self.number}-{self._count}", "habit": habit}
        params = {"name": "act", "arguments": arguments, **more}
        self.recorder.sends(self.key.id, params)
        return params

    @staticmethod
    def _id(params: Mapping[str, Any]) -> str:
        return str(params["arguments"]["nonce"])

    def _body(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": self._id(params), "method": "tools/call", "params": params}

    def _legacy(self, params: Mapping[str, Any], session: str = "") -> tuple[dict[str, Any], dict[str, str]]:
        named = {"Mcp-Session-Id": session} if session else {}
        return self._body(params), {"MCP-Protocol-Version": NEWEST_LEGACY} | named

    def _modern(
        self, params: Mapping[str, Any], powers: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": powers or {}}
        body = self._body({**params, "_meta": meta})
        return body, modern_headers(body)

    async def _in_session(self) -> str:
        """A new one now and then, and after every failure."""
        if not self._session or self.chance.random() < 0.05:
            hello = {"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
            body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
            self._session = (await self._exchange(body, {})).session
        return self._session

    async def _ask(self, method: str, headers: Mapping[str, str], **params: Any) -> dict[str, Any] | None:
        body = {"jsonrpc": "2.0", "id": "q", "method": method, "params": params}
        answered = await self._exchange(body, headers)
        return answered.answer_to("q") if answered.status == 200 else None

    async def _post(self, request: tuple[dict[str, Any], dict[str, str]]) -> Answered:
        return await self._exchange(*request)

    async def _tell(self, params: Mapping[str, Any], answered: Answered, *, digest: str = "") -> None:
        """Records what was heard of the request, if anything was."""
        if (message := answered.answer_to(self._id(params))) is not None:
            await self._hears(params, answered.status, message, digest=digest)
        elif answered.status >= 400:
            refusal = answered.messages[0][1] if answered.messages else {"error": {}}
            await self._hears(params, answered.status, refusal, digest=digest)

    async def _hears(
        self, params: Mapping[str, Any], status: int, message: Mapping[str, Any], *, digest: str = ""
    ) -> None:
        heard, what = judge(status, message, self._id(params))
        self.recorder.hears(digest or digest_of(params), heard, what)
        if heard is Heard.DONE:
            self.storm.fell_perhaps()

    async def _exchange(
        self, body: Any, headers: Mapping[str, str], *, method: str = "", leave_after_events: int = 0
    ) -> Answered:
        answered = Answered()
        usual = {"Authorization": f"Bearer {self.key.token}", "Content-Type": "application/json", "Accept": BOTH_KINDS}
        content = b"" if body is None else json.dumps(body).encode()
        url = f"{self.storm.house.url}/mcp/upstream"
        method = method or ("GET" if body is None else "POST")
        with suppress(httpx.TransportError):
            async with self._http.stream(method, url, content=content, headers=usual | dict(headers)) as response:
                answered.status = response.status_code
                answered.session = response.headers.get("mcp-session-id", "")
                await _read(response, answered, leave_after_events)
        if answered.status in (0, 404):
            self._session = ""
        return answered


async def _read(response: httpx.Response, answered: Answered, leave_after_events: int) -> None:
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        async for event_id, message in _events(response):
            answered.messages.append((event_id, message))
            if leave_after_events and len(answered.messages) >= leave_after_events:
                return
    elif text := await response.aread():
        found = json.loads(text)
        answered.messages += [("", message) for message in (found if isinstance(found, list) else [found])]


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    event_id = ""
    async for line in response.aiter_lines():
        if line.startswith("id:"):
            event_id = line.removeprefix("id:").strip()
        elif line.startswith("data:") and (text := line.removeprefix("data:").strip()):
            yield event_id, json.loads(text)


def _has_lost_its_task(message: Mapping[str, Any]) -> bool:
    """Its time was over, perhaps because a clock jumped."""
    error = message.get("error") or {}
    return error.get("code") == -32602 or "cancelled" in error.get("message", "")
