"""Offboardings: what would happen, doing it now or later, and the receipt."""

import dataclasses
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Model, QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import offboarding_proof, offboardings
from gateway.api.bodies import JsonRenderer, PdfAccepted
from gateway.api.etags import etag_of, etag_of_bytes, is_known
from gateway.api.fields import Choice, Flag, Moment, Parameters, Reference, Row, Strict, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Endpoint, Listed, Retrieved, Work, act
from gateway.api.serializers.named import Email
from gateway.receipts.pdf import receipt_as_pdf
from governance import offboarding as verbs
from governance.models import Offboarding, OffboardingStep, User
from governance.offboarding import CannotOffboard, Plan
from governance.offboarding_undo import CannotUndo, undo

VIEW = "governance.view_offboarding"


class OffboardingShown(Row):
    person = Reference(User, by="email", read_only=True)
    plan = serializers.DictField(read_only=True, help_text="Who gets which agent.")
    digest = serializers.CharField(source="receipt_digest", read_only=True, help_text="SHA-256 of the receipt.")

    class Meta:
        model: type[Model] = Offboarding
        fields: tuple[str, ...] = (
            "id", "person", "state", "plan", "reason", "due_at", "created_at", "created_by", "withdrawn_at",
            "finished_at", "problem", "digest", "edition", "issued_at", "undo_until", "undone_at", "undone_by",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields


class OffboardingStepShown(Row):
    owner = Reference(User, by="email", read_only=True, allow_null=True)

    class Meta:
        model: type[Model] = OffboardingStep
        fields: tuple[str, ...] = (
            "id", "kind", "name", "subject_id", "state", "result", "todo", "owner", "due_at", "next_try_at", "tries",
            "error", "done_at", "done_by",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields


class OffboardingDetail(OffboardingShown):
    items = serializers.ListField(child=serializers.DictField(), read_only=True, help_text="What was found and done.")
    enforcement = serializers.DictField(read_only=True, help_text="Which gateways confirmed it, and the calls it cut.")
    receipt = serializers.SerializerMethodField(help_text="As it was proven; null until then.")
    steps = OffboardingStepShown(many=True, read_only=True, help_text="What was left for later, and how far it is.")

    class Meta(OffboardingShown.Meta):
        fields = (*OffboardingShown.Meta.fields, "items", "enforcement", "steps", "receipt", "signature")
        read_only_fields = fields

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
    def get_receipt(self, offboarding: Offboarding) -> Any:
        return orjson.loads(offboarding.receipt) if offboarding.receipt else None


class OffboardingWish(Strict):
    person = Reference(User, by="email")
    successor = Reference(
        User, by="email", among={"is_active": True}, required=False, allow_null=True, default=None,
        help_text="Gets her agents; without one they are suspended.",
    )  # fmt: skip
    agents = serializers.DictField(
        child=Email(allow_blank=True), required=False, default=dict,
        help_text="Agent -> who gets it, or empty to suspend it; the others go to the successor.",
    )  # fmt: skip
    at = Moment(required=False, allow_null=True, default=None, help_text="Later, at this time; now if left out.")
    expected = Text(
        required=False, default="", allow_blank=True, max_length=64,
        help_text="`digest` of the preview you saw: if what hangs on her has changed since, nothing is done.",
    )  # fmt: skip
    reason = Text(required=False, default="", allow_blank=True, max_length=300, help_text="For the receipt.")
    dry_run = Flag(required=False, default=False, help_text="Only tell what would happen; changes nothing.")


class Preview(Strict):
    person = Email()
    counts = serializers.DictField(child=serializers.IntegerField())
    items = serializers.ListField(child=serializers.DictField())
    digest = serializers.CharField()


class CheckShown(Strict):
    at = serializers.DateTimeField()
    by = serializers.CharField()
    tried = serializers.IntegerField(help_text="So many keys and tokens.")
    live = serializers.ListField(child=serializers.CharField(), help_text="Those that still work; it must be empty.")
    active = serializers.BooleanField(help_text="The account works again.")
    gateways = serializers.ListField(
        child=serializers.DictField(), allow_null=True,
        help_text="What each live gateway said when it tried them: how many, and which it would let in.",
    )  # fmt: skip
    clean = serializers.BooleanField()


class UndoShown(Strict):
    agents = serializers.ListField(child=serializers.CharField())
    teams = serializers.ListField(child=serializers.CharField())
    roles = serializers.ListField(child=serializers.CharField())
    duties = serializers.ListField(child=serializers.CharField())
    manager = serializers.CharField(allow_blank=True)
    stays = serializers.ListField(child=serializers.CharField(), help_text="What does not come back, and why.")


class OffboardingParameters(Parameters):
    person = Text(source="person__email", required=False, max_length=254)
    state = Choice(choices=Offboarding.State.choices, required=False)


class Offboardings(Listed, Retrieved):
    """Ending everything that hangs on a person. `enforced` means that every live gateway confirmed it."""

    queryset = Offboarding.objects.select_related("person")
    serializer_class = OffboardingDetail
    parameters = OffboardingParameters
    order = ("-created_at", "id")
    permissions = {"create": verbs.PERMISSION}

    def get_serializer_class(self) -> Any:
        return OffboardingShown if self.action == "list" else OffboardingDetail

    def get_queryset(self) -> QuerySet[Any]:
        """What it found may be large; a list reads none."""
        rows = super().get_queryset()
        return rows.defer("items", "receipt", "enforcement") if self.action == "list" else rows

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Looks, as the screen does, who has confirmed meanwhile."""
        row = self.get_object()
        if row.state == Offboarding.State.ENFORCING:
            offboardings.follow(row.pk)
        return super().retrieve(request, *args, **kwargs)

    @extend_schema(
        request=OffboardingWish,
        responses={200: Preview, 201: OffboardingDetail},
    )
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """When this answers 201 without `at`, nothing of hers can start a call; read it again for who confirmed it."""

        def work(act: Act) -> Response:
            wish = self.wish(OffboardingWish)
            if not verbs.may_offboard(act.person, wish["person"]):
                raise Problem("permission_denied", "Only an owner may offboard an owner.")
            try:
                return _preview(wish) if wish["dry_run"] else self._begun(_begin(wish, act))
            except CannotOffboard as reason:
                raise _refusal(reason) from None

        return self.governed(work)

    def _begun(self, row: Offboarding) -> Response:
        shown = self.shown(self.queryset.get(pk=row.pk))
        location = f"{self.request.path}/{row.pk}"
        return Response(shown, status=201, headers={"ETag": etag_of(shown), "Location": location})

    @act(verbs.PERMISSION)
    def cancel(self, request: Request, pk: Any) -> Response:
        """Only while it waits for its time, and not one's own."""

        def work(row: Offboarding, act: Act, _: Mapping[str, Any]) -> None:
            if not verbs.may_cancel(act.person, row):
                raise Problem("permission_denied", "Nobody cancels her own, and only an owner one of an owner.")
            if not verbs.cancel(row, record=act.record, now=act.now):
                raise Problem("conflict", f"It does not wait any more ({row.state}).")

        return self.on_row(work)

    @act(verbs.PERMISSION, gives=UndoShown)
    def undo(self, request: Request, pk: Any) -> Response:
        """She works here again, within the days of `undo_until`. What was revoked stays revoked."""
        row = self.get_object()

        def work(act: Act) -> Response:
            try:
                found = undo(row, acting=act.person, by=act.by, record=act.record, now=act.now)
            except CannotUndo as reason:
                raise Problem("conflict", str(reason)) from None
            return Response(dataclasses.asdict(found))

        return self.governed(work)

    @act(VIEW, gives=CheckShown)
    def check(self, request: Request, pk: Any) -> Response:
        """Tries every ended key and token once more. The result is kept as evidence; the receipt stays as it was."""

        def prepare() -> Work:
            row = self.get_object()
            if not row.receipt:
                raise Problem("conflict", f"There is no receipt yet ({row.state}).")
            check = offboarding_proof.try_everything(row, by=f"person:{request.user.email}")

            def work(act: Act) -> Response:
                offboarding_proof.keep_check(row, check, record=act.record)
                return Response(check.as_json())

            return work

        return self.governed_after(prepare)


class Receipt(Endpoint):
    """The receipt, whose SHA-256 is in evidence, byte for byte; with `Accept: application/pdf` as it is printed."""

    queryset = Offboarding.objects.exclude(receipt="")
    permissions = {"retrieve": VIEW}
    renderer_classes = (JsonRenderer, PdfAccepted)

    @extend_schema(
        responses={
            (200, "application/json"): {"type": "object", "additionalProperties": True},
            (200, "application/pdf"): OpenApiTypes.BINARY,
        }
    )
    def retrieve(self, request: Request, offboarding_id: UUID) -> HttpResponse:
        """What was found, ended and proven; as JSON or PDF."""
        found = get_object_or_404(self.queryset.all(), pk=offboarding_id)
        is_paper = request.accepted_renderer.format == "pdf"
        body = receipt_as_pdf(found, offboarding_proof.place_in_log(found)) if is_paper else found.receipt.encode()
        etag = etag_of_bytes(body)
        if is_known(request, etag):
            return HttpResponse(status=304, headers={"ETag": etag})
        return HttpResponse(body, content_type=request.accepted_renderer.media_type, headers={"ETag": etag})


def _plan(wish: Mapping[str, Any]) -> Plan:
    successor = wish["successor"].email if wish["successor"] else ""
    return Plan(successor, dict(wish["agents"]))


def _preview(wish: Mapping[str, Any]) -> Response:
    items = offboardings.preview(wish["person"], plan=_plan(wish))
    shown = {
        "person": wish["person"].email,
        "counts": verbs.counts(items),
        "items": [item.as_json() for item in items],
        "digest": verbs.findings_digest(items),
    }
    return Response(shown)


def _begin(wish: Mapping[str, Any], act: Act) -> Offboarding:
    person, plan = wish["person"], _plan(wish)
    if wish["at"]:
        return verbs.schedule(person, plan=plan, due_at=wish["at"], by=act.by, record=act.record, now=act.now)
    return offboardings.begin_within(
        person, plan=plan, by=act.by, record=act.record, now=act.now, expected=wish["expected"], reason=wish["reason"]
    )


def _refusal(reason: CannotOffboard) -> Problem:
    if isinstance(reason, verbs.FindingsChanged | verbs.UnderWay):
        return Problem("conflict", str(reason))
    return of_fields([FieldError("", "rule", str(reason))])
