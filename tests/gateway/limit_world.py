"""Calls and limits for the tests of rate limits."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

from gateway.call import Call, Caller, Frame
from governance.snapshot import Agent, RateLimit, Snapshot, Tool
from tests import factories as make

NAMES = UUID(int=7)


def limit(name: str = "few", **fields: Any) -> RateLimit:
    defaults: dict[str, Any] = {
        "per": "agent",
        "tools": ("*",),
        "window_seconds": 60,
        "max_requests": None,
        "max_bytes": None,
        "max_running": None,
    }
    return RateLimit(id=str(uuid5(NAMES, name)), name=name, **(defaults | fields))


def call(*limits: RateLimit, agent: Agent | None = None, tool: Tool | None = None, arguments: bytes = b"{}") -> Call:
    asking = agent or make.agent()
    snapshot: Snapshot = replace(make.snapshot(), limits=limits)
    return Call(
        id=UUID(int=1),
        frame=Frame(make.KEY, "support", "ticket_get", {}, "2025-11-25"),
        caller=Caller(asking, make.credential(asking), snapshot),
        tool=tool or make.tool(),
        candidates=(),
        arguments={},
        params={},
        recorded_arguments=arguments,
        arguments_digest="",
    )
