"""Systems, their tools, and the secrets we present to them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.core.cache import cache
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.etags import check_if_match
from gateway.api.fields import Choice, Parameters, QueryFlag, Row, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Changed, Created, Deleted, Listed, Retrieved, Under, Work, act
from gateway.api.serializers.registry import ConnectorRow, DefinitionRow, Reason, SecretRow, SecretValue, ToolRow
from gateway.asked import AlreadyRunning, Asked, Overtaken, asked, only_one
from gateway.discovery import Unanswered
from gateway.hostile_text import visible
from gateway.offers import Listing, ask_offers, keep_offers
from gateway.secret_trials import (
    Candidate,
    Moved,
    Places,
    Trial,
    candidate,
    check_candidate,
    is_accepted,
    store,
    try_value,
)
from gateway.tasks import discover_connector
from governance import freezes, registry
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


BUSY = "It is being asked right now, or many others are. Try again when that is done."


class OfferRow(serializers.Serializer):  # type: ignore[misc]
    name = serializers.CharField(help_text="What a pattern matches: a name or a URI, or a template of URIs. Hostile.")
    title = serializers.CharField(help_text="In the system's words. Hostile.")


class OfferList(serializers.Serializer):  # type: ignore[misc]
    kind = serializers.CharField(help_text="prompt or resource")
    title = serializers.CharField()
    total = serializers.IntegerField()
    offers = OfferRow(many=True, help_text="The first 500, without those that repeat our secret.")
    problem = serializers.CharField(help_text="Why this list was not answered; empty if it was.")


class OffersRow(serializers.Serializer):  # type: ignore[misc]
    asked_at = serializers.DateTimeField()
    lists = OfferList(many=True)


class Connectors(Listed, Retrieved, Created, Changed, Deleted):
    """One system each, and how to reach it. A new one has no tools until it is asked for them (`discover`)."""

    queryset = Connector.objects.select_related("secret")
    serializer_class = ConnectorRow
    parameters = ConnectorParameters
    fixed = ("name",)

    def remove(self, row: Connector, act: Act) -> None:
        if freezes.holds(row, now=act.now):
            raise Problem("conflict", "It, or a tool of it, is frozen. Lift the freeze first.")
        row.delete()

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

    @act("governance.discover_connector", gives=OffersRow)
    def offers(self, request: Request, pk: Any) -> Response:
        """Asks the system now which prompts and resources it offers, to write patterns for a bundle by. Nothing is
        pinned: what it says later counts."""

        def prepare() -> Work:
            connector = self.get_object()
            if not connector.is_enabled:
                raise Problem("conflict", f"{connector.name} is disabled.")
            wanted = asked(connector)
            lists = _offered(wanted)
            return lambda act: _kept(wanted, lists, act)

        return self.governed_after(prepare)


def _offered(wanted: Asked) -> list[Listing]:
    try:
        with only_one(str(wanted.connector_id)):
            return asyncio.run(ask_offers(wanted))
    except AlreadyRunning:
        raise Problem("conflict", BUSY) from None
    except Unanswered as reason:
        raise Problem("conflict", visible(f"It did not answer. {reason}")) from None


def _kept(wanted: Asked, lists: list[Listing], act: Act) -> Response:
    try:
        offers = keep_offers(wanted, lists, person_id=act.person.pk, record=act.record, now=act.now)
    except Overtaken:
        raise Problem("conflict", "The connector was changed meanwhile, so nothing was kept.") from None
    return Response(OffersRow(offers).data)


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

    findings = serializers.SerializerMethodField(
        help_text="What inspection says of it: rule, severity, place. Null where nothing has looked yet."
    )

    class Meta(DefinitionRow.Meta):
        fields = (*DefinitionRow.Meta.fields, "definition", "findings")
        read_only_fields = fields

    @extend_schema_field({"type": ["array", "null"], "items": {"type": "object", "additionalProperties": True}})
    def get_findings(self, row: ToolDefinition) -> Any:
        return row.findings

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


NOT_ACCEPTED = (
    "Nothing was stored, because not every system accepts the value. If it becomes valid there only later, send it "
    "with `even_if_refused`."
)
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
        """Tries a new value at every system that uses the secret, and stores it if all accept it; the one before is
        retired. Say where it will be sent: somebody could have pointed a connector at a listener of hers meanwhile."""

        def prepare() -> Work:
            secret = self.get_object()
            check_if_match(request, self.shown(secret), is_required=False)
            return self._switch(*_tried(secret, self.wish(SecretValue)))

        return self.governed_after(prepare)

    def _switch(self, tried: Candidate, trials: Sequence[Trial]) -> Work:
        def work(act: Act) -> Response:
            secret = self.locked()
            try:
                store(tried, trials, person=act.person, record=act.record, now=act.now)
            except Moved:
                raise _goes_elsewhere(destinations(secret)) from None
            return self.answered(secret)

        return work


def _tried(secret: Secret, wish: Mapping[str, Any]) -> tuple[Candidate, Sequence[Trial]]:
    """What each system says to the value, while nothing is open in the database."""
    tried = candidate(secret, wish["value"])
    if wish["destinations"] != tried.places:
        raise _goes_elsewhere(tried.places)
    try:
        check_candidate(tried)
    except UnusableSecret as reason:
        raise of_fields([FieldError("value", "rule", str(reason))]) from None
    trials = asyncio.run(try_value(tried))
    if not (is_accepted(trials) or wish["even_if_refused"]):
        raise Problem("value_refused", NOT_ACCEPTED, errors=map(_said, trials))
    return tried, trials


def _said(trial: Trial) -> FieldError:
    code = "accepted" if trial.is_accepted else "not_accepted"
    text = visible(" ".join(filter(None, (trial.text, trial.remedy))))
    return FieldError(f"destinations.{trial.connector}", code, text)


def _goes_elsewhere(places: Places) -> Problem:
    return Problem("conflict", f"Nothing was stored. {SENT_TO}: {orjson.dumps(places).decode()}")


class SecretVersionRow(Row):
    class Meta:
        model = SecretVersion
        fields = ("id", "number", "created_at", "retired_at")
        read_only_fields = fields


class SecretVersions(Listed, Retrieved):
    """When its value was replaced. The values themselves come out nowhere."""

    queryset = SecretVersion.objects.only("secret", "number", "created_at", "retired_at")
    serializer_class = SecretVersionRow
    order = ("-number",)
    under = Under("secret_id", "secret", Secret.objects.all())


def _put(secret: Secret, value: str, act: Act) -> None:
    try:
        put_secret_value(secret, value=value, by=act.by, record=act.record, now=act.now)
    except UnusableSecret as reason:
        raise of_fields([FieldError("value", "rule", str(reason))]) from None
