"""How large the database is, and how large it may become: its own disk is out of our sight, a bound is not."""

from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import connection

FULL_AT: Final = 0.9
_SIZE: Final = {
    "postgresql": "SELECT pg_database_size(current_database())",
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
}


@dataclass(frozen=True, slots=True)
class DatabaseSize:
    """In bytes; `limit` is 0 where none is configured."""

    bytes: int = 0
    limit: int = 0

    @property
    def is_nearly_full(self) -> bool:
        return 0 < self.limit * FULL_AT < self.bytes


def database_size() -> DatabaseSize:
    with connection.cursor() as cursor:
        cursor.execute(_SIZE[connection.vendor])
        (found,) = cursor.fetchone()
    return DatabaseSize(int(found), settings.DATABASE_LIMIT_GIB * 2**30)
