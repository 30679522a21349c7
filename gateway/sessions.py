"""Ending the browser sessions of a person whose account ends or is switched off."""

from django.apps import apps
from django.contrib.sessions.models import Session

from governance.models import User


def end_all_sessions(person: User) -> int:
    """In the caller's transaction. Inactive she is out anyway; this keeps old sessions from coming back with her."""
    held = apps.get_model("usersessions", "UserSession")._default_manager.filter(user_id=person.pk)
    keys = list(held.values_list("session_key", flat=True))
    Session.objects.filter(session_key__in=keys).delete()
    held.delete()
    return len(keys)
