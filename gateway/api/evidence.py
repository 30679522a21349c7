"""What happened: events, governed changes, the log's checkpoints, and the tallies counted from them. Only to read."""

from typing import Any

import orjson
from django.db.models import Model, QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.consistency import prove_consistency
from audit.event import first_id_at
from audit.models import CallTally, Checkpoint, EventRow, Leaf
from audit.subset_proof import LeavesMissing
from gateway.api.fields import Choice, Moment, Parameters, Row, Strict, Text
from gateway.api.problems import Problem
from gateway.api.resource import Endpoint, Listed, Retrieved, read_answer
from governance.models import Change

MOST_LEAVES = 2**63 - 1
ANYTHING = {"type": ["object", "null"], "additionalProperties": True}


class EventShown(Row):
    class Meta:
        model: type[Model] = EventRow
        fields: tuple[str, ...] = (
            "id", "kind", "at", "call_id", "actor", "agent", "person", "connector", "tool", "decision", "outcome",
            "process_id", "epoch", "decided_epoch",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields


class EventDetail(EventShown):
    record = serializers.SerializerMethodField(help_text="What was hashed into the log; the columns above repeat it.")
    leaf = serializers.SerializerMethodField(help_text="Its place in the log; null while it is not sequenced yet.")

    class Meta(EventShown.Meta):
        fields = (*EventShown.Meta.fields, "record", "leaf")
        read_only_fields = fields

    @extend_schema_field(ANYTHING)
    def get_record(self, event: EventRow) -> Any:
        try:
            return orjson.loads(bytes(event.header))
        except orjson.JSONDecodeError:
            return None

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_leaf(self, event: EventRow) -> int | None:
        return Leaf.objects.filter(event_id=event.pk).values_list("index", flat=True).first()


class EventParameters(Parameters):
    kind = Text(required=False, max_length=100, help_text="As in call.refused or key.issued.")
    agent = Text(required=False, max_length=63)
    tool = Text(required=False, max_length=300)
    person = Text(required=False, max_length=254)
    actor = Text(required=False, max_length=300)
    decision = Choice(choices=("permit", "deny", "ask"), required=False)
    outcome = Text(required=False, max_length=50)
    call_id = serializers.UUIDField(required=False)
    since = Moment(source="id__gte", required=False)
    until = Moment(source="id__lt", required=False)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Ids are time-ordered, so a time is a place in the primary key."""
        places: dict[str, Any] = {name: first_id_at(asked[name]) for name in ("id__gte", "id__lt") if name in asked}
        return {**asked, **places}


class Events(Listed, Retrieved):
    """Newest first."""

    queryset = EventRow.objects.all()
    serializer_class = EventDetail
    parameters = EventParameters
    order = ("-id",)

    def get_serializer_class(self) -> Any:
        return EventShown if self.action == "list" else EventDetail

    def get_queryset(self) -> QuerySet[Any]:
        """Records may be large; a list reads none."""
        rows = super().get_queryset()
        return rows.defer("header") if self.action == "list" else rows


class ChangeRow(Row):
    before = serializers.SerializerMethodField()
    after = serializers.SerializerMethodField()

    class Meta:
        model = Change
        fields = ("id", "at", "actor", "operation", "kind", "object_id", "relation", "before", "after")
        read_only_fields = fields

    @extend_schema_field(ANYTHING)
    def get_before(self, change: Change) -> Any:
        return orjson.loads(change.before) if change.before else None

    @extend_schema_field(ANYTHING)
    def get_after(self, change: Change) -> Any:
        return orjson.loads(change.after) if change.after else None


class ChangeParameters(Parameters):
    kind = Text(required=False, max_length=32)
    object_id = Text(required=False, max_length=64)
    actor = Text(required=False, max_length=300)


class Changes(Listed):
    """Who changed which row, and what it was before. Newest first; sealed columns are in none of them."""

    queryset = Change.objects.all()
    serializer_class = ChangeRow
    parameters = ChangeParameters
    order = ("-id",)


class CheckpointRow(Row):
    root = serializers.SerializerMethodField(help_text="Hexadecimal.")

    class Meta:
        model = Checkpoint
        fields = ("size", "root", "at", "note")
        read_only_fields = fields

    def get_root(self, checkpoint: Checkpoint) -> str:
        return bytes(checkpoint.root).hex()


class Checkpoints(Listed):
    """Signed statements of the log's size and root. Newest first."""

    queryset = Checkpoint.objects.defer("frontier")
    serializer_class = CheckpointRow
    order = ("-size",)


class ConsistencyShown(Strict):
    """RFC 6962 consistency of the tree that a checkpoint signs with an older one."""

    format = serializers.CharField()
    old_size = serializers.IntegerField()
    tree_size = serializers.IntegerField()
    root_hash = serializers.CharField()
    path = serializers.ListField(child=serializers.CharField())
    checkpoint = serializers.CharField(help_text="A signed note (C2SP).")
    file = serializers.CharField(help_text="All of it as the file that auditverify.py takes.")


class Consistency(Endpoint):
    """`size` is that of a checkpoint, `old_size` that of an older one, which somebody may have kept elsewhere."""

    queryset = Checkpoint.objects.all()
    permissions = {"retrieve": "audit.view_checkpoint"}

    @extend_schema(responses=ConsistencyShown)
    def retrieve(self, request: Request, size: int, old_size: int) -> Response:
        """That the log only grew between the two, to be checked elsewhere."""
        try:
            proof = prove_consistency(old_size, size)
        except LeavesMissing as error:
            raise Problem("conflict", str(error)) from None
        if proof is None:
            raise Http404
        return read_answer(request, proof.as_json())


class LeafRow(Row):
    hash = serializers.SerializerMethodField(help_text="Hexadecimal.")

    class Meta:
        model = Leaf
        fields = ("index", "event_id", "hash")
        read_only_fields = fields

    def get_hash(self, leaf: Leaf) -> str:
        return bytes(leaf.hash).hex()


class LeafParameters(Parameters):
    since = serializers.IntegerField(
        source="index__gte", required=False, min_value=0, max_value=MOST_LEAVES, help_text="An index."
    )
    event_id = serializers.UUIDField(required=False)


class Leaves(Listed):
    """The log itself: which event stands at which place. In the order of the log, without gaps."""

    queryset = Leaf.objects.all()
    serializer_class = LeafRow
    parameters = LeafParameters
    order = ("index",)


class TallyRow(Row):
    class Meta:
        model = CallTally
        fields = (
            "hour", "agent", "connector", "tool", "decision", "outcome", "calls", "upstream_ms", "slowest_ms",
        )  # fmt: skip
        read_only_fields = fields


class TallyParameters(Parameters):
    agent = Text(required=False, max_length=63)
    connector = Text(required=False, max_length=63)
    tool = Text(required=False, max_length=300)
    since = Moment(source="hour__gte", required=False)
    until = Moment(source="hour__lt", required=False)


class Tallies(Listed):
    """Calls of one hour each, counted from their evidence. Newest first."""

    queryset = CallTally.objects.all()
    serializer_class = TallyRow
    parameters = TallyParameters
    order = ("-hour", "id")
