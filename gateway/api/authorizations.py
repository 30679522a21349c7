"""What people let in, and the end of it."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Parameters, Reference, Row, Text
from gateway.api.problems import Problem
from gateway.api.resource import Act, Listed, Retrieved, act
from governance import authorizations
from governance.models import Agent, Authorization, OAuthClient, User


class AuthorizationRow(Row):
    client = Reference(OAuthClient, by="client_id", read_only=True, allow_null=True)
    agent = Reference(Agent, read_only=True)
    person = Reference(User, by="email", read_only=True, allow_null=True)

    class Meta:
        model = Authorization
        fields = (
            "id", "client", "agent", "person", "basis", "resource", "oauth_scopes", "created_at", "created_by",
            "expires_at", "revoked_at", "revoked_by",
        )  # fmt: skip
        read_only_fields = fields


class AuthorizationParameters(Parameters):
    person = Text(required=False, max_length=254, source="person__email")
    agent = Text(required=False, max_length=63, source="agent__name")
    basis = Choice(choices=Authorization.Basis.choices, required=False)


class Authorizations(Listed, Retrieved):
    """Each is the root of all tokens that came of one consent, or of one word of an identity provider."""

    queryset = Authorization.objects.select_related("client", "agent", "person")
    serializer_class = AuthorizationRow
    parameters = AuthorizationParameters
    order = ("-created_at", "id")

    @act("governance.revoke_authorization")
    def revoke(self, request: Request, pk: Any) -> Response:
        """All tokens that came of it end at once."""

        def work(row: Authorization, act: Act, _: Any) -> None:
            if not authorizations.revoke(row, by=act.by, record=act.record, now=act.now):
                raise Problem("conflict", "It had ended before.")

        return self.on_row(work)
