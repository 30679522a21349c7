"""In which epoch a governed transaction took effect, for whoever made it."""

from django.db import connection

from governance.models import Advance, Epoch


class Moved:
    """`begin()` and `end()` inside the transaction, around all its work; `epoch()` after its COMMIT.

    On PostgreSQL the epoch is given out inside COMMIT, so the transaction is looked up by its number; SQLite's writer
    is alone and moves it at once.
    """

    def __init__(self) -> None:
        self._before = self._after = self._txid = 0

    def begin(self) -> None:
        self._before = _number()

    def end(self) -> None:
        if connection.vendor != "postgresql":
            self._after = _number()
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id_if_assigned()::text::bigint")
            self._txid = cursor.fetchone()[0] or 0

    def epoch(self) -> int:
        """0 if nothing governed was changed."""
        if self._txid:
            return Advance.objects.filter(txid=self._txid).values_list("epoch", flat=True).first() or 0
        return self._after if self._after > self._before else 0


def _number() -> int:
    return Epoch.objects.values_list("number", flat=True).get(id=1)
