"""What happened to one row, from evidence: who changed what and when, in words and with names instead of ids."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.apps import apps
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from audit.models import EventRow, Mention
from gateway.console.keyset import NEWER_THAN, OLDER_THAN, keyset_page
from gateway.hostile_text import visible

PER_PAGE = 50
LONGEST_VALUE = 300
VERBS = {"insert": "created", "update": "changed", "delete": "deleted", "truncate": "emptied"}
Names = Mapping[tuple[type[models.Model], str], str]
"""(model, id without dashes) -> what the row is called today."""
JOINED = {"insert": "added", "delete": "taken off"}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """Empty texts where there was, or is, nothing."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One changed row; `what` says which, `verb` what became of it."""

    at: datetime
    actor: str
    what: str
    verb: str
    fields: tuple[FieldChange, ...]
    link: str


@dataclass(frozen=True, slots=True)
class _Told:
    """The evidence of one change, opened."""

    event: EventRow
    model: type[models.Model] | None
    operation: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def page(request: HttpRequest, admin: Any, row: Any) -> HttpResponse:
    """Newest first, by keyset, however long the history is."""
    keys = [part.pk.hex for part in admin.history_of(row)]
    mentions = Mention.objects.filter(object_id__in=keys)
    found = keyset_page(mentions, size=PER_PAGE, key="id", **_place(request))
    context = {
        **admin.admin_site.each_context(request),
        "title": f"History of {row}",
        "opts": admin.opts,
        "original": row,
        "object": row,
        "entries": entries([mention.event_id for mention in found.rows], may_open=_may_see_events(request)),
        "newer": f"?{NEWER_THAN}={found.rows[0].pk}" if found.rows and found.has_newer else "",
        "older": f"?{OLDER_THAN}={found.rows[-1].pk}" if found.rows and found.has_older else "",
    }
    return TemplateResponse(request, "admin/row_history.html", context)


def _place(request: HttpRequest) -> dict[str, int]:
    given = {OLDER_THAN: request.GET.get(OLDER_THAN, ""), NEWER_THAN: request.GET.get(NEWER_THAN, "")}
    return {name: int(text) for name, text in given.items() if text.isascii() and text.isdigit() and len(text) < 18}


def _may_see_events(request: HttpRequest) -> bool:
    return request.user.has_perm("audit.view_eventrow")


def entries(event_ids: Iterable[UUID], *, may_open: bool) -> list[Entry]:
    """In the given order; an event named twice is told once."""
    ids = list(dict.fromkeys(event_ids))
    events = EventRow.objects.in_bulk(ids)
    told = [_told(events[i]) for i in ids if i in events]
    names = _names(told)
    return [_entry(each, names, may_open) for each in told]


def _told(event: EventRow) -> _Told:
    details = orjson.loads(bytes(event.header))["details"]
    model = _models_by_table().get(details["relation"])
    return _Told(event, model, details["operation"], details["before"] or {}, details["after"] or {})


def _models_by_table() -> dict[str, type[models.Model]]:
    return {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}


def _entry(told: _Told, names: Names, may_open: bool) -> Entry:
    link = reverse("admin:audit_eventrow_change", args=[told.event.pk]) if may_open else ""
    is_link = told.model is not None and bool(told.model._meta.auto_created)
    verb = (JOINED if is_link else VERBS).get(told.operation, told.operation)
    fields = () if is_link or told.model is None else tuple(_fields(told, told.model, names))
    return Entry(told.event.at, visible(told.event.actor), visible(_what(told, names)), verb, fields, link)


def _what(told: _Told, names: Names) -> str:
    """`role support-agent`, or for a link `agent triage-bot – role support-agent`."""
    row = told.after or told.before
    if told.model is None:
        return "row of a table this version does not know"
    if told.model._meta.auto_created:
        ends = [end for end in _columns(told.model) if end.is_relation]
        return " – ".join(
            f"{_noun(field.related_model)} {_shown(field, row.get(field.column), names)}" for field in ends
        )
    label = next((row[key] for key in ("name", "email", "hint", "number") if row.get(key)), str(row.get("id", ""))[:8])
    return f"{_noun(told.model)} {label}"


def _columns(model: type[models.Model]) -> Iterator[Any]:
    yield from model._meta.concrete_fields


def _noun(model: Any) -> str:
    return str(model._meta.verbose_name)


def _fields(told: _Told, model: type[models.Model], names: Names) -> Iterator[FieldChange]:
    for field in _columns(model):
        before, after = told.before.get(field.column), told.after.get(field.column)
        if not field.primary_key and before != after:
            change = FieldChange(_label(field), _shown(field, before, names), _shown(field, after, names))
            if change.before != change.after:
                yield change


def _label(field: Any) -> str:
    name = str(field.verbose_name)
    return name[:1].upper() + name[1:]


def _shown(field: Any, value: Any, names: Names) -> str:
    return visible(_text(field, value, names))[:LONGEST_VALUE]


def _text(field: Any, value: Any, names: Names) -> str:
    """As a person writes it. SQLite keeps truth values as numbers and JSON as text."""
    if value is None or value == "":
        return ""
    if field.is_relation:
        return names.get((field.related_model, _hex(value)), f"{_hex(value)[:8]}… (deleted)")
    if isinstance(field, models.BooleanField):
        return "yes" if value else "no"
    if isinstance(field, models.JSONField):
        return _json_text(value)
    return str(dict(field.flatchoices).get(value, value))


def _json_text(value: Any) -> str:
    content = orjson.loads(value) if isinstance(value, str) else value
    if isinstance(content, list) and all(isinstance(item, str) for item in content):
        return ", ".join(content)
    return orjson.dumps(content).decode() if content else ""


def _hex(value: Any) -> str:
    return str(value).replace("-", "")


def _names(told: Iterable[_Told]) -> Names:
    """Of every row that the changes refer to and that is still there: one query a model."""
    wanted: dict[type[models.Model], set[str]] = defaultdict(set)
    for each in told:
        for field in _columns(each.model) if each.model else ():
            for row in (each.before, each.after):
                if field.is_relation and row.get(field.column):
                    wanted[field.related_model].add(str(row[field.column]))
    rows = ((model, row) for model, keys in wanted.items() for row in model._default_manager.filter(pk__in=keys))
    return {(model, _hex(row.pk)): str(row) for model, row in rows}
