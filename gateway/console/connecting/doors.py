"""Who may come in, for views and sockets that wait for an upstream and therefore run on the event loop."""

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway.console.step_up import Page, needs_fresh_login, nothing_typed

AsyncView = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def behind(
    permission: str, *, as_typed: Callable[..., HttpResponse | None] = nothing_typed
) -> Callable[[AsyncView], AsyncView]:
    """What ConsolePage asks before a page, for a view that is a coroutine; `as_typed` takes what the view takes."""

    def guard(view: AsyncView) -> AsyncView:
        @wraps(view)
        async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            page = partial(as_typed, request, *args, **kwargs)
            refused = await sync_to_async(_refused)(request, permission, as_typed=page)
            return refused or await view(request, *args, **kwargs)

        return guarded

    return guard


def _refused(request: HttpRequest, permission: str, *, as_typed: Page) -> HttpResponse | None:
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not (admin.site.has_permission(request) and request.user.has_perm(permission)):
        raise PermissionDenied
    return needs_fresh_login(request, permission, as_typed=as_typed)
