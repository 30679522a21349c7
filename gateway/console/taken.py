"""Tables of console pages as CSV files, as the admin's lists have them."""

import csv
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponseBase

from gateway import actions
from gateway.console.acting import person_of
from gateway.console.exports import MOST_ROWS
from gateway.console.pages import ConsolePage
from gateway.hostile_text import visible
from gateway.streams import Echo, harmless, streamed
from governance.facts import Fact


class TakenPage(ConsolePage):
    """A page with a table that may be taken along by whoever sees it; a POST, because that it was taken is recorded."""

    http_method_names = ("get", "post", "head", "options")
    taken_as: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    @abstractmethod
    def lines(self) -> Iterable[Sequence[str]]:
        """All rows of the table, as text, in the order of `columns`."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        fact = Fact("list.exported", f"list:{self.taken_as}", {"filters": request.META["QUERY_STRING"][:1000]})
        lines = self.lines()
        actions.act(lambda record, _: record(fact), by=person_of(request))
        return streamed(request, _csv(self.columns, lines), filename=f"{self.taken_as}.csv")


def _csv(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    writer = csv.writer(Echo())
    for line in chain([columns], islice(lines, MOST_ROWS)):
        yield writer.writerow([harmless(visible(text)) for text in line])
