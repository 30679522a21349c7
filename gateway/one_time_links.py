"""Links that sign a person in once: her first way in, before she has a password.

A link names the person and fingerprints her password, last sign-in and rights. Any sign-in, new password or new duty
ends it: who made it could sign in as her when she could do nothing, and must not be able to when she can.
"""

from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac

from governance.models import User

SALT = "gatehouse.one-time-login"
LIFETIME = timedelta(hours=24)


def one_time_login_url(user: User) -> str:
    """An absolute link that signs `user` in once within 24 hours. Whoever holds it can; show it once, log it never."""
    return f"{settings.PUBLIC_URL}{reverse('one_time_login', args=[_token(user)])}"


def _token(user: User) -> str:
    return signing.dumps([str(user.pk), _state(user)], salt=SALT)


def _state(user: User) -> str:
    seen = user.last_login.isoformat() if user.last_login else ""
    rights = f"{user.is_superuser}|{user.is_staff}|{sorted(user.duties)}"
    state = f"{user.pk}|{user.email}|{user.password}|{seen}|{rights}"
    return salted_hmac(SALT, state, algorithm="sha256").hexdigest()


def person_of_link(token: str) -> User | None:
    try:
        person_id, state = signing.loads(token, salt=SALT, max_age=LIFETIME)
    except signing.BadSignature:
        return None
    user = User.objects.filter(pk=person_id, is_active=True).first()
    return user if user and constant_time_compare(state, _state(user)) else None
