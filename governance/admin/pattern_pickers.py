"""Choosing the resources and prompts of a bundle by pattern: only their systems know which there are."""

from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from governance.admin.pickers import Selection, check_selection, connector_names, lines_of
from governance.models import Connector

ALLOW, DENY = "allow", "deny"


class PatternsWidget(forms.Widget):
    """Two boxes for each system: what is given, and what never; below, what that takes in of what it last said."""

    def __init__(self, *, kind: str, example: str, never: str) -> None:
        super().__init__()
        self._kind, self._example, self._never = kind, example, never

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Selection]:
        boxes = (f"{name}-{ALLOW}-", f"{name}-{DENY}-")
        connectors = {key.removeprefix(box) for key in data for box in boxes if key.startswith(box)}
        selections = [Selection(each, *(_patterns(data.get(f"{box}{each}")) for box in boxes)) for each in connectors]
        given = (selection for selection in selections if selection.allow or selection.deny)
        return sorted(given, key=lambda selection: selection.connector_id)

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = {selection.connector_id: selection for selection in value or ()}
        groups = [_group(connector, chosen.get(str(connector.pk))) for connector in Connector.objects.order_by("name")]
        context = {
            "name": name,
            "groups": groups,
            "example": self._example,
            "never": self._never,
            "matching": reverse("matching_offers", args=[self._kind]),
        }
        return render_to_string("admin/pick_patterns.html", context)


def _patterns(text: str | None) -> tuple[str, ...]:
    return tuple(sorted(set(lines_of(text))))


def _group(connector: Connector, selection: Selection | None) -> dict[str, Any]:
    return {
        "id": str(connector.pk),
        "title": str(connector),
        "allow": "\n".join(selection.allow) if selection else "",
        "deny": "\n".join(selection.deny) if selection else "",
        "count": len(selection.allow) if selection else 0,
    }


class PatternsField(forms.Field):
    """A list of Selections."""

    def __init__(self, *, kind: str, example: str, never: str, **options: Any) -> None:
        super().__init__(required=False, widget=PatternsWidget(kind=kind, example=example, never=never), **options)

    def clean(self, value: list[Selection]) -> list[Selection]:
        known = connector_names()
        for selection in value:
            check_selection(selection, known)
        return value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(initial or ()) != set(data or ())
