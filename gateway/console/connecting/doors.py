"""Who may come in, for views and sockets that wait for an upstream and therefore run on the event loop."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway.console.step_up import needs_fresh_login
from governance.models import User

AsyncView = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def behind(permission: str) -> Callable[[AsyncView], AsyncView]:
    """What ConsolePage asks before a page, for a view that is a coroutine."""

    def guard(view: AsyncView) -> AsyncView:
        @wraps(view)
        async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            refused = await sync_to_async(_refused)(request, permission)
            return refused or await view(request, *args, **kwargs)

        return guarded

    return guard


def _refused(request: HttpRequest, permission: str) -> HttpResponse | None:
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not (admin.site.has_permission(request) and request.user.has_perm(permission)):
        raise PermissionDenied
    return needs_fresh_login(request, permission)


def still_may(person_id: Any, permission: str) -> bool:
    """Asked again when something was waited for: the person may have lost the right meanwhile."""
    person = User.objects.filter(pk=person_id).first()
    return bool(person and person.is_active and person.is_staff and person.has_perm(permission))
