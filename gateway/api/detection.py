"""The detection rules that this release ships, and which of them are switched off."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import packs
from gateway.api.fields import Choice, Parameters, QueryFlag, Row, Strict, Text
from gateway.api.pagination import page_of
from gateway.api.resource import Act, Deleted, Endpoint, Listed, Retrieved, Work
from governance.detection_rules import REASON_LIMIT, known_rules, switch_off, switch_on
from governance.models import DetectionOff

VIEW: Final = "governance.view_detectionoff"
CHANGE: Final = "governance.change_detectionoff"
KINDS: Final = ("secret", "card", "personal", "injection", "unicode", "definition")


class DetectionShown(Strict):
    rule = serializers.CharField(help_text="As findings name it.")
    kind = serializers.ChoiceField(choices=KINDS)
    version = serializers.IntegerField()
    severity = serializers.CharField()
    looks_for = serializers.CharField()
    on = serializers.BooleanField(help_text="Else it finds nothing, in no call; switched-off-rules tells why.")
    pack = serializers.CharField(help_text="The digest of engine, rules and model. Records with findings name it.")


class DetectionParameters(Parameters):
    kind = Choice(choices=KINDS, required=False)
    on = QueryFlag(required=False)


class DetectionRules(Endpoint):
    """What each rule looks for. How often it was wrong: finding-rates."""

    queryset = DetectionOff.objects.none()
    parameters = DetectionParameters
    permissions = {"list": VIEW}

    @extend_schema(responses=DetectionShown(many=True), operation_id="detection_rules_list")
    def list(self, request: Request) -> Response:
        found, link = page_of(sorted(self._found(), key=_by_name), key=_by_name, request=request, asked=self.asked)
        return Response({"results": found, "next": link})

    def _found(self) -> Iterator[dict[str, Any]]:
        pack, off = packs.shipped(), set(DetectionOff.objects.values_list("rule", flat=True))
        wanted = {name: self.asked[name] for name in ("kind", "on") if name in self.asked}
        for each in pack.rules:
            line = {
                "rule": each.rule,
                "kind": each.kind,
                "version": each.version,
                "severity": each.severity.name.lower(),
                "looks_for": each.looks_for,
                "on": each.rule not in off,
                "pack": pack.digest,
            }
            if wanted.items() <= line.items():
                yield line


def _by_name(line: Mapping[str, Any]) -> tuple[str, ...]:
    return (line["rule"],)


class OffRow(Row):
    class Meta:
        model = DetectionOff
        fields = ("id", "rule", "reason", "set_by", "set_at")
        read_only_fields = fields


class OffWish(Strict):
    rule = Text(max_length=100)
    reason = Text(max_length=REASON_LIMIT, help_text="The evidence keeps it.")


class OffParameters(Parameters):
    rule = Text(required=False, max_length=100)


class SwitchedOffRules(Listed, Retrieved, Deleted):
    """Detection rules that are off for the whole organization. Deleting one switches the rule on again."""

    queryset = DetectionOff.objects.all()
    serializer_class = OffRow
    parameters = OffParameters
    order = ("rule",)
    permissions = {"create": CHANGE, "destroy": CHANGE}

    @extend_schema(request=OffWish, responses={201: OffRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Its findings are neither seen by rules nor told, in no call. Where changes of rules need a second person,
        only an owner switches detection off."""

        def prepare() -> Work:
            known = known_rules()

            def work(act: Act) -> Response:
                given: dict[str, Any] = {
                    "is_owner": act.person.is_superuser,
                    "by": act.by,
                    "record": act.record,
                    "now": act.now,
                }
                row = switch_off(**self.wish(OffWish), known=known, **given)
                response = self.answered(row, status=201)
                response["Location"] = f"{request.path}/{response.data['id']}"
                return response

            return work

        return self.governed_after(prepare)

    def remove(self, row: DetectionOff, act: Act) -> None:
        switch_on(row.rule, by=act.by, record=act.record, now=act.now)
