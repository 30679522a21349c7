"""What all screens across rooms share: who may see them, and the frame around them."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from gateway.console.acting import busy_page, person_named
from gateway.console.step_up import needs_fresh_login
from governance.models import User


@method_decorator(never_cache, name="dispatch")
class ConsolePage(TemplateView):
    """A page inside the admin's frame.

    `permission` is what duties.py calls the act, e.g. `governance.offboard_user`; where that table says so, the
    person must have signed in recently before she sees the page at all.
    """

    permission: ClassVar[str]
    title: ClassVar[str] = ""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not (admin.site.has_permission(request) and request.user.has_perm(self.permission)):
            raise PermissionDenied
        again = needs_fresh_login(request, self.permission, as_typed=self.as_typed)
        return again or super().dispatch(request, *args, **kwargs)

    def as_typed(self) -> HttpResponse | None:
        """The page with what this POST brought, saving nothing: for who has to sign in again. None: only a button."""
        return None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**admin.site.each_context(self.request), "title": self.title, **super().get_context_data(**kwargs)}


class GovernedPage(ConsolePage):
    """A page whose POST writes: nothing half-done when the database is busy."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except OperationalError:
            if request.method != "POST":
                raise
            return busy_page(request)

    def refuse_unless(self, permission: str) -> HttpResponse | None:
        """For an act that needs more than the page does."""
        if not self.may(permission):
            raise PermissionDenied
        return needs_fresh_login(self.request, permission, as_typed=self.as_typed)

    def may(self, permission: str) -> bool:
        return bool(self.request.user.has_perm(permission))

    @property
    def person(self) -> User:
        assert isinstance(self.request.user, User)
        return self.request.user

    @property
    def by(self) -> str:
        return person_named(self.person)
