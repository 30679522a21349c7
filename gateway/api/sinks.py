"""Where evidence goes: sinks, how far each is, and what it does not take."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from audit.models import DeadLetter
from gateway import sink_acts
from gateway.api.fields import Choice, Flag, Parameters, QueryFlag, Reference, Row, Strict, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Changed, Created, Deleted, Endpoint, Listed, Retrieved, Under, act
from gateway.api.serializers.named import Name, NamedRow
from gateway.hostile_text import visible
from gateway.sink_progress import MOST_COUNTED, STATES, progress_of
from gateway.sinks import sink_faults
from governance.destinations import SENT_ELSEWHERE, stored_by
from governance.models import Secret, Sink

ANY_SETTINGS = {"type": "object", "additionalProperties": True}
MOST_SETTINGS = 50
OWNERS_WAY = (
    "No token sends a stored secret to another address. An owner may, on the sink's page; "
    "or store the value again as a new secret."
)
CHANGES = "governance.change_sink"


@extend_schema_field(ANY_SETTINGS)
class Settings(serializers.DictField):  # type: ignore[misc]
    """Of the sink's kind, which checks them."""

    default_error_messages = {"max_length": f"Give at most {MOST_SETTINGS}."}

    def to_internal_value(self, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > MOST_SETTINGS:
            self.fail("max_length")
        return super().to_internal_value(value)


class SinkRow(NamedRow):
    name = Name()
    kind = Choice(choices=sorted(Sink.KINDS))
    settings = Settings(required=False, help_text="Those of its kind, as docs/export.md tells. Nothing secret.")
    secret = Reference(Secret, required=False, allow_null=True, help_text="What its kind needs, from the vault.")
    enabled = Flag(source="is_enabled", required=False, help_text="Switched off it waits and keeps its place.")

    class Meta:
        model = Sink
        fields = ("id", "name", "title", "kind", "format", "redaction", "settings", "secret", "enabled")
        read_only_fields = ("id",)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        before = self.instance
        bare = before or Sink()
        wanted = {name: values.get(name, getattr(bare, name)) for name in ("kind", "format", "settings", "secret")}
        person = self.context["request"].user
        faults = sink_faults(
            wanted["kind"],
            wanted["format"],
            wanted["settings"],
            wanted["secret"],
            before=before,
            may_show=lambda secret: stored_by(secret, person=person),
        )
        if found := [(name, OWNERS_WAY if text == SENT_ELSEWHERE else text) for name, text in faults]:
            raise serializers.ValidationError({name: [ErrorDetail(visible(text), "rule")] for name, text in found})
        return values


class SinkParameters(Parameters):
    name = Text(required=False, max_length=63)
    kind = Choice(choices=sorted(Sink.KINDS), required=False)
    enabled = QueryFlag(source="is_enabled", required=False)


class Replay(Strict):
    since = Text(
        min_length=1,
        max_length=40,
        help_text="A leaf's number or a moment: everything from there on is sent once more.",
    )


class Sinks(Listed, Retrieved, Created, Changed, Deleted):
    """Where evidence is sent, in order and without gaps. What is asked for here, the worker does within a second;
    `progress` tells what came of it."""

    queryset = Sink.objects.select_related("secret")
    serializer_class = SinkRow
    parameters = SinkParameters
    fixed = ("name", "kind")

    def remove(self, row: Sink, act: Act) -> None:
        if reason := sink_acts.stays_because(row):
            raise Problem("conflict", reason)
        sink_acts.delete(row)

    @act(CHANGES, status=202, gives=SinkRow)
    def send_sample(self, request: Request, pk: Any) -> Response:
        """Tests the connection: the newest checkpoint, which discloses nothing, is sent."""
        return self._asked_for(sink_acts.test)

    @act(CHANGES, status=202, gives=SinkRow)
    def resume(self, request: Request, pk: Any) -> Response:
        """Tries again at once what was refused, or waits after a failure."""
        return self._asked_for(sink_acts.resume)

    @act(CHANGES, status=202, gives=SinkRow)
    def retry_dead_letters(self, request: Request, pk: Any) -> Response:
        """Leaves that were not taken are written anew, as the sink is set up now, and sent one by one."""
        return self._asked_for(sink_acts.retry)

    @act(CHANGES)
    def give_up_dead_letters(self, request: Request, pk: Any) -> Response:
        """Leaves that were not taken are not tried again. Which they were stays in the evidence."""
        return self.on_row(lambda sink, act, _: sink_acts.give_up(sink, record=act.record))

    @act(CHANGES, takes=Replay, status=202, gives=SinkRow)
    def replay(self, request: Request, pk: Any) -> Response:
        """Sends everything from a place of the log on once more."""

        def work(act: Act) -> Response:
            sink, wish = self.locked(), self.wish(Replay)
            try:
                leaf = sink_acts.leaf_of(wish["since"])
            except ValueError as reason:
                raise of_fields([FieldError("since", "rule", str(reason))]) from None
            sink_acts.replay(sink, leaf=leaf, record=act.record)
            return self.answered(sink, status=202)

        return self.governed(work)

    def _asked_for(self, ask: Callable[..., object]) -> Response:
        def work(act: Act) -> Response:
            sink = self.locked()
            ask(sink, record=act.record)
            return self.answered(sink, status=202)

        return self.governed(work)


class SampleShown(Strict):
    asked_at = serializers.DateTimeField(allow_null=True, help_text="Null unless one is under way.")
    said = serializers.CharField(help_text="What came of the last one.")
    said_at = serializers.DateTimeField(allow_null=True)


class ProgressShown(Strict):
    state = serializers.ChoiceField(choices=STATES)
    log_size = serializers.IntegerField(help_text="Leaves of the log.")
    sent = serializers.IntegerField(help_text="Every leaf before this one has arrived or is a dead letter.")
    behind = serializers.IntegerField(help_text="Leaves that have not arrived.")
    behind_seconds = serializers.FloatField(help_text="The age of the oldest of them.")
    dead_letters = serializers.IntegerField(help_text=f"Leaves it does not take, up to {MOST_COUNTED}.")
    arrived_at = serializers.DateTimeField(allow_null=True)
    retry_at = serializers.DateTimeField(allow_null=True)
    last_error = serializers.CharField()
    last_error_at = serializers.DateTimeField(allow_null=True)
    sample = SampleShown()


class SinkProgress(Endpoint):
    """How far it is. Not part of the sink itself: this changes each second."""

    queryset = Sink.objects.all()
    permissions = {"retrieve": "governance.view_sink"}

    @extend_schema(responses=ProgressShown)
    def retrieve(self, request: Request, sink_id: UUID) -> Response:
        sink = get_object_or_404(Sink, pk=sink_id)
        found = progress_of([sink], now=datetime.now(UTC))[sink.pk]
        place = found.place
        sample = {
            "asked_at": place and place.sample_asked_at,
            "said": found.sample,
            "said_at": place and place.sample_said_at,
        }
        shown = {
            "state": found.state,
            "log_size": found.size,
            "sent": found.sent,
            "behind": found.behind,
            "behind_seconds": found.behind_seconds,
            "dead_letters": found.dead_letters,
            "arrived_at": found.arrived_at,
            "retry_at": place and place.retry_at,
            "last_error": found.last_error,
            "last_error_at": place and place.last_error_at,
            "sample": sample,
        }
        return Response(ProgressShown(shown).data)


class DeadLetterRow(Row):
    leaf = serializers.IntegerField(source="index", read_only=True)
    error = serializers.SerializerMethodField(help_text="Why the sink does not take it.")

    class Meta:
        model = DeadLetter
        fields = ("leaf", "event_id", "error", "attempts", "at")
        read_only_fields = fields

    def get_error(self, letter: DeadLetter) -> str:
        return visible(letter.error)


class DeadLetters(Listed):
    """Leaves that one sink does not take, in the order of the log."""

    queryset = DeadLetter.objects.all()
    serializer_class = DeadLetterRow
    order = ("index",)
    under = Under("sink_id", "sink", Sink.objects.all())

    def get_queryset(self) -> QuerySet[Any]:
        get_object_or_404(Sink, pk=self.kwargs["sink_id"])
        return DeadLetter.objects.filter(sink=self.kwargs["sink_id"])

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        return rows
