"""What stands between an agent and a tool, as a sign with words: colour and shape alone tell nothing."""

from collections.abc import Container, Iterable
from dataclasses import replace
from datetime import datetime
from enum import Enum

from governance.reach import Holds, Limit, Reach
from governance.snapshot import Agent, Bundle, Snapshot, Tool, patterns_of


class Verdict(Enum):
    """Value: sign, tone of the building blocks, words for screens and screen readers."""

    YES = ("✓", "good", "may call it")
    LIMITED = ("◐", "info", "may call it in some cases")
    AT_TIMES = ("◷", "info", "may call it at certain times")
    ASKED = ("?", "warn", "needs a human's yes each time")
    STOPPED = ("✕", "bad", "has it, but is stopped")
    NO = ("·", "", "cannot reach it")

    @property
    def sign(self) -> str:
        return self.value[0]

    @property
    def tone(self) -> str:
        return self.value[1]

    @property
    def words(self) -> str:
        return self.value[2]


def reach_of_tools(tools: Iterable[Tool], snapshot: Snapshot, *, at: datetime) -> Reach:
    """Who reaches these tools and patterns: as in the snapshot, but nothing is worked out for thousands of others."""
    chosen = {tool.id for tool in tools}

    def narrowed(bundle: Bundle) -> Bundle:
        kept = {name: tool for name, tool in bundle.tools.items() if tool.id in chosen}
        return replace(bundle, tools=kept, selections=bundle.selections if _selects(bundle, chosen) else ())

    bundles = {
        i: narrowed(b) for i, b in snapshot.bundles.items() if not chosen.isdisjoint(b.tool_ids) or _selects(b, chosen)
    }
    return Reach(replace(snapshot, bundles=bundles), at)


def _selects(bundle: Bundle, patterns: Container[str]) -> bool:
    return any(target.id in patterns for target in patterns_of(bundle))


def verdict_of(agent: Agent, tool: Tool, holds: Holds, snapshot: Snapshot) -> Verdict:
    """From now on, whatever the hour and the arguments; explain answers for one call at one moment."""
    limit = holds.get(tool.id)
    if limit is None:
        return Verdict.STOPPED if gives(agent, tool, snapshot) else Verdict.NO
    return _OF_LIMITS[limit]


def _of_limits(limits: Limit) -> Verdict:
    if Limit.EVERY_TIME in limits:
        return Verdict.ASKED
    if limits & (Limit.SOMETIMES_ASKED | Limit.SOMETIMES_DENIED):
        return Verdict.LIMITED
    return Verdict.AT_TIMES if Limit.AT_TIMES in limits else Verdict.YES


_OF_LIMITS = {bits: _of_limits(Limit(bits)) for bits in range(Limit.EVERYTHING + 1)}
"""By number, because matrices ask it for each cell."""


def gives(agent: Agent, tool: Tool, snapshot: Snapshot) -> bool:
    """Does a role of the agent give a published bundle with this tool, leaving aside all that may stop it?"""
    held = {bundle_id for role in agent.roles for bundle_id in role.bundle_ids}
    bundles = [snapshot.bundles[bundle_id] for bundle_id in held if bundle_id in snapshot.bundles]
    return any(tool.id in bundle.tool_ids or _selects(bundle, (tool.id,)) for bundle in bundles)
