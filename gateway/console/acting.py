"""Who acts on a screen, and what she is told when the database was too busy for it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypedDict, TypeVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from gateway.actions import act
from gateway.recorder import recorder
from governance.facts import Recorder
from governance.fence.moved import Moved
from governance.models import User

Result = TypeVar("Result")


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


def act_in_epoch(work: Callable[[Recorder, datetime], Result], *, by: str) -> tuple[Result, int]:
    """As `gateway.actions.act`, and the epoch since which it is in force: 0 if nothing governed was changed."""

    def watched(record: Recorder, now: datetime) -> tuple[Result, Moved]:
        moved = Moved()
        moved.begin()
        result = work(record, now)
        moved.end()
        return result, moved

    result, moved = act(watched, by=by)
    return result, moved.epoch()


def since(epoch: int) -> str:
    """To follow what was done; empty when nothing governed was changed."""
    return f" In force since epoch {epoch:,}." if epoch else ""


def busy_page(request: HttpRequest) -> HttpResponse:
    """The fence or the write lock was held too long, and all was rolled back."""
    context = {**admin.site.each_context(request), "title": "Nothing was saved"}
    return TemplateResponse(request, "admin/busy.html", context, status=503)
