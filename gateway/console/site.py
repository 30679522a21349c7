"""Our admin site: only governed screens, and passwords chosen in the open."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.contrib.auth.views import PasswordChangeView
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from gateway.console import sign_ins
from gateway.console.base import GovernedModelAdmin
from gateway.console.passwords import form_for

user_logged_in.connect(sign_ins.signed_in)
user_login_failed.connect(sign_ins.sign_in_failed)


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """Takes only our own screens: those that libraries bring would be doors without evidence."""

    index_title = "Home"
    password_change_template = "admin/choose_password.html"  # noqa: S105 - a file name

    def register(
        self, models: type[Model] | Iterable[type[Model]], admin_class: type[Any] | None = None, **options: Any
    ) -> None:
        if admin_class is not None and issubclass(admin_class, GovernedModelAdmin):
            super().register(models, admin_class, **options)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        request.current_app = self.name
        view = PasswordChangeView.as_view(
            form_class=form_for(request.user),
            success_url=reverse("admin:password_change_done"),
            template_name=self.password_change_template,
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)
