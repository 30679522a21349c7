"""Searches of evidence that people keep: saved, shared with those who may search, dropped."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID, uuid4

from django.db.models import Q, QuerySet

from gateway.models import SavedSearch
from gateway.sealing import NotOurs, seal, unseal
from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.models import User

MOST: Final = 100
"""Of one person."""
PURPOSE: Final = "saved search"


def of(person: User, *, sees_all: bool) -> QuerySet[SavedSearch]:
    """Her own and, if she may search everything, what others share."""
    shown = Q(owner=person) | Q(is_shared=True) if sees_all else Q(owner=person)
    return SavedSearch.objects.filter(shown).select_related("owner")


def save(
    person: User, name: str, *, filters: Mapping[str, str], text: str, is_shared: bool, record: Recorder
) -> SavedSearch:
    """A name that she used before gets the new filters. Raises RuleBroken."""
    kept = SavedSearch.objects.filter(owner=person, name=name).first()
    if kept is None and SavedSearch.objects.filter(owner=person).count() >= MOST:
        raise RuleBroken("name", f"You keep {MOST} searches already; drop one first.")
    row = kept or SavedSearch(id=uuid4(), owner=person, name=name)
    row.filters, row.is_shared = dict(filters), is_shared
    row.sealed_text = seal(PURPOSE, text.encode(), bound_to=str(row.pk)) if text else b""
    row.save()
    told = {"name": name, "filters": dict(filters), "has_text": bool(text), "shared": is_shared}
    record(Fact("search.saved", f"saved_search:{row.pk}", told))
    return row


def text_of(row: SavedSearch) -> str:
    """Raises RuleBroken where it was sealed under another key of this installation."""
    sealed = bytes(row.sealed_text)
    try:
        return unseal(PURPOSE, sealed, bound_to=str(row.pk)).decode() if sealed else ""
    except NotOurs:
        raise RuleBroken("", "Its text cannot be opened any more: save the search again.") from None


def drop(person: User, search: UUID, *, record: Recorder) -> bool:
    """Her own only."""
    gone, _ = SavedSearch.objects.filter(owner=person, pk=search).delete()
    if gone:
        record(Fact("search.dropped", f"saved_search:{search}", {}))
    return bool(gone)
