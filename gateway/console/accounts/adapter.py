"""How django-allauth signs people in here: by e-mail, nobody signs up, guessing is slowed down."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.core.internal.ratelimit import RateLimitUsage, consume
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from gateway import tasks
from gateway.console import sign_ins
from gateway.console.accounts.local import turned_away
from gateway.console.acting import person_named
from gateway.console.single_sign_on.ways import only_way, way_by
from gateway.console.step_up import is_fresh
from gateway.sessions import CAME_BY
from governance.fence.actor import governed_change
from governance.models import User

WAIT = (
    "Too many failed attempts. Wait five minutes, then try again. "
    "A passkey, or a one-time link from IT, lets you in at once."
)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "This e-mail address and password do not belong together.",
        "incorrect_password": "This is not your password.",
        "too_many_login_attempts": WAIT,
        "rate_limited": "Too many attempts. Wait five minutes, then try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """IT makes people."""
        return False

    def add_message(self, *args: Any, message: str | None = None, **kwargs: Any) -> None:
        """Errors only: what went well the pages say themselves."""
        if message is not None:
            super().add_message(*args, message=message, **kwargs)

    def is_safe_url(self, url: str) -> bool:
        """Where sign-in leads to: this origin only. Another port of this machine may be somebody else's."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts={context.request.get_host()})

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return reverse("admin:index" if request.user.is_staff else "me")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """After the first password those who may enter the admin are shown the second factor."""
        if request.path == reverse("account_set_password"):
            return reverse("mfa_index" if request.user.is_staff else "me")
        return f"{reverse('account_change_password')}?saved"

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Counts a guess twice: by person and address, tightly, so that a stranger elsewhere locks nobody out;
        by person alone, widely, against many addresses that guess together."""
        email = str(credentials.get("email", "")).lower()
        here = f"{email}|{self.get_client_ip(request)}"
        usages = [
            consume(request, app="allauth.account", action="login_failed", key=here),
            consume(request, app="allauth.account", action="login_failed_anywhere", key=email),
        ]
        if not all(usages):
            sign_ins.locked_out(request, email)
            raise self.validation_error("too_many_login_attempts")
        self._login_failed_rl_usage = RateLimitUsage([each for usage in usages if usage for each in usage.usage])

    def reauthenticate(self, user: User, password: str) -> bool:
        found = self.authenticate(context.request, email=user.email, password=password)
        return found is not None and found.pk == user.pk

    def pre_login(self, request: HttpRequest, user: User, **about: Any) -> HttpResponse | None:
        response: HttpResponse | None = super().pre_login(request, user, **about)
        return response or turned_away(request, user)

    def get_reauthentication_methods(self, user: User) -> list[dict[str, Any]]:
        """Who came by single sign-on proves it there again."""
        came = context.request.session.get(CAME_BY, {})
        if way := way_by(came.get("protocol", "")):
            return [{"id": "single_sign_on", "description": way.name, "url": reverse(way.again)}]
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        return methods

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        return not is_fresh(context.request)

    def set_password(self, user: User, password: str) -> None:
        """Hashed before the transaction, because hashing is slow on purpose."""
        user.set_password(password)
        with governed_change(by=person_named(user)):
            user.save(update_fields=["password"])

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, Any]) -> None:
        """By a worker: the page takes as long for a stranger's address as for a person's. Codes do not travel
        through the queue; the worker makes the link."""
        if user.is_active and (user.break_glass or not only_way()):
            tasks.mail_password_reset.delay(str(user.pk))
