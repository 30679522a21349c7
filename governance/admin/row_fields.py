"""A list of small things as rows of a form: each row a form of its own, blank rows at the end to add more."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

MOST_ROWS = 100
BLANK = 2


class RowSet(forms.BaseFormSet):  # type: ignore[type-arg]
    def kept(self) -> Iterator[Any]:
        """Without those taken out and those never filled in."""
        for form in self.forms:
            if not form.data.get(form.add_prefix("DELETE")) and (form.has_changed() or not form.empty_permitted):
                yield form


class Row(forms.Form):
    """One thing of the list, which is an entry in plain values."""

    DELETE = forms.BooleanField(required=False, label="Take this out")

    @classmethod
    def initial_of(cls, entry: Mapping[str, Any]) -> dict[str, Any]:
        return dict(entry)

    def entry(self) -> dict[str, Any]:
        raise AssertionError("each row knows its own")


class RowsWidget(forms.Widget):
    """`results` are shown beside the rows that were filled in, as their attribute `result`."""

    results: Sequence[Any] = ()

    def __init__(self, row: type[Row], *, one: str, template: str) -> None:
        super().__init__()
        self._row = row
        self._context = {"one": one}
        self._template = template

    def _rows(self, *args: Any, extra: int, **options: Any) -> RowSet:
        made: Any = forms.formset_factory(
            self._row, formset=RowSet, extra=extra, max_num=MOST_ROWS, absolute_max=MOST_ROWS
        )
        rows: RowSet = made(*args, **options)
        return rows

    def value_from_datadict(self, data: Any, files: Any, name: str) -> RowSet | None:
        if f"{name}-TOTAL_FORMS" not in data:
            return None
        return self._rows(data, prefix=name, extra=BLANK)

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        rows = value if isinstance(value, RowSet) else self._unbound(value or [], name)
        for form, result in zip(rows.kept(), self.results, strict=False):
            form.result = result
        return render_to_string(self._template, {"formset": rows, "name": name, **self._context})

    def _unbound(self, entries: list[Mapping[str, Any]], name: str) -> RowSet:
        initial = [self._row.initial_of(entry) for entry in entries]
        return self._rows(prefix=name, initial=initial, extra=BLANK)


class RowsField(forms.Field):
    """A list of entries, in order; None where the request says nothing of them."""

    def __init__(self, row: type[Row], *, one: str, template: str = "admin/edit_rows.html", **options: Any) -> None:
        super().__init__(required=False, widget=RowsWidget(row, one=one, template=template), **options)
        self._one = one

    def clean(self, value: RowSet | None) -> list[dict[str, Any]] | None:
        if value is None:
            return None
        if not value.management_form.is_valid():
            raise ValidationError("The rows did not arrive whole. Load the page again.")
        kept = list(value.kept())
        validity = [form.is_valid() for form in kept]
        if not all(validity):
            raise ValidationError(f"Look below: one {self._one} cannot be used as it is.")
        return [form.entry() for form in kept]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return True
