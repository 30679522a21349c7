"""Ending the browser sessions of a person whose account, or whose way in, ends or is switched off."""

from collections.abc import Iterable
from typing import Any, Final

from django.apps import apps
from django.contrib.sessions.models import Session

from governance.models import StaffIdentity, User

CAME_BY: Final = "single_sign_on"
"""In a session: by which account of an identity provider she came, or last proved who she is."""


def end_all_sessions(person: User) -> int:
    """In the caller's transaction. Inactive she is out anyway; this keeps old sessions from coming back with her."""
    return _end(person, _keys_of(person))


def end_sessions_resting_on(identity: StaffIdentity) -> int:
    """In the caller's transaction. One that is being opened at this moment ends with its first request (AskAgain)."""
    open_here = Session.objects.filter(session_key__in=_keys_of(identity.person))
    resting = (row.session_key for row in open_here if identity_of(row) == str(identity.pk))
    return _end(identity.person, resting)


def identity_of(row: Session) -> str:
    """Empty for a session that was opened by other means."""
    came = row.get_decoded().get(CAME_BY) or {}
    return str(came.get("identity", ""))


def _keys_of(person: User) -> list[str]:
    return list(_held(person).values_list("session_key", flat=True))


def _end(person: User, session_keys: Iterable[str]) -> int:
    keys = list(session_keys)
    Session.objects.filter(session_key__in=keys).delete()
    _held(person).filter(session_key__in=keys).delete()
    return len(keys)


def _held(person: User) -> Any:
    return apps.get_model("usersessions", "UserSession")._default_manager.filter(user_id=person.pk)
