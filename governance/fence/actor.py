"""Who answers for the change being made in this context; database triggers write it into evidence."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection, transaction

_actor: ContextVar[str] = ContextVar("actor", default="")


def current_actor() -> str:
    """The acting human or system; a change nobody announced is blamed on the operating-system user."""
    return _actor.get() or f"process:{operating_system_user()}"


def operating_system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


@contextmanager
def governed_change(*, by: str) -> Iterator[None]:
    """One transaction of governed writes, all recorded as done by `by`, e.g. `person:ana@example.com`.

    Nothing slow belongs inside: on SQLite it holds the only write lock there is.
    """
    token = _actor.set(by)
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('gatehouse.actor', %s, true)", [by])
            yield
    finally:
        _actor.reset(token)
