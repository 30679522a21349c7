"""What all screens across rooms share: who may see them, and the frame around them."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from gateway.console.step_up import needs_fresh_login


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
        return needs_fresh_login(request, self.permission) or super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**admin.site.each_context(self.request), "title": self.title, **super().get_context_data(**kwargs)}
