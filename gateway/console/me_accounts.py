"""A person's accounts at other systems: what is connected, off to a provider and back, and the end of it.

Links from agents lead here, so nothing happens by opening a page: she presses the button herself, signed in as herself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from gateway.accounts import connecting
from gateway.accounts.setting_up import client_document
from gateway.actions import act
from gateway.console.acting import person_of
from gateway.console.me import OwnPage
from gateway.reach.current import current_snapshot
from governance.connected_accounts import CannotConnect, end_grant, live_of_person
from governance.models import Connector, UpstreamGrant


@dataclass(frozen=True, slots=True)
class Line:
    """One system, and her account there if she has connected it."""

    connector: Connector
    grant: UpstreamGrant | None
    provider: str
    scopes: tuple[str, ...]

    @property
    def is_live(self) -> bool:
        return self.grant is not None and self.grant.status == UpstreamGrant.Status.LIVE

    @property
    def can_connect(self) -> bool:
        return bool(self.provider)


class AccountsPage(OwnPage):
    """Systems that she does not reach, and has no account at, do not exist here."""

    @cached_property
    def lines(self) -> list[Line]:
        return list(self._lines())

    def _lines(self) -> Iterator[Line]:
        hers = {grant.connector_id: grant for grant in live_of_person(self.person) if grant.connector_id}
        reached = map(UUID, connecting.connectors_for(self.person, current_snapshot(), self.now))
        rows = Connector.objects.filter(pk__in={*reached, *hers}).select_related("upstream_client__server")
        for connector in rows.order_by("name"):
            client = getattr(connector, "upstream_client", None)
            provider = urlsplit(client.server.issuer).hostname or "" if client is not None else ""
            scopes = tuple(client.oauth_scopes) if client is not None else ()
            yield Line(connector, hers.get(connector.pk), provider, scopes)

    @cached_property
    def line(self) -> Line:
        line = next((each for each in self.lines if each.connector.pk == self.kwargs["connector_id"]), None)
        if line is None:
            raise Http404
        return line


class MyAccounts(AccountsPage):
    template_name = "console/me_accounts.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "lines": self.lines}


class MyAccount(AccountsPage):
    template_name = "console/me_account.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "line": self.line}


class ConnectMyAccount(AccountsPage):
    """Answers with a link instead of a redirect: a form of ours may not lead anywhere else, as our own policy says to
    browsers, and she sees where she is about to go."""

    template_name = "console/me_account_off.html"
    http_method_names = ("post",)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        session_key = request.session.session_key
        assert session_key is not None, "she is signed in"
        try:
            address = connecting.begin(self.line.connector, self.person, session_key=session_key)
        except CannotConnect as reason:
            messages.error(request, str(reason))
            return redirect("my_account", connector_id=self.line.connector.pk)
        return self.render_to_response(self.get_context_data(line=self.line, address=address))


class DisconnectMyAccount(AccountsPage):
    http_method_names = ("post",)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        grant, by = self.line.grant, person_of(request)
        if grant is not None and act(lambda record, now: end_grant(grant, by=by, record=record, now=now), by=by):
            messages.success(
                request, "Disconnected: no call can use the account any more. The provider is being told, too."
            )
        return redirect("my_accounts")


class AccountCallback(OwnPage):
    """Where providers send her back to. A GET that writes: `state` stands for the token that forms have, and can be
    used once, by the person and the browser that set out."""

    http_method_names = ("get",)

    def get(self, request: HttpRequest, place: str) -> HttpResponseBase:  # type: ignore[override]
        said = {name: request.GET[name] for name in ("state", "iss", "code", "error") if name in request.GET}
        try:
            grant = connecting.finish(
                said, place=place, person=self.person, session_key=request.session.session_key or ""
            )
        except CannotConnect as reason:
            messages.error(request, str(reason))
            return redirect("my_accounts")
        messages.success(request, f"Your account at {grant.connector} is connected. Your agent can go on.")
        return redirect("my_accounts")


@require_safe
@cache_control(max_age=300)
def client_metadata(request: HttpRequest) -> HttpResponse:
    """Who we are to authorization servers that know clients by the address of such a document; public as it is."""
    return JsonResponse(client_document())
