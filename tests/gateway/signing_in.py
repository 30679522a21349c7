"""Signing in as people do, and letting time pass."""

import time
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.http import HttpResponse
from django.test import Client

from governance.models import User

PASSWORD = "correct horse battery staple"


def person(email: str, **fields: Any) -> User:
    return User.objects.create_user(email, PASSWORD, **fields)


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
    return response.status_code == 302 and response["Location"].startswith("/account/again/")
