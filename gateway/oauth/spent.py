"""Which signed statements were taken already: one table for all processes, so that nobody shows one twice."""

import hashlib
from datetime import datetime
from typing import Final

from django.db import connection

from gateway.models import SpentAssertion
from gateway.oauth.assertions import NotBelieved, Statement

SWEPT_AT_ONCE: Final = 5_000


def spend(statement: Statement) -> None:
    """In the transaction of what it is taken for: of two at once, the second waits for the first, and is refused if
    that was committed. Raises NotBelieved. One without an id has none to remember, where that is allowed."""
    if not statement.id:
        return
    digest = _digest(statement)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {SpentAssertion._meta.db_table} (digest, keep_until) VALUES (%s, %s)"  # noqa: S608
            " ON CONFLICT (digest) DO NOTHING",
            [digest, statement.keep_until],
        )
        if not cursor.rowcount:
            raise NotBelieved("replayed", "It was shown before.")


def forget_spent(now: datetime) -> int:
    """What would be refused by its time anyway. Safe to run anywhere, at any time."""
    over = SpentAssertion.objects.filter(keep_until__lt=now).values_list("digest", flat=True)[:SWEPT_AT_ONCE]
    return SpentAssertion.objects.filter(digest__in=list(over)).delete()[0]


def _digest(statement: Statement) -> bytes:
    """The length stands between the two, so that no issuer can write another's ids."""
    issuer = statement.issuer.encode()
    return hashlib.sha256(b"%d:%b:%b" % (len(issuer), issuer, statement.id.encode())).digest()
