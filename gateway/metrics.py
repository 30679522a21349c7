"""The numbers of one process: noted in memory for next to nothing, told to whoever asks for /metrics.

A call notes some fifteen, each by one append to a list; a heartbeat sorts and counts them together. A client library
would lock, look up and compare for each of them, at several times the cost; all else that it offers is the text format,
which is in exposition.py.

No label is ever a word that an agent chose: tools are those of the registry, methods those of methods.py, reasons those
of refusals.py. Should a label nevertheless take too many values, the rest is counted together.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from gateway.exposition import Family, Sample
from gateway.refusals import Refusal

SECONDS: Final = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
    *(120.0, 300.0, math.inf),
)
"""Upper bounds: those that the MCP conventions advise, and finer ones below for the gateway's own time."""
RECORDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, math.inf)
LABEL_SETS: Final = 5_000
OTHERS: Final = "(others)"
ROWLESS: Final = ("resource", "prompt")
"""Kinds of target whose names have no end; see governance.snapshot."""


class Spread:
    """A histogram: how many values fell below each bound, and their sum. `add` takes a value."""

    __slots__ = ("_bounds", "_counts", "_sum", "_waiting", "add")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)
        self._sum = 0.0
        self._waiting: list[float] = []
        self.add: Callable[[float], None] = self._waiting.append

    @property
    def is_used(self) -> bool:
        return self._counts[-1] > 0

    def fold(self) -> None:
        if not self._waiting:
            return
        values = sorted(self._waiting)
        self._waiting.clear()
        self._sum += sum(values)
        below = [bisect_right(values, bound) for bound in self._bounds]
        self._counts = [count + more for count, more in zip(self._counts, below, strict=True)]

    def samples(self, labels: dict[str, str]) -> Iterator[Sample]:
        for bound, count in zip(self._bounds, self._counts, strict=True):
            yield Sample("_bucket", labels | {"le": "+Inf" if bound == math.inf else repr(bound)}, count)
        yield Sample("_sum", labels, self._sum)
        yield Sample("_count", labels, self._counts[-1])


class Spreads:
    """A histogram for each set of labels."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...] = SECONDS) -> None:
        self._name, self._text, self._labels, self._bounds = name, text, labels, bounds
        self._spreads: dict[tuple[str, ...], Spread] = {}

    def of(self, *values: str) -> Spread:
        found = self._spreads.get(values)
        if found is None:
            values = values if len(self._spreads) < LABEL_SETS else (OTHERS,) * len(values)
            found = self._spreads.setdefault(values, Spread(self._bounds))
        return found

    def fold(self) -> None:
        for spread in self._spreads.values():
            spread.fold()

    def family(self) -> Family:
        samples = [
            sample
            for values, spread in self._spreads.items()
            if spread.is_used
            for sample in spread.samples(dict(zip(self._labels, values, strict=True)))
        ]
        return Family(self._name, "histogram", self._text, samples)


class Counts:
    """A counter for each set of labels; `add` takes the labels of one more. One that is called `tool` is bounded."""

    __slots__ = ("_counts", "_labels", "_name", "_text", "_waiting", "add")

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._waiting: list[tuple[str, ...]] = []
        self.add: Callable[[tuple[str, ...]], None] = self._waiting.append

    def fold(self) -> None:
        more = Counter(self._waiting)
        self._waiting.clear()
        for values, count in more.items():
            bounded = tuple(map(_bounded, self._labels, values))
            is_known = bounded in self._counts or len(self._counts) < LABEL_SETS
            self._counts[bounded if is_known else (OTHERS,) * len(bounded)] += count

    def family(self) -> Family:
        samples = [
            Sample("", dict(zip(self._labels, values, strict=True)), count) for values, count in self._counts.items()
        ]
        return Family(self._name, "counter", self._text, samples)


def _bounded(label: str, value: str) -> str:
    """A tool's name; of a resource or prompt only its kind, because agents choose its name."""
    kind, separator, _ = value.partition(":")
    return f"({kind})" if label == "tool" and separator and kind in ROWLESS else value


class Metrics:
    """All that a gateway process counts."""

    def __init__(self) -> None:
        self.calls = Counts(
            "gatehouse_calls_total",
            "Calls whose outcome is in the evidence, by the decision and the outcome that stand there.",
            ("connector", "tool", "decision", "outcome"),
        )
        self.refusals = Counts(
            "gatehouse_refusals_total",
            "Requests that were refused before anything was sent, recorded singly or in sums.",
            ("connector", "tool", "reason"),
        )
        self.limit_refusals = Counts(
            "gatehouse_limit_refusals_total", "Calls that a rate limit refused.", ("limit", "used_up")
        )
        self.evidence_unavailable = Counts(
            "gatehouse_evidence_unavailable_total",
            "Records that are not known to be durable: such a call is not made, or its result is not told.",
            ("kind",),
        )
        self.operations = Spreads(
            "mcp_server_operation_duration_seconds",
            "From a message that was read to its answer that was sent.",
            ("mcp_method_name",),
        )
        self.gateway = Spreads(
            "gatehouse_gateway_duration_seconds",
            "The same without the time that passed at the upstream: what the gateway adds.",
            ("mcp_method_name",),
        )
        self.upstream = Spreads(
            "mcp_client_operation_duration_seconds",
            "At the upstream, with what it asked of the caller's side meanwhile.",
            ("mcp_method_name", "connector"),
        )
        self.stages = Spreads("gatehouse_stage_duration_seconds", "Each stage of a governed request.", ("stage",))
        self.detectors = Spreads(
            "gatehouse_detector_duration_seconds",
            "Questions to detectors of somebody else's, by what came of them.",
            ("detector", "outcome"),
        )
        self.groups = Spreads("gatehouse_commit_group_size", "Records committed together.", (), RECORDS)
        self.commits = Spreads("gatehouse_commit_duration_seconds", "One commit of a group of records.", ())
        self.builds = Spreads("gatehouse_snapshot_build_duration_seconds", "Building a snapshot.", ())

    def count_refusal(self, refusal: Refusal) -> None:
        facts = refusal.facts
        self.refusals.add((facts.get("connector", ""), facts.get("tool", ""), refusal.reason.code))
        if "limit" in facts:
            self.limit_refusals.add((facts["limit"], facts["used_up"]))

    def fold(self) -> None:
        """Works in what came since the last time: once for many it costs a fraction. Each heartbeat does it."""
        for instrument in vars(self).values():
            instrument.fold()

    def families(self) -> list[Family]:
        self.fold()
        return [instrument.family() for instrument in vars(self).values()]


METRICS: Final = Metrics()
"""Numbers are a process's, like its memory: whoever counts need not be handed them."""
