"""Many requests over one stream: whatever order things come in, each gets its own answer, and nobody another's."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import UpstreamFailure
from connectors.mcp_switchboard import Running, Switchboard
from connectors.mcp_talk import Talk
from tests.connectors.relays import FORM, RecordingRelay

ASK_FORM = {"method": "elicitation/create", "params": {"message": "?"}}


def wire(message: dict[str, Any]) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", **message})


class Board:
    """A switchboard with some requests running, and all that was said to the upstream."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.news: list[str] = []
        self.relays: dict[int, RecordingRelay] = {}
        self.running: dict[int, Running] = {}
        self.board = Switchboard(self._say, heard=self._hear)
        self._stack = AsyncExitStack()

    async def _say(self, body: bytes) -> None:
        self.said.append(orjson.loads(body))

    async def _hear(self, method: str, params: dict[str, Any]) -> None:
        self.news.append(method)

    async def start(self, request_id: int) -> None:
        relay = self.relays[request_id] = RecordingRelay(FORM, wants_progress=True, log_level="debug")
        talk = Talk(relay, seconds=5.0)
        talk.seconds_left()
        deadline = await self._stack.enter_async_context(asyncio.timeout(5.0))
        running = self.board.running(request_id, talk, deadline)
        self.running[request_id] = await self._stack.enter_async_context(running)

    async def take(self, message: dict[str, Any]) -> None:
        await self.board.take(wire(message))

    async def __aenter__(self) -> "Board":
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._stack.aclose()


MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.integers(0, 6)),
        st.tuples(st.just("progress"), st.integers(0, 6)),
        st.tuples(st.just("question"), st.integers(0, 6)),
        st.tuples(st.just("log"), st.just(0)),
        st.tuples(st.just("news"), st.just(0)),
    ),
    max_size=20,
)


@given(st.sets(st.integers(1, 5), min_size=2, max_size=4), MESSAGES)
async def test_nobody_hears_what_is_meant_for_another(ids: set[int], messages: list[tuple[str, int]]) -> None:
    async with Board() as board:
        for request_id in ids:
            await board.start(request_id)
        for number, (kind, target) in enumerate(messages):
            progress = {"progressToken": target, "progress": number}
            await board.take({
                "answer": {"id": target, "result": {"for": target}},
                "progress": {"method": "notifications/progress", "params": progress},
                "question": {"id": f"q{number}", **ASK_FORM},
                "log": {"method": "notifications/message", "params": {"level": "error", "data": "x"}},
                "news": {"method": "notifications/tools/list_changed"},
            }[kind])  # fmt: skip
        for request_id, running in board.running.items():
            is_answered = ("answer", request_id) in messages
            assert running.answer.done() is is_answered
            if is_answered:
                assert running.answer.result()["result"] == {"for": request_id}
            relay = board.relays[request_id]
            steps = [number for number, each in enumerate(messages) if each == ("progress", request_id) and number]
            assert [params["progress"] for _, params in relay.told if params["progress"]] == steps
            assert relay.asked == []
        kinds = [kind for kind, _ in messages]
        assert [each["error"]["code"] for each in board.said] == [-32601] * kinds.count("question")
        assert board.news.count("notifications/tools/list_changed") == kinds.count("news")


async def test_the_only_one_that_runs_is_told_and_asked() -> None:
    async with Board() as board:
        await board.start(1)
        await board.take({"method": "notifications/message", "params": {"level": "error", "data": "x"}})
        await board.take({"id": "q", **ASK_FORM})
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [method for method, _ in board.relays[1].told] == ["notifications/message"]
        assert [answer["id"] for answer in board.said] == ["q"]
        assert "result" in board.said[0]


async def test_what_is_about_a_task_belongs_to_who_waits_for_it() -> None:
    async with Board() as board:
        await board.start(1)
        await board.start(2)
        await board.running[2].talk.become_task("t-2")
        for task, asked in (("t-2", 1), ("t-3", 1), ("", 1), (None, 1)):
            meta = {"io.modelcontextprotocol/related-task": {"taskId": task}}
            await board.take({"id": f"q-{task}", **ASK_FORM, "params": {"message": "?", "_meta": meta}})
            await asyncio.sleep(0)
            assert len(board.relays[2].asked) == asked
        assert board.relays[1].asked == []


async def test_a_flood_of_questions_fails_only_the_one_it_is_about() -> None:
    async with Board() as board:
        await board.start(1)
        for number in range(20):
            await board.take({"id": number, **ASK_FORM})
        with pytest.raises(UpstreamFailure):
            await board.running[1].answer
        assert len(board.relays[1].asked) <= 16


async def test_a_stream_that_is_gone_fails_all() -> None:
    async with Board() as board:
        await board.start(1)
        await board.start(2)
        board.board.fail_all(UpstreamFailure("reset", "gone", reached=True))
        for running in board.running.values():
            with pytest.raises(UpstreamFailure, match="gone"):
                await running.answer
        assert not board.board.is_idle
    assert board.board.is_idle


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4),
    lambda children: st.lists(children, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "method", "params", "result", "error", "_meta"]), children, max_size=4),
).map(lambda value: orjson.dumps({"jsonrpc": "2.0", **value} if isinstance(value, dict) else value)))  # fmt: skip
async def test_no_message_whatever_breaks_more_than_itself(document: bytes) -> None:
    async with Board() as board:
        await board.start(1)
        with suppress(UpstreamFailure):
            await board.board.take(document)
        await board.take({"id": 1, "result": {}})
        assert board.running[1].answer.done()
