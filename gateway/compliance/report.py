"""What a report is asked for, and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from gateway.compliance.lines import Line
from gateway.compliance.packs import Pack
from gateway.compliance.sections import SECTIONS, Section
from governance.models import User


class CannotReport(Exception):
    """The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a report shall tell; `person` is whose data it is about, where its pack has such a section."""

    pack: Pack
    since: datetime
    until: datetime
    by: str
    at: datetime
    person: User | None = None

    def check(self) -> None:
        """Raises CannotReport."""
        if self.since >= self.until:
            raise CannotReport("The period ends before it begins.")
        if self.until > self.at:
            raise CannotReport("The period ends in the future.")

    def sections(self) -> Iterator[Section]:
        for key in self.pack.sections:
            if key != "person" or self.person is not None:
                yield SECTIONS[key]


@dataclass(frozen=True, slots=True)
class Made:
    """What became of it."""

    lines: dict[str, int]
    cut: tuple[str, ...]
    unsigned: int
    unreadable: int
    events: int


@dataclass(slots=True)
class Told:
    """A section as it was written: how many lines, and the first of them."""

    section: Section
    first: list[Line] = field(default_factory=list)
    count: int = 0
    is_cut: bool = False
