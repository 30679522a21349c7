"""One message of a directory from its body to its answer: one transaction, and a row of what it was and changed."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any

import orjson
from django.db import IntegrityError
from django.db.utils import OperationalError
from django.http import HttpResponse
from scim2_models import SCIMException, UnauthorizedException
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse

from gateway.actions import ATTEMPTS, was_rolled_back
from gateway.directories import base_address, sync_of
from gateway.recorder import recorder
from gateway.scim.answers import answer, busy, refusal
from gateway.scim.door import Asked
from gateway.scim.service import DirectoryHandler, service
from gateway.scim.storage import DirectoryStorage
from gateway.scim.wire import without_passwords
from governance.fence.actor import governed_change
from governance.models import Directory, DirectoryMessage
from governance.offboarding import CannotOffboard

logger = logging.getLogger(__name__)

LONGEST_BODY_KEPT = 16 * 1024
MOST_CHANGES_KEPT = 100
READING = ("GET", "HEAD")
STATUS_OF = {"POST": 201, "PUT": 200, "PATCH": 204, "DELETE": 204}
"""Of a message that went well, known before its answer is built: its row is written in its transaction."""


def actor_of(directory: Directory) -> str:
    return f"scim:{directory.name}"


def serve(asked: Asked) -> HttpResponse:
    """Once more, whole, when the database was busy and surely nothing was done."""
    for attempt in range(ATTEMPTS):
        exchange = Exchange(asked)
        try:
            return exchange.answered()
        except OperationalError as error:
            if not was_rolled_back(error):
                raise
            if attempt == ATTEMPTS - 1:
                return busy()
    raise AssertionError("unreachable")


class Exchange:
    """One try to serve a message."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._id = uuid.uuid4().hex
        self._is_reading = asked.method in READING or asked.path.endswith("/.search")
        self._is_kept = False
        self._service = service(agents=asked.directory.manages_agents)
        by, now = actor_of(asked.directory), datetime.now(UTC)
        self._sync = sync_of(asked.directory, by=by, record=recorder(by=by, now=now), now=now)

    def answered(self) -> HttpResponse:
        try:
            response = self._handled()
        except SCIMException as refused:
            response = self._service.error_response(refused)
        except RecursionError:
            return self._refused(400, "That is too deeply nested.", "invalidFilter")
        except IntegrityError:
            return self._refused(409, "Something with that name came at the same moment. Send it again.", "uniqueness")
        except CannotOffboard as reason:
            return self._refused(409, str(reason))
        if not self._is_kept:
            self._keep_if_possible(int(response.status), problem=str((response.body or {}).get("detail") or ""))
        return answer(int(response.status), _as_announced(self._asked.path, response.body), response.headers)

    def _handled(self) -> ScimResponse:
        with self._service.provider:
            storage = DirectoryStorage(self._service.provider, self._sync, self._enclosing)
            handler = DirectoryHandler(self._service, storage, answers_whole=self._names_attributes)
            return handler.handle(self._request())

    def _request(self) -> ScimRequest:
        asked = self._asked
        return ScimRequest(
            method=asked.method,
            base_url=base_address(),
            path=asked.path,
            query=asked.query,
            headers=asked.headers,
            body=b"" if asked.body is None else orjson.dumps(asked.body),
        )

    @property
    def _names_attributes(self) -> bool:
        return not {"attributes", "excludedattributes"}.isdisjoint(key.lower() for key in self._asked.query)

    def _enclosing(self) -> Any:
        return nullcontext() if self._is_reading else self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One operation: what it says, what follows from it and the row that tells of both, or nothing."""
        with governed_change(by=self._sync.by):
            if not self._asked.still_counts():
                raise UnauthorizedException
            yield
            self._keep(STATUS_OF.get(self._asked.method, 200))
            self._sync.changes.clear()

    def _refused(self, status: int, detail: str, kind: str = "") -> HttpResponse:
        self._keep_if_possible(status, problem=detail)
        return refusal(status, detail, kind=kind)

    def _keep_if_possible(self, status: int, *, problem: str) -> None:
        """What changed nothing is told whether or not that can be written down just now."""
        with suppress(OperationalError):
            self._keep(status, problem=problem)

    def _keep(self, status: int, *, problem: str = "") -> None:
        self._is_kept = True
        asked = self._asked
        path = asked.path + (f"?filter={asked.query['filter']}" if "filter" in asked.query else "")
        DirectoryMessage.objects.create(
            directory=self._sync.directory,
            at=self._sync.now,
            request_id=self._id,
            source_ip=asked.address[:64],
            token_hint=asked.hint,
            method=asked.method,
            path=path[:1000],
            status=status,
            body=_kept_body(asked.body),
            changes=self._sync.changes[:MOST_CHANGES_KEPT] if status < 400 else [],
            problem=problem[:500],
        )


def _as_announced(path: str, body: Any) -> Any:
    """Cursors (RFC 9865) are served and not announced: clients that check the configuration against RFC 7643 alone
    refuse the whole of it for one attribute they do not know."""
    if path.rstrip("/").lower() != "/serviceproviderconfig" or not isinstance(body, dict):
        return body
    return {key: value for key, value in body.items() if key != "pagination"}


def _kept_body(body: Any) -> Any:
    if body is None:
        return None
    kept = without_passwords(body)
    size = len(orjson.dumps(kept))
    return kept if size <= LONGEST_BODY_KEPT else {"left out": f"{size} bytes"}
