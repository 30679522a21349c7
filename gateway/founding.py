"""How an installation begins: with an owner, and rules that bind everybody until somebody decides otherwise."""

from datetime import datetime
from typing import Final

from gateway.actions import act
from governance import ready_policies
from governance.facts import Fact, Recorder
from governance.models import Epoch, User

FIRST_EPOCH: Final = 1


def make_owner(email: str, *, by: str) -> User:
    """Creates the person if need be. She signs in by one-time link and chooses a password then. Where nothing was ever
    governed, the default policy comes with her; an installation that somebody has set up keeps the rules it has."""

    def work(record: Recorder, now: datetime) -> User:
        is_new = is_untouched()
        person = User.objects.filter(email__iexact=email).first() or User.objects.create_user(email)
        person.is_active = person.is_staff = person.is_superuser = True
        person.save()
        record(Fact("owner.created", f"person:{person.email}"))
        if is_new:
            ready_policies.install(by=by, record=record)
        return person

    return act(work, by=by)


def is_untouched() -> bool:
    """No governed row was ever written: the epoch counts those and never goes back."""
    return not Epoch.objects.filter(number__gt=FIRST_EPOCH).exists()
