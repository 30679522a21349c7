"""Signing in as people do, and letting time pass."""

import time
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.http import HttpResponse
from django.test import Client

from governance.models import User

PASSWORD = "correct horse battery staple"
TOO_LONG = 16 * 60
"""Seconds after which a sign-in is too old for a dangerous act."""


def person(email: str, **fields: Any) -> User:
    return User.objects.create_user(email, PASSWORD, **fields)


def browser_of(person: User) -> Client:
    """Where she has just signed in."""
    client = Client()
    client.force_login(person)
    return client


def sign_in(*duties: str, owner: bool = False, email: str = "noor@example.com") -> Client:
    """The browser of a new person with these duties; `owner` makes her one."""
    return browser_of(person(email, is_staff=True, is_superuser=owner, duties=list(duties)))


def enter(client: Client, email: str, password: str = PASSWORD, **extra: Any) -> HttpResponse:
    return client.post("/account/login/", {"login": email, "password": password}, **extra)  # type: ignore[return-value]


def is_in(client: Client) -> bool:
    return client.get("/me/").status_code == 200


def code_of(secret: str, *, at: float | None = None) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time() if at is None else at) // 30))


def let_time_pass(client: Client, seconds: float) -> None:
    """For this client's sign-in."""
    session = client.session
    session["signed_in_at"] -= seconds
    session.save()


def is_asked_again(response: Any) -> bool:
    """Led to the page for it, or told of it beside what was typed."""
    if response.status_code == 403:
        return b"/account/again/" in response.content
    return response.status_code == 302 and response["Location"].startswith("/account/again/")
