"""Lists of tables too large to count or to skip through: pages by the last key seen.

The address names the row a page begins after (`older_than`) or ends before (`newer_than`), so a page costs the same
wherever it lies and stays the same page while rows are added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest

OLDER_THAN, NEWER_THAN = "older_than", "newer_than"

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class KeysetPage(Generic[Row]):
    """Newest first, whichever way it was reached."""

    rows: Sequence[Row]
    has_newer: bool
    has_older: bool


def keyset_page(
    rows: QuerySet[Row], *, size: int, key: str = "pk", older_than: Any = None, newer_than: Any = None
) -> KeysetPage[Row]:
    """`key` is a unique column that grows with time. Going back to a page that is not full any more means page one."""
    if newer_than is not None:
        found = list(rows.filter(**{f"{key}__gt": newer_than}).order_by(key)[: size + 1])
        if len(found) >= size:
            return KeysetPage(found[:size][::-1], has_newer=len(found) > size, has_older=True)
        older_than = None
    rest = rows if older_than is None else rows.filter(**{f"{key}__lt": older_than})
    found = list(rest.order_by(f"-{key}")[: size + 1])
    return KeysetPage(found[:size], has_newer=older_than is not None, has_older=len(found) > size)


@dataclass(frozen=True, slots=True)
class KeysetPager:
    """What the list's footer shows; an empty link leads nowhere."""

    newest: str
    newer: str
    older: str
    per_page: int
    template_name: ClassVar[str] = "console/keyset_pages.html"

    def get_elided_page_range(self, _number: int) -> tuple[int, ...]:
        """There are no page numbers; the admin asks for them all the same."""
        return ()


class KeysetChangeList(ChangeList):
    """For a ModelAdmin ordered by one unique column, newest first (`ordering = ("-id",)`), and sortable by no other."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """The place in the list is no filter, and no filter's link keeps it."""
        for name in (OLDER_THAN, NEWER_THAN):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        page = keyset_page(
            self.queryset,
            size=self.list_per_page,
            key=self._key,
            older_than=self._place(request, OLDER_THAN),
            newer_than=self._place(request, NEWER_THAN),
        )
        self.result_list = page.rows
        self.result_count = self.full_result_count = len(page.rows)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True
        self.paginator = self._pager(page)

    @property
    def _key(self) -> str:
        ordering = self.model_admin.ordering
        assert ordering, "a list that pages by key says in which order"
        return str(ordering[0]).removeprefix("-")

    def _place(self, request: HttpRequest, name: str) -> Any:
        """None for nonsense: whoever edits the address gets the first page."""
        field: Any = self.lookup_opts.get_field(self._key)
        try:
            return field.to_python(request.GET.get(name) or None)
        except ValidationError:
            return None

    def _pager(self, page: KeysetPage[Any]) -> KeysetPager:
        rows = page.rows
        return KeysetPager(
            newest=self.get_query_string() if page.has_newer else "",
            newer=self.get_query_string({NEWER_THAN: self._key_of(rows[0])}) if rows and page.has_newer else "",
            older=self.get_query_string({OLDER_THAN: self._key_of(rows[-1])}) if page.has_older else "",
            per_page=self.list_per_page,
        )

    def _key_of(self, row: Model) -> str:
        return str(getattr(row, self._key))
