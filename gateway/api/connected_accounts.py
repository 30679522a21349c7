"""Whose accounts are connected where, and the end of it."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Parameters, Reference, Row, Text
from gateway.api.problems import Problem
from gateway.api.resource import Act, Listed, Retrieved, act
from governance.account_revocations import settle
from governance.connected_accounts import end_grant
from governance.models import Connector, UpstreamGrant, User


class ConnectedAccountRow(Row):
    connector = Reference(Connector, read_only=True, allow_null=True, help_text="Null once it was removed.")
    person = Reference(User, by="email", read_only=True, allow_null=True, help_text="Null for the one all share.")
    issuer = Text(source="client.server.issuer", read_only=True, help_text="The authorization server that gave it.")

    class Meta:
        model = UpstreamGrant
        fields = (
            "id", "connector", "person", "issuer", "resource", "oauth_scopes", "status", "problem", "expires_at",
            "renewed_at", "created_at", "created_by", "ended_at", "ended_by", "revocation", "revocation_attempts",
            "revocation_note",
        )  # fmt: skip
        read_only_fields = fields


class ConnectedAccountParameters(Parameters):
    connector = Text(required=False, max_length=63, source="connector__name")
    person = Text(required=False, max_length=254, source="person__email")
    status = Choice(choices=UpstreamGrant.Status.choices, required=False)
    revocation = Choice(choices=UpstreamGrant.Revocation.choices, required=False)


class ConnectedAccounts(Listed, Retrieved):
    """People's accounts at other systems that the gateway may use, and what became of those that ended. Their tokens
    are nowhere to be read."""

    queryset = UpstreamGrant.objects.select_related("connector", "person", "client__server").defer(
        "wrapped_key", "ciphertext"
    )
    serializer_class = ConnectedAccountRow
    parameters = ConnectedAccountParameters
    order = ("-created_at", "id")
    own = "person"

    @act("governance.revoke_upstreamgrant")
    def revoke(self, request: Request, pk: Any) -> Response:
        """No call can use it from now on; the provider is told by the worker."""

        def work(row: UpstreamGrant, act: Act, _: Any) -> None:
            if not end_grant(row, by=act.by, record=act.record, now=act.now):
                raise Problem("conflict", "It had ended before.")

        return self.on_row(work)

    @act("governance.revoke_upstreamgrant")
    def settle(self, request: Request, pk: Any) -> Response:
        """A human has revoked at the provider what no machine could."""

        def work(row: UpstreamGrant, act: Act, _: Any) -> None:
            if not settle(row, by=act.by, record=act.record):
                raise Problem("conflict", "Nothing of it is left to a human.")

        return self.on_row(work)
