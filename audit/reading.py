"""Reading evidence from a replica: for searches and pages of sessions, where it may be some seconds old.

Nothing is decided by what is read there, and nothing is written there. Only evidence is: rights, keys and all else that
may be taken back is always asked of the database that takes it back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from django.db import connections
from django.db.models import Model

REPLICA: Final = "replica"

_is_asked: ContextVar[bool] = ContextVar("reading from the replica", default=False)
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def from_replica(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Evidence that this function itself reads comes from the replica, if there is one: it must return rows, not
    queries."""

    @wraps(function)
    def reading(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        with _from_replica():
            return function(*args, **kwargs)

    return reading


@contextmanager
def _from_replica() -> Iterator[None]:
    before = _is_asked.set(True)
    try:
        yield
    finally:
        _is_asked.reset(before)


class EvidenceRouter:
    """For `DATABASE_ROUTERS`."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        if _is_asked.get() and model._meta.app_label == "audit" and REPLICA in connections.settings:
            return REPLICA
        return None

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return "default"

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == REPLICA else None
