"""That an agent proved itself here, and from where: kept beside its credential, in the transaction of what it gets."""

import logging
from datetime import UTC, datetime
from threading import Lock
from typing import Final

from django.db import Error
from oauthlib.common import Request

from gateway.credential_uses import CredentialUses, write
from governance.models import AgentCredential

logger = logging.getLogger(__name__)

_uses: Final = CredentialUses()
_lock: Final = Lock()


def note(credential: AgentCredential, request: Request) -> None:
    """In memory, and of each credential once a minute."""
    now = datetime.now(UTC)
    with _lock:
        if _uses.is_due(credential.id.hex, now):
            address = str(request.headers.get("REMOTE_ADDR", ""))
            client = str(request.headers.get("HTTP_USER_AGENT", ""))
            _uses.note(credential.id.hex, at=now, address=address, client=client)


def write_noted() -> None:
    """Raises django.db.Error."""
    with _lock:
        uses = _uses.take()
    write(uses)


def write_left() -> None:
    """What nothing was issued for, a refusal for instance. It is no part of an answer."""
    try:
        write_noted()
    except Error as error:
        logger.warning("the last use of a credential was not written: %s", type(error).__name__)
