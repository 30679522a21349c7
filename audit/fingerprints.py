"""A set of 64-bit numbers in one column, and the question whether it holds all of some others.

PostgreSQL keeps them as an array under a GIN index, where a number costs a few bytes for each row that holds it. SQLite
has a table beside it for that, kept by triggers.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from django.db import models
from django.db.models.lookups import Lookup

SIDE_TABLE = "audit_search_word"


class Fingerprints(models.Field):  # type: ignore[type-arg]
    """Written once with its row, and never read back: it is only asked."""

    def db_type(self, connection: Any) -> str:
        return "bigint[]" if connection.vendor == "postgresql" else "text"

    def get_db_prep_value(self, value: Sequence[int], connection: Any, prepared: bool = False) -> Any:
        return list(value) if connection.vendor == "postgresql" else orjson.dumps(list(value)).decode()


@Fingerprints.register_lookup
class Holds(Lookup):
    """`fingerprints__holds=[a, b]`: both. Nothing but an index answers it."""

    lookup_name = "holds"
    prepare_rhs = False

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = self.process_lhs(compiler, connection)
        return f"{column} @> %s::bigint[]", (*params, list(self.rhs))

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        event_id = f'{connection.ops.quote_name(self.lhs.alias)}."event_id"'
        each = f"{event_id} IN (SELECT event_id FROM {SIDE_TABLE} WHERE fingerprint = %s)"  # noqa: S608
        return f"({' AND '.join([each] * len(self.rhs))})", tuple(self.rhs)
