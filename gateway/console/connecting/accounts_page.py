"""How people's accounts at one system are connected: its authorization server, as whom we are known there, and how many
are connected. Whose, but never with what."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from gateway.accounts.setting_up import CannotSetUp, OtherIssuer, redirect_uri, set_up
from gateway.actions import act
from gateway.asked import AlreadyRunning, only_one
from gateway.console.connecting.consumers import BUSY
from gateway.console.connecting.frame import ConnectorPage
from governance.account_revocations import settle
from governance.models import UpstreamClient, UpstreamGrant

SHOWN = 200
Status = UpstreamGrant.Status


class Accounts(ConnectorPage):
    permission = "governance.change_connector"
    title = "Accounts"
    template_name = "console/connecting/accounts.html"
    http_method_names = ("get", "post", "head", "options")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        client = UpstreamClient.objects.select_related("server").filter(connector=self.connector).first()
        rows = UpstreamGrant.objects.filter(connector=self.connector).select_related("person").defer("ciphertext")
        standing = rows.exclude(status=Status.ENDED).order_by("person__email")
        return {
            "client": client,
            "redirect": redirect_uri(client.server.issuer) if client is not None else "",
            "grants": standing[:SHOWN],
            "grant_total": standing.count(),
            "left": rows.filter(revocation=UpstreamGrant.Revocation.MANUAL).order_by("ended_at")[:SHOWN],
            "due": rows.filter(revocation=UpstreamGrant.Revocation.DUE).count(),
            "other_issuer": "",
            **super().get_context_data(**kwargs),
        }

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if settled := request.POST.get("settled"):
            self._settle(settled)
            return redirect("connector_accounts", connector_id=self.connector.pk)
        try:
            with only_one(str(self.connector.pk)):
                set_up(self.connector.pk, person=self.person, agreed_issuer=request.POST.get("agreed", "")[:500])
        except AlreadyRunning:
            messages.error(request, BUSY)
        except OtherIssuer as other:
            messages.error(request, str(other))
            return self.render_to_response(self.get_context_data(other_issuer=other.issuer), status=409)
        except CannotSetUp as reason:
            messages.error(request, str(reason))
        else:
            messages.success(request, "Set up. People can connect their accounts now.")
        return redirect("connector_accounts", connector_id=self.connector.pk)

    def _settle(self, grant_id: str) -> None:
        """A human has revoked at the provider what no machine could."""
        left = UpstreamGrant.objects.select_related("person", "connector", "client__server")
        grant = get_object_or_404(left, connector=self.connector, pk=_uuid(grant_id))
        if act(lambda record, _: settle(grant, by=self.by, record=record), by=self.by):
            messages.success(self.request, "Noted as revoked.")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
