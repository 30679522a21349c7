"""The few pages of a person's account that django-allauth does not have, or has in a laxer form."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from allauth.account import views as account
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from gateway.console.step_up import is_fresh, sign_in_again

View = Callable[..., HttpResponseBase]


def signed_in_recently(view: View) -> View:
    @login_required
    @never_cache
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return view(request, *args, **kwargs) if is_fresh(request) else sign_in_again(request)

    return guarded


first_password = signed_in_recently(account.password_set)
"""Asks for no old password, so an old session must not be enough."""


@never_cache
def forgot_password(request: HttpRequest) -> HttpResponseBase:
    """Without a mail server there is only one way: a one-time link from IT."""
    if settings.EMAIL_HOST:
        return cast(HttpResponseBase, account.password_reset(request))
    return render(request, "account/password_reset_by_it.html")


@never_cache
@login_required
def link_too_old(request: HttpRequest) -> HttpResponse:
    """For who came by one-time link, chose no password, and now wants to do something dangerous."""
    return render(request, "account/link_too_old.html")


def too_many_requests(request: HttpRequest, *_: Any) -> HttpResponse:
    return render(request, "account/too_many_requests.html", status=429)
