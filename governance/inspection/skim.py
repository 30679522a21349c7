"""One look at all texts of a value, kept for whoever asks the same value next. Loads no engine."""

from dataclasses import dataclass, field
from typing import Any, Final

from governance.inspection.findings import Kind

NOT_YET: Final = object()


@dataclass(slots=True, eq=False)
class Skim:
    """Answers for this very object, of which nobody may change anything meanwhile, and for these kinds; with budgets
    that differ only in how many findings they allow. Threads may look at the same time: they see the same."""

    value: Any = field(repr=False)
    kinds: frozenset[Kind]
    seen: Any = field(default=NOT_YET, repr=False)
    """By `skimming`, once somebody has asked."""
    stirring: frozenset[Kind] = frozenset()
    """Then: what of these kinds may be there."""

    def rules_out(self, value: Any, kinds: frozenset[Kind]) -> bool:
        """Whether it is known by now that nothing of these kinds is there."""
        return self.seen is not NOT_YET and self.is_for(value, kinds) and self.stirring.isdisjoint(kinds)

    def is_for(self, value: Any, kinds: frozenset[Kind]) -> bool:
        return value is self.value and kinds <= self.kinds
