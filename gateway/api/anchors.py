"""Where checkpoints are kept beyond our reach."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request
from rest_framework.response import Response

from audit.models import AnchorReceipt
from gateway.api.fields import Choice, Flag, Parameters, QueryFlag, Reference, Row, Text, WholeNumber
from gateway.api.resource import Changed, Created, Deleted, Listed, Retrieved, act
from gateway.api.serializers.named import Name, NamedRow
from gateway.hostile_text import visible
from governance.anchors import ask_to_keep, faults
from governance.models import Anchor, Secret

SAID = ("kind", "url", "bucket", "region", "secret", "trust")
TOLD = ("kept_size", "kept_at", "failures", "ahead_size")
MOST_EVENTS = 2**31 - 1


class AnchorRow(NamedRow):
    name = Name()
    kind = Choice(choices=Anchor.Kind.choices)
    url = Text(max_length=500, help_text="Of the S3 service, or of the timestamp authority.")
    secret = Reference(
        Secret, required=False, allow_null=True, help_text="Of a bucket: access key id and secret access key."
    )
    retention_days = WholeNumber(required=False, min_value=1, max_value=36500)
    every_minutes = WholeNumber(required=False, min_value=1, max_value=1440)
    every_leaves = WholeNumber(required=False, min_value=1000, max_value=MOST_EVENTS)
    enabled = Flag(source="is_enabled", required=False)
    last_error = serializers.SerializerMethodField()

    class Meta:
        model = Anchor
        fields = (
            "id", "name", "title", "kind", "url", "bucket", "region", "prefix", "retention_days", "secret", "trust",
            "every_minutes", "every_leaves", "enabled", *TOLD, "last_error",
        )  # fmt: skip
        read_only_fields = ("id", *TOLD)

    def get_last_error(self, anchor: Anchor) -> str:
        return visible(anchor.error)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        told = {name: values.get(name, getattr(self.instance or Anchor(), name)) for name in SAID}
        if found := list(faults(told)):
            raise serializers.ValidationError({name: [ErrorDetail(text, "rule")] for name, text in found})
        return values


class AnchorParameters(Parameters):
    name = Text(required=False, max_length=63)
    kind = Choice(choices=Anchor.Kind.choices, required=False)
    enabled = QueryFlag(source="is_enabled", required=False)


class Anchors(Listed, Retrieved, Created, Changed, Deleted):
    """A bucket with Object Lock or a timestamp authority, where checkpoints are kept. `ahead_size` is of one that is
    kept there and that this database never got to: then the database is older than its anchor."""

    queryset = Anchor.objects.select_related("secret")
    serializer_class = AnchorRow
    parameters = AnchorParameters
    fixed = ("name", "kind")

    @act("governance.keep_anchor", status=202, gives=AnchorRow)
    def keep(self, request: Request, pk: Any) -> Response:
        """The worker keeps the newest checkpoint there now, also if the anchor is disabled."""

        def work(act: Any) -> Response:
            anchor = self.locked()
            ask_to_keep([anchor], record=act.record, now=act.now)
            return self.answered(anchor, status=202)

        return self.governed(work)


class AnchorReceiptRow(Row):
    reference = serializers.SerializerMethodField(help_text="Where it lies there, or when it was stamped.")

    class Meta:
        model = AnchorReceipt
        fields = ("id", "anchor", "size", "at", "reference", "note")
        read_only_fields = fields

    def get_reference(self, receipt: AnchorReceipt) -> str:
        return visible(receipt.reference)


class AnchorReceiptParameters(Parameters):
    anchor = Text(required=False, max_length=63)


class AnchorReceipts(Listed):
    """What was kept where, newest first. An anchor itself is asked by `verify_audit --anchors`."""

    queryset = AnchorReceipt.objects.defer("proof")
    serializer_class = AnchorReceiptRow
    parameters = AnchorReceiptParameters
    order = ("-id",)
