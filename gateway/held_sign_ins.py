"""What a person still holds to sign in with: her open sessions and second factors, found and ended with her.

The deactivated account stops them all; ended, they also stay dead should somebody activate her again. The sign-in
library is asked by name, because gateway processes do without it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.apps import apps

from gateway.sessions import end_all_sessions
from governance.facts import Recorder
from governance.models import User
from governance.offboarding import Item

FACTORS = {"totp": "authenticator app", "webauthn": "passkey", "recovery_codes": "recovery codes"}


class Sessions:
    def find(self, person: User) -> Iterator[Item]:
        for row in _held("usersessions.UserSession", person):
            name = f"since {row.created_at:%Y-%m-%d %H:%M} UTC from {row.ip}"
            yield Item("web session", name, "ended", id=str(row.pk))

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        end_all_sessions(person)


class SecondFactors:
    def find(self, person: User) -> Iterator[Item]:
        for row in _held("mfa.Authenticator", person):
            yield Item("second factor", FACTORS.get(row.type, row.type), "removed", id=str(row.pk))

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        _held("mfa.Authenticator", person).delete()


ENDERS = (Sessions(), SecondFactors())


def _held(model: str, person: User) -> Any:
    return apps.get_model(model)._default_manager.filter(user=person).order_by("pk")
