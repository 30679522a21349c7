"""Who acts on a screen, and what she is told when the database was too busy for it."""

from datetime import UTC, datetime
from typing import TypedDict

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from gateway.recorder import recorder
from governance.facts import Recorder
from governance.models import User


class By(TypedDict):
    """What the verbs of governance want to know of an act."""

    by: str
    record: Recorder


class Performed(By):
    now: datetime


def person_named(person: User) -> str:
    """As evidence names her."""
    return f"person:{person.email}"


def person_of(request: HttpRequest) -> str:
    """The acting human as evidence names her."""
    assert isinstance(request.user, User)
    return person_named(request.user)


def performed_by(request: HttpRequest) -> Performed:
    now, by = datetime.now(UTC), person_of(request)
    return Performed(by=by, record=recorder(by=by, now=now), now=now)


def busy_page(request: HttpRequest) -> HttpResponse:
    """The fence or the write lock was held too long, and all was rolled back."""
    context = {**admin.site.each_context(request), "title": "Nothing was saved"}
    return TemplateResponse(request, "admin/busy.html", context, status=503)
