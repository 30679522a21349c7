"""When and from where credentials were last shown: noted in memory, written now and then, far from any call.

A call pays one look into a dictionary. What a process noted and could not write before it ended is lost; nobody is
allowed anything by it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from governance.models import AgentCredential, CredentialUse

GRAIN: Final = timedelta(minutes=1)
MOST_NOTED: Final = 10_000
"""Of one process, between two writes."""
LONGEST_ADDRESS, LONGEST_CLIENT = 45, 200


@dataclass(frozen=True, slots=True)
class Use:
    at: datetime
    address: str
    client: str


class CredentialUses:
    """Of one process."""

    def __init__(self) -> None:
        self._written: dict[str, datetime] = {}
        self._noted: dict[str, Use] = {}

    def is_due(self, credential_id: str, at: datetime) -> bool:
        """Of each credential once a minute; more often there is nothing to note."""
        last = self._written.get(credential_id)
        return credential_id not in self._noted and (last is None or at - last >= GRAIN)

    def note(self, credential_id: str, *, at: datetime, address: str, client: str) -> None:
        if len(self._noted) < MOST_NOTED:
            self._noted[credential_id] = Use(at, address, client)

    def take(self) -> dict[str, Use]:
        """What is to be written now. Each was noted, so it need not be for a minute."""
        taken, self._noted = self._noted, {}
        if len(self._written) > MOST_NOTED:
            self._written.clear()
        self._written.update((credential_id, use.at) for credential_id, use in taken.items())
        return taken


def write(uses: dict[str, Use]) -> None:
    """In one short transaction; a later time wins, whichever process writes last. Raises django.db.Error."""
    if not uses:
        return
    known = AgentCredential.objects.filter(pk__in=[UUID(each) for each in uses]).values_list("pk", flat=True)
    rows = [_row(pk, uses[pk.hex]) for pk in sorted(known)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(_UPSERT, rows)


def used_now(credential: AgentCredential, *, at: datetime, address: str, client: str = "") -> None:
    """For whoever sees a credential seldom, outside the data path: where a token is asked for with it."""
    write({credential.pk.hex: Use(at, address, client)})


def _row(pk: UUID, use: Use) -> tuple[Any, ...]:
    key = CredentialUse._meta.pk.get_db_prep_value(pk, connection)
    at = connection.ops.adapt_datetimefield_value(use.at)
    client = "".join(filter(str.isprintable, use.client))[:LONGEST_CLIENT]
    return key, at, at, use.address[:LONGEST_ADDRESS], client


_UPSERT: Final = f"""
INSERT INTO {CredentialUse._meta.db_table}
 (credential_id, first_used_at, last_used_at, last_used_from, last_client) VALUES (%s, %s, %s, %s, %s)
 ON CONFLICT (credential_id) DO UPDATE SET last_used_at = excluded.last_used_at,
 last_used_from = excluded.last_used_from, last_client = excluded.last_client
 WHERE excluded.last_used_at > {CredentialUse._meta.db_table}.last_used_at
"""  # noqa: S608  (names of our own)
