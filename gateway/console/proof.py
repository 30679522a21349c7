"""The sign-in behind an act, as governance wants to know it."""

from allauth.account.internal.flows.login import get_authentication_records
from django.http import HttpRequest

from gateway.console.step_up import signed_in_at
from governance.approval_rows import Authentication

SECOND_FACTOR = "mfa"
"""As django-allauth names an authenticator app, a passkey and a recovery code alike."""


def authentication_of(request: HttpRequest) -> Authentication:
    methods = list(dict.fromkeys(str(each["method"]) for each in get_authentication_records(request, request.user)))
    return Authentication(
        method=", ".join(methods) or "one-time link",
        at=signed_in_at(request),
        ip=str(request.META.get("REMOTE_ADDR", "")),
        has_second_factor=SECOND_FACTOR in methods,
    )
