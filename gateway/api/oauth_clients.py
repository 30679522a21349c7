"""Programs that people let in, and the queue of those that nobody has looked at yet."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Parameters, Reference, Row, Text
from gateway.api.problems import Problem
from gateway.api.resource import Act, Listed, Retrieved, act
from governance import oauth_clients
from governance.models import Agent, OAuthClient


class OAuthClientRow(Row):
    agent = Reference(Agent, read_only=True, allow_null=True)

    class Meta:
        model = OAuthClient
        fields = (
            "id", "client_id", "name", "status", "origin", "agent", "redirect_uris", "grant_types", "created_at",
            "created_by",
        )  # fmt: skip
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
