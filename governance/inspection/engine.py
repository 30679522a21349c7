"""Looks at texts in every reading with every detector. Pure: no Django, no database, no network.

A long text is looked at in segments that overlap. Texts that belong together are joined before (`seams.py`).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Final

from governance.inspection.data_classes import NO_CLASSES, ClassTable
from governance.inspection.detector import Detector, Hit
from governance.inspection.detectors import table_of
from governance.inspection.findings import KINDS, Budget, Finding, Findings, Kind, Severity, limit, settled
from governance.inspection.masking import VaultIndex
from governance.inspection.scattered import Pieces
from governance.inspection.signals import TooManyMatches
from governance.inspection.skim import Skim
from governance.inspection.skimming import stirred, wanted
from governance.inspection.views import TooManyViews, View, views
from governance.inspection.walk import Leaf, TooMuch, leaves

SEGMENT: Final = 65_536
"""Characters that are decided at once."""
CONTEXT: Final = 16_384
"""Characters before and after a segment that are looked at with it: so long may a finding be."""
SHORT: Final = 64
"""Characters of a leaf that is remembered."""
DEFAULT_BUDGET: Final = Budget()
NOTHING_KNOWN: Final = VaultIndex(())


def inspect_text(
    text: str,
    *,
    path: str = "",
    name: str = "",
    kinds: frozenset[Kind] = KINDS,
    budget: Budget = DEFAULT_BUDGET,
    known: VaultIndex = NOTHING_KNOWN,
    classes: ClassTable = NO_CLASSES,
) -> Findings:
    """All that is noticed in one text; `name` is the key it stands under, `known` are values that are secret."""
    run = _Run(kinds, budget, known, classes)
    run.text(Leaf(path, name, text))
    return settled(run.found)


def inspect_value(
    value: Any,
    *,
    path: str = "",
    kinds: frozenset[Kind] = KINDS,
    budget: Budget = DEFAULT_BUDGET,
    known: VaultIndex = NOTHING_KNOWN,
    classes: ClassTable = NO_CLASSES,
    skim: Skim | None = None,
) -> Findings:
    """All that is noticed in the strings, numbers and keys of a JSON value. What `skim` remembers of it is not looked
    for once more."""
    stirring = stirred(value, kinds, budget=budget, known=known, classes=classes, skim=skim)
    if stirring is None:
        return Findings()
    run = _Run(stirring, budget, known, classes)
    names, contents = Pieces(), Pieces()
    try:
        for leaf in leaves(value, budget, path=path):
            (names if leaf.is_key else contents).add(leaf)
            run.text(leaf)
            if run.is_over:
                break
    except TooMuch as where:
        run.found.append(limit("limit.leaves", str(where)))
    if "secret" in stirring and not run.is_over:
        run.found += chain(names.found(), contents.found())
    return settled(run.found)


def may_hold(
    value: Any,
    *,
    kinds: frozenset[Kind],
    budget: Budget = DEFAULT_BUDGET,
    known: VaultIndex = NOTHING_KNOWN,
    classes: ClassTable = NO_CLASSES,
    skim: Skim,
) -> bool:
    """Whether `inspect_value` could find anything, by one pass over all that `skim` then remembers."""
    return stirred(value, kinds, budget=budget, known=known, classes=classes, skim=skim) is not None


@dataclass(slots=True)
class _Run:
    """One inspection and what is left of its budget."""

    kinds: frozenset[Kind]
    budget: Budget
    known: VaultIndex
    classes: ClassTable = NO_CLASSES
    found: list[Finding] = field(default_factory=list)
    characters: int = 0
    started: float = field(default_factory=time.thread_time)
    is_over: bool = False
    clean: set[tuple[str, str, bool]] = field(default_factory=set)
    """Short leaves in which nothing is: the keys of a table come again in each of its rows."""

    def text(self, leaf: Leaf) -> None:
        if len(leaf.text) > SHORT:
            self._whole(leaf)
            return
        again = (leaf.text, leaf.name, leaf.is_key)
        if again in self.clean:
            self.characters += len(leaf.text)
            return
        before = len(self.found)
        self._whole(leaf)
        if len(self.found) == before and not self.is_over:
            self.clean.add(again)

    def _whole(self, leaf: Leaf) -> None:
        size, start = len(leaf.text), 0
        while size - start >= SEGMENT + CONTEXT and not self.is_over:
            self._window(leaf, start, start + SEGMENT)
            start += SEGMENT
        if not self.is_over:
            self._window(leaf, start, None)

    def _window(self, leaf: Leaf, start: int, end: int | None) -> None:
        first = max(0, start - CONTEXT)
        window = leaf.text if not first and end is None else leaf.text[first : None if end is None else end + CONTEXT]
        self.segment(Leaf(leaf.path, leaf.name, window, leaf.is_key), first, start, end)

    def segment(self, leaf: Leaf, offset: int, start: int, end: int | None) -> None:
        """Takes what begins in start:end of the text of which the leaf holds the part from `offset` on."""
        self.characters += len(leaf.text)
        if self.is_over or self._spent(leaf.path, start):
            return
        for hit, view in self._hits(leaf, offset, start):
            first, last = (edge + offset for edge in view.raw_span(hit.start, hit.end))
            if first < start or (end is not None and first >= end):
                continue
            self.found.append(_finding(hit, leaf, first, last, view.name))
            if len(self.found) >= self.budget.findings:
                self._stop("limit.findings", leaf.path, last)
                return

    def _hits(self, leaf: Leaf, offset: int, start: int) -> Iterator[tuple[Hit, View]]:
        kinds: frozenset[Kind] = self.kinds | {"limit"}
        try:
            for view, signals in views(leaf.text, self._occurring):
                if self._spent(leaf.path, start):
                    return
                yield from ((hit, view) for hit in self._known(view))
                if self.classes and "data_class" in kinds:
                    is_over = partial(self._spent, leaf.path, start)
                    yield from ((hit, view) for hit in self.classes.look(view, leaf, is_over))
                for detector in self._asked(leaf, signals):
                    yield from ((hit, view) for hit in detector.look(view, leaf, signals) if hit.kind in kinds)
        except (TooManyViews, TooManyMatches) as over:
            rule = "limit.views" if isinstance(over, TooManyViews) else "limit.matches"
            self.found.append(limit(rule, leaf.path, start, offset + len(leaf.text)))

    def _occurring(self, view: View) -> frozenset[str]:
        return table_of(self.kinds).occurring(view.encoded)

    def _known(self, view: View) -> Iterator[Hit]:
        """Whatever else is looked for."""
        if self.known:
            for name, start, end in self.known.spans(view.text):
                yield Hit(self.known.rule, 1, "secret", Severity.CRITICAL, 1.0, start, end, name)

    def _asked(self, leaf: Leaf, signals: frozenset[str]) -> Iterator[Detector]:
        for detector in wanted(self.kinds):
            if not detector.names.isdisjoint(signals) or detector.by_text or detector.by_name(leaf.name):
                yield detector

    def _spent(self, path: str, start: int) -> bool:
        if self.characters > self.budget.characters:
            self._stop("limit.characters", path, start)
        elif time.thread_time() - self.started > self.budget.cpu_seconds:
            self._stop("limit.time", path, start)
        return self.is_over

    def _stop(self, rule: str, path: str, start: int) -> None:
        self.found.append(limit(rule, path, start, start))
        self.is_over = True


def _finding(hit: Hit, leaf: Leaf, start: int, end: int, view: str) -> Finding:
    return Finding(
        hit.rule,
        hit.version,
        hit.kind,
        hit.severity,
        hit.confidence,
        leaf.path,
        start,
        end,
        view,
        hit.subject,
        leaf.is_key,
    )
