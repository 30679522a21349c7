"""Idempotency-Key: a write that is repeated, because its answer got lost, is not done twice.

The key is reserved before the act, in a transaction of its own, so that two at once do not both act. The answer is
kept in the act's transaction: both commit or neither. A reservation without an answer is therefore an act that runs
or that never committed; when it is old enough to be dead, the next request with the key takes it over, and should the
first one live after all, it finds its reservation gone and rolls back.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.bodies import encoded
from gateway.api.problems import Problem
from gateway.models import IDEMPOTENCY_LIFETIME, IdempotentAnswer
from governance import canonical

DEAD_AFTER = timedelta(minutes=2)
KEPT_HEADERS = ("ETag", "Location")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Reservation:
    """`earlier` is the answer that the request has got already; without a key there is no row."""

    row: IdempotentAnswer | None = None
    earlier: Response | None = None

    def keep(self, response: Response, *, shown_once: tuple[str, ...]) -> None:
        """Inside the act's transaction. What is shown once is not kept, and null when the answer is repeated."""
        if self.row is None:
            return
        data = response.data
        body = encoded({**data, **dict.fromkeys(shown_once)} if shown_once else data) if data is not None else b""
        headers = {name: response[name] for name in KEPT_HEADERS if name in response}
        if not _mine(self.row).update(status=response.status_code, body=body, headers=headers):
            raise _in_progress()


@contextmanager
def reserved(request: Request) -> Iterator[Reservation]:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        yield Reservation()
        return
    if not _KEY.fullmatch(key):
        raise Problem("invalid_header", "Idempotency-Key: use 1 to 255 visible ASCII characters, such as a UUID.")
    reservation = _reserve(key, request, now=datetime.now(UTC))
    try:
        yield reservation
    finally:
        if reservation.row is not None:
            _mine(reservation.row).delete()


def _reserve(key: str, request: Request, *, now: datetime) -> Reservation:
    """Raises Problem for another request under the same key, and for the same one while it runs."""
    digest, person_id = _digest(request), request.user.pk
    IdempotentAnswer.objects.filter(person_id=person_id, key=key, created_at__lt=now - IDEMPOTENCY_LIFETIME).delete()
    row, is_new = IdempotentAnswer.objects.get_or_create(
        person_id=person_id, key=key, defaults={"request_digest": digest}
    )
    if is_new:
        return Reservation(row)
    if bytes(row.request_digest) != digest:
        raise Problem("idempotency_key_reused", "Use a new key for a new request; this one belongs to another.")
    if row.status:
        return Reservation(earlier=_repeated(row))
    return Reservation(_taken_over(row, now=now))


def _taken_over(row: IdempotentAnswer, *, now: datetime) -> IdempotentAnswer:
    if now - row.created_at < DEAD_AFTER or not _mine(row).update(created_at=now):
        raise _in_progress()
    row.created_at = now
    return row


def _mine(row: IdempotentAnswer) -> Any:
    """Empty once it is answered, or somebody else's."""
    return IdempotentAnswer.objects.filter(pk=row.pk, created_at=row.created_at, status=0)


def _repeated(row: IdempotentAnswer) -> Response:
    body = bytes(row.body)
    headers: Mapping[str, str] = {**row.headers, "Idempotency-Replayed": "true"}
    return Response(orjson.loads(body) if body else None, status=row.status, headers=headers)


def _digest(request: Request) -> bytes:
    parts = (request.method, request.get_full_path())
    return canonical.digest(b"gatehouse/request/v1", *(part.encode() for part in parts), request._request.body)


def _in_progress() -> Problem:
    seconds = str(int(DEAD_AFTER.total_seconds()))
    detail = f"Repeat it later for its answer; if it broke off, the key is free again after {seconds} seconds."
    return Problem("in_progress", detail, headers={"Retry-After": "2"})
