"""Systems, their tools, and the secrets we present to them."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.core.cache import cache
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Parameters, QueryFlag, Row, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Changed, Created, Deleted, Listed, Retrieved, Under, act
from gateway.api.serializers import ConnectorRow, DefinitionRow, Reason, SecretRow, SecretValue, ToolRow
from gateway.tasks import discover_connector
from governance import registry
from governance.destinations import destinations
from governance.models import Connector, Secret, SecretVersion, Tool, ToolDefinition
from governance.registry import NotDecidable
from governance.vault import UnusableSecret, put_secret_value

ASKED_EVERY_SECONDS = 15


class NameParameters(Parameters):
    name = Text(required=False, max_length=63)


class ConnectorParameters(NameParameters):
    enabled = QueryFlag(source="is_enabled", required=False)
    secret = Text(source="secret__name", required=False, max_length=63)


class Connectors(Listed, Retrieved, Created, Changed, Deleted):
    """One system each, and how to reach it. A new one has no tools until it is asked for them (`discover`)."""

    queryset = Connector.objects.select_related("secret")
    serializer_class = ConnectorRow
    parameters = ConnectorParameters
    fixed = ("name",)

    @act("governance.discover_connector", status=202, gives=ConnectorRow)
    def discover(self, request: Request, pk: Any) -> Response:
        """Asks the system which tools it offers, in the background: `last_seen_at` or `last_error` change then."""

        def work(act: Act) -> Response:
            connector = self.locked()
            if not connector.is_enabled:
                raise Problem("conflict", f"{connector.name} is disabled.")
            transaction.on_commit(lambda: _ask_soon(connector, act.by))
            return self.answered(connector, status=202)

        return self.governed(work)


def _ask_soon(connector: Connector, by: str) -> None:
    """Once in a while for each system, however often a script wants it."""
    if cache.add(f"discovery:{connector.pk}", 1, ASKED_EVERY_SECONDS):
        discover_connector.delay(connector.name, by)


class ToolParameters(Parameters):
    name = Text(required=False, max_length=128)
    connector = Text(source="connector__name", required=False, max_length=63)
    risk = Choice(choices=Tool.Risk.choices, required=False)
    quarantined = QueryFlag(required=False)


class Tools(Listed, Retrieved, Changed):
    """They come by discovery; here they are classified, and taken out of reach."""

    queryset = Tool.objects.select_related("connector")
    serializer_class = ToolRow
    parameters = ToolParameters
    order = ("name", "id")

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        plain = dict(filters)
        is_quarantined = plain.pop("quarantined", None)
        rows = rows.filter(**plain)
        return rows if is_quarantined is None else rows.filter(quarantined_at__isnull=not is_quarantined)

    @act("governance.change_tool", takes=Reason)
    def quarantine(self, request: Request, pk: Any) -> Response:
        """No agent can reach it from now on."""

        def work(tool: Tool, act: Act, wish: Mapping[str, Any]) -> None:
            reason = wish["reason"] or "Set by the API"
            deciding(lambda: registry.quarantine(tool, reason=reason, by=act.by, record=act.record, now=act.now))

        return self.on_row(work)

    @act("governance.change_tool")
    def release(self, request: Request, pk: Any) -> Response:
        """Agents whose roles give it can call it again at once."""
        return self.on_row(lambda tool, act, _: deciding(lambda: registry.release(tool, by=act.by, record=act.record)))


def deciding(decide: Any) -> None:
    try:
        decide()
    except NotDecidable as reason:
        raise Problem("conflict", str(reason)) from None


class DefinitionParameters(Parameters):
    status = Choice(choices=ToolDefinition.Status.choices, required=False)
    connector = Text(source="tool__connector__name", required=False, max_length=63)


class DefinitionDetail(DefinitionRow):
    definition = serializers.SerializerMethodField(
        help_text="What the upstream says of its tool. Hostile until a human has read it."
    )

    class Meta(DefinitionRow.Meta):
        fields = (*DefinitionRow.Meta.fields, "definition")
        read_only_fields = fields

    @extend_schema_field({"type": "object", "additionalProperties": True})
    def get_definition(self, row: ToolDefinition) -> Any:
        return orjson.loads(bytes(row.body))


class Definitions(Listed, Retrieved):
    """What an upstream says a tool is. Only a pinned definition is served."""

    queryset = ToolDefinition.objects.select_related("tool__connector")
    serializer_class = DefinitionDetail
    parameters = DefinitionParameters
    order = ("-seen_at", "id")
    under = Under("tool_id", "tool", Tool.objects.all())

    def get_serializer_class(self) -> Any:
        return DefinitionRow if self.action == "list" else DefinitionDetail

    def get_queryset(self) -> QuerySet[Any]:
        """Bodies may be large; a list reads none."""
        rows = super().get_queryset()
        return rows.defer("body") if self.action == "list" else rows

    @act("governance.decide_tooldefinition")
    def pin(self, request: Request, **_: Any) -> Response:
        """Serves it to agents from now on, in the place of the one pinned before. Read it first."""
        return self.on_row(lambda row, act, _: deciding(lambda: registry.pin(row, by=act.by, record=act.record)))

    @act("governance.decide_tooldefinition")
    def reject(self, request: Request, **_: Any) -> Response:
        """It stays rejected, however often the upstream offers it."""
        return self.on_row(lambda row, act, _: deciding(lambda: registry.reject(row, by=act.by, record=act.record)))


SENT_TO = "Look whether the value shall go there, and send them as `destinations`"
LIVE_VALUES = Prefetch(
    "versions",
    SecretVersion.objects.filter(retired_at=None).only("secret", "number", "created_at"),
    "live_versions",
)


class Secrets(Listed, Retrieved, Created, Changed, Deleted):
    """What we present to systems. Values go in and never come out."""

    queryset = Secret.objects.prefetch_related(LIVE_VALUES, "connectors")
    serializer_class = SecretRow
    parameters = NameParameters

    def store(self, serializer: Row, act: Act) -> Any:
        value = serializer.validated_data.pop("value", None)
        secret = serializer.save()
        if value is not None:
            _put(secret, value, act)
        return secret

    @act("governance.replace_secret", takes=SecretValue)
    def value(self, request: Request, pk: Any) -> Response:
        """Stores a new value; the one before is retired. Say where it will be sent: somebody could have pointed a
        connector at a listener of hers meanwhile."""

        def work(secret: Secret, act: Act, wish: Mapping[str, Any]) -> None:
            places = destinations(secret)
            if wish["destinations"] != places:
                raise Problem("conflict", f"Nothing was stored. {SENT_TO}: {orjson.dumps(places).decode()}")
            _put(secret, wish["value"], act)

        return self.on_row(work)


def _put(secret: Secret, value: str, act: Act) -> None:
    try:
        put_secret_value(secret, value=value, by=act.by, record=act.record, now=act.now)
    except UnusableSecret as reason:
        raise of_fields([FieldError("value", "rule", str(reason))]) from None
