"""What a change does to reach, in sentences a security person reads. Pure, and bounded however much changes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from functools import cache

from governance.reach import Limit, Reach
from governance.snapshot import Snapshot, Tool

NAMED = 3
"""So many agents or tools are called by name; of more there is a count."""
ASKED = int(Limit.ASKED)
MOST_VERDICTS = 100_000
"""So many times a condition is evaluated for one comparison, each about 0.01 ms."""

Turn = tuple[frozenset[tuple[str, int]], frozenset[tuple[str, int]]]
"""What an agent held and holds no more in this way, and what it holds now: (tool id, limit) each."""


class Kind(Enum):
    """What happens to a hold on a tool. Value: how it reads of one agent, of several, and whether it widens."""

    GAIN = ("gains {}", "gain {}", True)
    GAIN_ASKED = ("gains {}, each call with a human's yes", "gain {}, each call with a human's yes", True)
    FREED = ("no longer needs a human's yes before {}", "no longer need a human's yes before {}", True)
    LESS_ASKED = ("needs a human's yes less often before {}", "need a human's yes less often before {}", True)
    EASED = (
        "may use {} without a condition that stood before",
        "may use {} without a condition that stood before",
        True,
    )
    ANY_TIME = ("may use {} at any time", "may use {} at any time", True)
    LOSS = ("loses {}", "lose {}", False)
    ASKED = ("newly needs a human's yes before {}", "newly need a human's yes before {}", False)
    SOMETIMES_ASKED = (
        "newly needs a human's yes in some cases before {}",
        "newly need a human's yes in some cases before {}",
        False,
    )
    RESTRICTED = ("may use {} only under a new condition", "may use {} only under a new condition", False)
    AT_TIMES = ("may use {} only at certain times", "may use {} only at certain times", False)

    @property
    def widens(self) -> bool:
        return self.value[2]


class Danger(IntEnum):
    """How much harm a tool can do: the admin's word, never the upstream's."""

    READS = 0
    WRITES = 1
    HIGH_RISK = 2

    @classmethod
    def of(cls, tool: Tool) -> "Danger":
        if tool.variables["risk"] == "high":
            return cls.HIGH_RISK
        return cls.READS if tool.variables["read_only"] else cls.WRITES


@dataclass(frozen=True, slots=True)
class Shift:
    """These agents, by name, are affected in the same way in all these tools."""

    kind: Kind
    agents: tuple[str, ...]
    tools: tuple[Tool, ...]

    @property
    def danger(self) -> Danger:
        """Of a widening; to lose something is harmless."""
        return max(map(Danger.of, self.tools)) if self.kind.widens else Danger.READS

    def __str__(self) -> str:
        """E.g. `3 agents gain ticket_delete`, `triage-bot loses 4 tools of helpdesk`."""
        one, several, _ = self.kind.value
        what = (one if len(self.agents) == 1 else several).format(_tools(self.tools))
        return f"{_few(self.agents, 'agents')} {what}{self._remark()}"

    def _remark(self) -> str:
        risky = sorted(tool.name for tool in self.tools if Danger.of(tool) is self.danger)
        if self.danger is Danger.READS:
            return ""
        if self.danger is Danger.WRITES:
            return " (can change data)" if len(risky) == len(self.tools) else f" ({len(risky)} can change data)"
        return " (high risk)" if len(self.tools) == 1 else f" (high risk: {_few(risky, 'tools')})"


@dataclass(frozen=True, slots=True)
class Difference:
    """The dangerous first, then what widens, then the most far-reaching."""

    shifts: tuple[Shift, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.shifts)

    def summary(self, *, shown: int = 3) -> str:
        """One line of plain text; empty when nobody gains or loses anything."""
        more = len(self.shifts) - shown
        told = "; ".join(map(str, self.shifts[:shown]))
        return f"{told}; and {more} more" if more > 0 else told


def difference(before: Snapshot, after: Snapshot, *, now: datetime) -> Difference:
    """Raises TooMuchToTell, within about a second."""
    was = Reach(before, now, most_verdicts=MOST_VERDICTS)
    becomes = Reach(after, now, known=was, most_verdicts=MOST_VERDICTS)
    groups: dict[Turn, list[str]] = defaultdict(list)
    for agent, name in {**_names(before), **_names(after)}.items():
        if becomes.differs_for(agent):
            held, holds = was.of(before.agents.get(agent)), becomes.of(after.agents.get(agent))
            groups[frozenset(held.items() - holds.items()), frozenset(holds.items() - held.items())].append(name)
    groups.pop((frozenset(), frozenset()), None)
    tools = {**was.tools, **becomes.tools}
    return Difference(tuple(sorted(_shifts(groups, tools), key=_weight)))


def _names(snapshot: Snapshot) -> dict[str, str]:
    return {agent.id: agent.name for agent in snapshot.agents.values()}


def _shifts(groups: dict[Turn, list[str]], tools: dict[str, Tool]) -> Iterator[Shift]:
    """Tools that change in the same way for the same agents are told in one sentence."""
    members = list(groups.values())
    touched: dict[tuple[Kind, str], list[int]] = defaultdict(list)
    for number, (held, holds) in enumerate(groups):
        limits = dict(held), dict(holds)
        for tool in limits[0].keys() | limits[1].keys():
            for kind in _kinds(limits[0].get(tool), limits[1].get(tool)):
                touched[kind, tool].append(number)
    together: dict[tuple[Kind, tuple[int, ...]], list[Tool]] = defaultdict(list)
    for (kind, tool), affected in touched.items():
        together[kind, tuple(affected)].append(tools[tool])
    for (kind, numbers), changed in together.items():
        agents = sorted(name for number in numbers for name in members[number])
        yield Shift(kind, tuple(agents), tuple(sorted(changed, key=lambda tool: (tool.connector.name, tool.name))))


@cache
def _kinds(was: int | None, becomes: int | None) -> tuple[Kind, ...]:
    """None: out of reach."""
    if becomes is None:
        return (Kind.LOSS,)
    if was is None:
        return (Kind.GAIN_ASKED if becomes & ASKED == ASKED else Kind.GAIN,)
    kinds = (
        _asking(was & ASKED, becomes & ASKED),
        _turned(was, becomes, Limit.SOMETIMES_DENIED, on=Kind.RESTRICTED, off=Kind.EASED),
        _turned(was, becomes, Limit.AT_TIMES, on=Kind.AT_TIMES, off=Kind.ANY_TIME),
    )
    return tuple(kind for kind in kinds if kind is not None)


def _asking(was: int, becomes: int) -> Kind | None:
    if becomes > was:
        return Kind.ASKED if becomes == ASKED else Kind.SOMETIMES_ASKED
    if becomes < was:
        return Kind.LESS_ASKED if becomes else Kind.FREED
    return None


def _turned(was: int, becomes: int, limit: Limit, *, on: Kind, off: Kind) -> Kind | None:
    if not (was ^ becomes) & limit:
        return None
    return on if becomes & limit else off


def _weight(shift: Shift) -> tuple[int, bool, int, str]:
    return -shift.danger, not shift.kind.widens, -len(shift.agents) * len(shift.tools), str(shift)


def _tools(tools: tuple[Tool, ...]) -> str:
    connectors = sorted({tool.connector.name for tool in tools})
    if len(tools) <= NAMED:
        return _few([tool.name for tool in tools], "tools")
    if len(connectors) <= NAMED:
        return f"{len(tools):,} tools of {_few(connectors, 'systems')}"
    return f"{len(tools):,} tools of {len(connectors):,} systems"


def _few(names: Iterable[str], noun: str) -> str:
    known = list(names)
    if len(known) > NAMED or (noun == "agents" and len(known) > 1):
        return f"{len(known):,} {noun}"
    *others, last = known
    return f"{', '.join(others)} and {last}" if others else last
