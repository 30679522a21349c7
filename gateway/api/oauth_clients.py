"""Programs that people let in, and the queue of those that nobody has looked at yet."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Flag, Parameters, Reference, Row, Strict, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Listed, Retrieved, act
from governance import oauth_clients
from governance.agent_clients import JWT_BEARER
from governance.models import Agent, OAuthClient


class OAuthClientRow(Row):
    agent = Reference(Agent, read_only=True, allow_null=True)

    class Meta:
        model = OAuthClient
        fields: tuple[str, ...] = (
            "id", "client_id", "name", "status", "origin", "agent", "redirect_uris", "grant_types", "created_at",
            "created_by",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields


class NewClient(Strict):
    name = Text(max_length=100, help_text="What people read when they are asked to let it in.")
    redirect_uris = serializers.ListField(
        child=Text(max_length=2000), required=False, default=list, max_length=20, help_text="Where codes go."
    )
    grant_types = serializers.ListField(
        child=Choice(choices=(*oauth_clients.FOR_PEOPLE, JWT_BEARER)),
        required=False,
        min_length=1,
        max_length=4,
        help_text="Identity assertions (ID-JAG, jwt-bearer) are for a confidential client only.",
    )
    confidential = Flag(required=False, default=False, help_text="It proves itself by a secret.")


class AddedClient(OAuthClientRow):
    client_secret = Text(read_only=True, allow_null=True, help_text="Shown only now; null for a public client.")

    class Meta(OAuthClientRow.Meta):
        fields = (*OAuthClientRow.Meta.fields, "client_secret")
        read_only_fields = fields


class OAuthClientParameters(Parameters):
    client_id = Text(required=False, max_length=255)
    status = Choice(choices=OAuthClient.Status.choices, required=False)
    origin = Choice(choices=OAuthClient.Origin.choices, required=False)


class OAuthClients(Listed, Retrieved):
    """What a client calls itself proves nothing. One that describes itself lets nobody in before it is approved."""

    queryset = OAuthClient.objects.select_related("agent")
    serializer_class = OAuthClientRow
    parameters = OAuthClientParameters
    order = ("-created_at", "id")

    permissions = {"create": "governance.add_oauthclient"}

    @extend_schema(request=NewClient, responses={201: AddedClient})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A client of yours: approved, because somebody who may approve it adds it."""

        def work(act: Act) -> Response:
            made = _registered(self.wish(NewClient), act)
            shown = {**OAuthClientRow(made.client).data, "client_secret": made.secret or None}
            return Response(shown, status=201, headers={"Location": f"{request.path}/{made.client.pk}"})

        return self.governed(work, shown_once=("client_secret",))

    @act("governance.approve_oauthclient")
    def approve(self, request: Request, pk: Any) -> Response:
        """Everybody here can let it in from now on, each for what she herself may."""

        def work(client: OAuthClient, act: Act, _: Any) -> None:
            if not oauth_clients.approve(client, by=act.by, record=act.record):
                raise Problem("conflict", "It was approved before.")

        return self.on_row(work)

    @act("governance.disable_oauthclient")
    def disable(self, request: Request, pk: Any) -> Response:
        """Nobody can let it in any more, and all tokens it holds end at once."""

        def work(client: OAuthClient, act: Act, _: Any) -> None:
            if client.status == OAuthClient.Status.DISABLED:
                raise Problem("conflict", "It was disabled before.")
            oauth_clients.disable(client, by=act.by, record=act.record, now=act.now)

        return self.on_row(work)


def _registered(wish: Mapping[str, Any], act: Act) -> oauth_clients.Registered:
    grants = wish.get("grant_types", [oauth_clients.CODE, oauth_clients.REFRESH])
    try:
        return oauth_clients.register(
            name=wish["name"],
            redirect_uris=wish["redirect_uris"],
            grant_types=grants,
            has_secret=wish["confidential"],
            registered_by=act.person,
            by=act.by,
            record=act.record,
            now=act.now,
        )
    except oauth_clients.BadClient as bad:
        raise of_fields([FieldError(bad.field, "rule", str(bad))]) from None
