"""Our admin site: only governed screens, and the ways in and out are those of /account/."""

from collections.abc import Iterable
from typing import Any, cast

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from gateway.console import sign_ins
from gateway.console.base import GovernedModelAdmin
from gateway.console.deleting import delete_chosen
from gateway.console.single_sign_on.views import SignOut

sign_ins.listen()


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """Takes only our own screens: those that libraries bring would be doors without evidence."""

    index_title = "Home"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.add_action(delete_chosen, "delete_selected")

    def register(
        self, models: type[Model] | Iterable[type[Model]], admin_class: type[Any] | None = None, **options: Any
    ) -> None:
        if admin_class is not None and issubclass(admin_class, GovernedModelAdmin):
            super().register(models, admin_class, **options)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Somebody signed in who may not enter the admin goes to her own page, not round in circles."""
        if request.user.is_authenticated and not self.has_permission(request):
            return redirect("me")
        return redirect_to_login(request.GET.get(REDIRECT_FIELD_NAME) or reverse("admin:index"))

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        return cast(HttpResponseBase, SignOut.as_view()(request))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        return redirect("account_change_password")
