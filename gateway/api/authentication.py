"""Who asks: the person of a live personal token, shown as a bearer token and never in an address."""

from datetime import UTC, datetime
from typing import NoReturn

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from gateway.api import throttling
from governance.models import PersonalToken, User
from governance.personal_tokens import find_live, note_use


class TokenAuthentication(BaseAuthentication):  # type: ignore[misc]
    """`request.user` is the person, `request.auth` her token."""

    def authenticate(self, request: Request) -> tuple[User, PersonalToken] | None:
        scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        now = datetime.now(UTC)
        row = find_live(text.strip(), now=now)
        if row is None:
            _refuse(request)
        note_use(row, now=now)
        return row.person, row

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Gatehouse API"'


def _refuse(request: Request) -> NoReturn:
    """Guesses are slowed down by address, live tokens never: behind one address there may be a whole office."""
    stranger = f"failed:{request.META.get('REMOTE_ADDR', '')}"
    if throttling.count(stranger) > throttling.FAILURES_PER_ADDRESS:
        raise Throttled(throttling.seconds_left())
    raise AuthenticationFailed
