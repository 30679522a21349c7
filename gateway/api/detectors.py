"""Detectors of somebody else's, which rules may ask."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Flag, Number, Parameters, QueryFlag, Reference, Strict, Text, WholeNumber
from gateway.api.problems import Problem
from gateway.api.resource import Act, Changed, Created, Deleted, Listed, Retrieved, Work, act
from gateway.api.serializers.named import Name, NamedRow
from gateway.api.sinks import OWNERS_WAY, Settings
from gateway.detector_setup import detector_faults, try_detector
from gateway.hostile_text import visible
from governance.data_classes import stays_because
from governance.destinations import SENT_ELSEWHERE, stored_by
from governance.models import ExternalDetector, Secret
from governance.models.detectors import LEAST_MS, MOST_BYTES, MOST_MS

CHANGES = "governance.change_externaldetector"


class DetectorRow(NamedRow):
    name = Name()
    kind = Choice(choices=sorted(ExternalDetector.KINDS))
    settings = Settings(required=False, help_text="Those of its kind, as docs/detectors.md tells. Nothing secret.")
    secret = Reference(Secret, required=False, allow_null=True, help_text="What its kind needs, from the vault.")
    side = Choice(choices=ExternalDetector.Side.choices, required=False, help_text="What it is asked about.")
    timeout_ms = WholeNumber(required=False, min_value=LEAST_MS, max_value=MOST_MS, help_text="To answer in.")
    most_bytes = WholeNumber(required=False, min_value=1, max_value=MOST_BYTES, help_text="Of text, in one question.")
    severity = Choice(choices=ExternalDetector.Severity.choices, required=False)
    least_confidence = Number(required=False, min_value=0.0, max_value=1.0, help_text="What is less sure is dropped.")
    send_known_secrets = Flag(required=False, help_text="Secrets that Gatehouse finds itself are not masked first.")
    enabled = Flag(source="is_enabled", required=False, help_text="Switched off it does not answer: rules decide.")
    version = serializers.IntegerField(source="number", read_only=True)

    class Meta:
        model = ExternalDetector
        fields = (
            *("id", "name", "title", "kind", "settings", "secret", "side", "timeout_ms", "most_bytes", "severity"),
            *("least_confidence", "send_known_secrets", "enabled", "version"),
        )
        read_only_fields = ("id", "version")

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        before = self.instance
        bare = before or ExternalDetector()
        wanted = {name: values.get(name, getattr(bare, name)) for name in ("kind", "settings", "secret", "most_bytes")}
        person = self.context["request"].user
        faults = detector_faults(
            wanted["kind"],
            wanted["settings"],
            wanted["secret"],
            most_bytes=wanted["most_bytes"],
            before=before,
            may_show=lambda secret: stored_by(secret, person=person),
        )
        if found := [(name, OWNERS_WAY if text == SENT_ELSEWHERE else text) for name, text in faults]:
            raise serializers.ValidationError({name: [ErrorDetail(visible(text), "rule")] for name, text in found})
        return values


class DetectorParameters(Parameters):
    name = Text(required=False, max_length=63)
    kind = Choice(choices=sorted(ExternalDetector.KINDS), required=False)
    enabled = QueryFlag(source="is_enabled", required=False)


class DetectorTrial(Strict):
    outcome = serializers.CharField(help_text="ok, or why it gave no answer.")
    message = serializers.CharField()
    milliseconds = serializers.FloatField()
    labels = serializers.ListField(child=serializers.CharField(), help_text="What it found in the text of the test.")


class Detectors(Listed, Retrieved, Created, Changed, Deleted):
    """Services and models that say what is in a text. Rules name one `detector:NAME`; where it gives no answer, each
    rule's `on_failure` decides."""

    queryset = ExternalDetector.objects.select_related("secret")
    serializer_class = DetectorRow
    parameters = DetectorParameters
    fixed = ("name", "kind")

    def remove(self, row: ExternalDetector, act: Act) -> None:
        if reason := stays_because(row):
            raise Problem("conflict", reason)
        row.delete()

    @act(CHANGES, gives=DetectorTrial)
    def test(self, request: Request, pk: Any) -> Response:
        """Asks it about a text of nobody's."""

        def prepare() -> Work:
            trial = try_detector(self.get_object())

            def work(act: Act) -> Response:
                act.record(trial.as_fact())
                answered = trial.answered
                said = {"outcome": answered.outcome, "message": answered.message, "milliseconds": answered.ms}
                return Response({**said, "labels": trial.labels})

            return work

        return self.governed_after(prepare)
