"""Questions to humans over the wire: to see them, to decide them, and to ask for access."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models import Model, Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import approving
from gateway.api.etags import check_if_match, etag_of
from gateway.api.fields import Choice, Parameters, Reference, Row, Strict, Text, WholeNumber
from gateway.api.permissions import READS, may
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Endpoint, Listed, Retrieved, Work, act
from gateway.approving import Acting
from gateway.reach.current import current_snapshot
from governance.access_requests import LONGEST_MINUTES, AccessWish
from governance.approval_rows import (
    Authentication,
    CannotDecide,
    Changed,
    Incomplete,
    NotEligible,
    StepUpNeeded,
    approval_digest,
    asks_of,
    overdue,
    standing_of,
    state_at,
    subject_of,
)
from governance.approvals import Ballot, TooManyQuestions, may_cancel
from governance.approvers import may_decide
from governance.grants import CannotGrant
from governance.models import Agent, ApprovalDecision, ApprovalRequest, Bundle, Tool

DECIDE = "governance.decide_approvalrequest"
ASK = "governance.ask_approvalrequest"
MOST_LOOKED_AT = 500
"""The newest requests, of which it is asked whether they name somebody who has no right to see all."""
SEALED = ("arguments", "asked_arguments", "answer")
"""Up to a megabyte each, and not told here."""


class DecisionShown(Row):
    decision = Choice(choices=ApprovalDecision.Verdict.choices, source="verdict", read_only=True)
    digest = serializers.SerializerMethodField(
        help_text="What she was shown; one that differs from ours has no effect."
    )

    class Meta:
        model = ApprovalDecision
        fields = ("person", "decision", "reason", "ticket", "channel", "digest", "at")
        read_only_fields = fields

    def get_digest(self, decision: ApprovalDecision) -> str:
        return bytes(decision.digest).hex()


class AgreementShown(Strict):
    """How far one rule that asks is."""

    rule = serializers.CharField()
    reason = serializers.CharField()
    approvers = serializers.DictField(help_text="As in a policy's rule.")
    missing = serializers.IntegerField(help_text="So many more humans must agree.")


class ApprovalShown(Row):
    id = serializers.UUIDField(source="key", read_only=True)
    name = serializers.CharField(read_only=True, help_text="By which people speak of it, e.g. APR-7.")
    state = serializers.SerializerMethodField(help_text="As the clock has it now.")
    wanted = serializers.DictField(read_only=True, help_text="Of a request for access: bundle, tool, minutes.")
    labels = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="What its run has met.")
    stated_reason = serializers.CharField(read_only=True, help_text="The agent's own words: hostile until proved.")
    url = serializers.SerializerMethodField(help_text="Its page, where its arguments are shown.")

    class Meta:
        model: type[Model] = ApprovalRequest
        fields: tuple[str, ...] = (
            "id", "name", "kind", "state", "agent", "owner", "person", "connector", "tool", "method", "bundle",
            "bundle_version", "wanted", "labels", "stated_reason", "reason", "ticket", "created_at", "expires_at",
            "use_before", "escalated_at", "ended_at", "ended_because", "url",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields

    def get_state(self, request: ApprovalRequest) -> str:
        return state_at(request, datetime.now(UTC))

    def get_url(self, request: ApprovalRequest) -> str:
        return f"{settings.PUBLIC_URL}/approvals/{request.key}/"


class ApprovalDetail(ApprovalShown):
    digest = serializers.SerializerMethodField(help_text="What a decision must name: this request, as it stands now.")
    decisions = DecisionShown(many=True, read_only=True)
    agreements = serializers.SerializerMethodField()

    class Meta(ApprovalShown.Meta):
        fields = (*ApprovalShown.Meta.fields, "digest", "decisions", "agreements", "call_id", "grant_id")
        read_only_fields = fields

    def get_digest(self, request: ApprovalRequest) -> str:
        return approval_digest(request).hex()

    @extend_schema_field(AgreementShown(many=True))
    def get_agreements(self, request: ApprovalRequest) -> list[dict[str, Any]]:
        found = standing_of(request, current_snapshot()).agreements
        return [{**term, "missing": each.missing} for term, each in zip(request.terms, found, strict=True)]


class DecisionWish(Strict):
    decision = Choice(choices=ApprovalDecision.Verdict.choices)
    digest = Text(min_length=64, max_length=64, help_text="`digest` of the request as you were shown it.")
    reason = Text(required=False, default="", allow_blank=True, max_length=500)
    ticket = Text(required=False, default="", allow_blank=True, max_length=100)


class ApprovalParameters(Parameters):
    state = Choice(choices=ApprovalRequest.State.choices, required=False)
    kind = Choice(choices=ApprovalRequest.Kind.choices, required=False)
    agent = Text(required=False, max_length=63)
    tool = Text(required=False, max_length=2200)
    bundle = Text(required=False, max_length=63)


class Approvals(Listed, Retrieved):
    """Calls that wait for a human, and wishes for access. Everybody sees what she may decide, has decided or is behind;
    arguments are shown on the page only."""

    queryset = ApprovalRequest.objects.defer(*SEALED).prefetch_related("decisions")
    serializer_class = ApprovalDetail
    parameters = ApprovalParameters
    order = ("-number",)
    own = "owner_id"
    lookup_field = "key"
    lookup_url_kwarg = "pk"

    def get_serializer_class(self) -> Any:
        return ApprovalShown if self.action == "list" else ApprovalDetail

    def get_queryset(self) -> QuerySet[Any]:
        person, rows = self.request.user, self.queryset.all()
        if may(person, "governance.view_approvalrequest"):
            return rows
        hers = Q(owner_id=person.pk) | Q(person_id=person.pk) | Q(asked_by_id=person.pk)
        said = Q(decisions__person_id=person.pk)
        return rows.filter(hers | said | Q(number__in=_naming(person.pk.hex))).distinct()

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        plain, now = dict(filters), datetime.now(UTC)
        return rows.filter(_in_state(plain.pop("state", None), now), **plain)

    def is_own_affair(self, row: Any) -> bool:
        """A rule may name people who have no duty at all; to withdraw is for those whom no rule may name."""
        if self.action == "decisions":
            return row.number in _naming(self.request.user.pk.hex)
        return self.action in READS or may_cancel(row, self.request.user.pk.hex, current_snapshot())

    @act(DECIDE, takes=DecisionWish, gives=ApprovalDetail)
    def decisions(self, request: Request, pk: Any) -> Response:
        """Approves or denies what the digest names. Where a rule wants a fresh sign-in, decide on the page."""
        return self._acting(lambda row, acting, act: self._decided(row, self.wish(DecisionWish), acting, act))

    @act(ASK, gives=ApprovalDetail)
    def withdraw(self, request: Request, pk: Any) -> Response:
        """By who asked, or answers for the agent that did."""
        return self._acting(lambda row, acting, act: approving.cancelled(row, acting, by=act.person))

    def _acting(self, work: Callable[[ApprovalRequest, Acting, Act], object]) -> Response:
        """The row is held by the verb itself, in the order in which everything holds rows."""

        def prepare() -> Work:
            snapshot = current_snapshot()

            def whole(act: Act) -> Response:
                row = self.get_object()
                check_if_match(self.request, self.shown(row), is_required=False)
                try:
                    work(row, Acting(snapshot, act.record, act.now), act)
                except CannotDecide as reason:
                    raise refusal(reason) from None
                return self.answered(row)

            return whole

        return self.governed_after(prepare)

    def _decided(self, row: ApprovalRequest, wish: Mapping[str, Any], acting: Acting, act: Act) -> None:
        """A token proves nothing recent about who holds it."""
        ballot = Ballot(
            by=act.person,
            digest=_digest(wish["digest"]),
            revision=row.revision,
            channel="api",
            authentication=Authentication("token", None, str(self.request.META.get("REMOTE_ADDR", ""))),
            reason=wish["reason"],
            ticket=wish["ticket"],
        )
        approving.decided(row, ballot, acting, approves=wish["decision"] == ApprovalDecision.Verdict.APPROVE)


class AccessWished(Strict):
    agent = Reference(Agent, required=False, allow_null=True, default=None, help_text="Left out: for yourself.")
    bundle = Reference(Bundle)
    tool = Text(
        required=False, default="", allow_blank=True, max_length=2300, help_text="connector/tool; left out: all of it."
    )  # fmt: skip
    minutes = WholeNumber(min_value=1, max_value=LONGEST_MINUTES)
    reason = Text(max_length=500, help_text="What it is needed for; a human reads it.")
    ticket = Text(required=False, default="", allow_blank=True, max_length=100)


class AccessRequests(Endpoint):
    """Asks humans for a bundle, or one tool of it, for some time. They decide it under approvals."""

    queryset = ApprovalRequest.objects.prefetch_related("decisions")
    serializer_class = ApprovalDetail
    permissions = {"create": ASK}
    decides_by_row = True

    @extend_schema(request=AccessWished, responses={201: ApprovalDetail})
    def create(self, request: Request) -> Response:
        """For yourself, an agent of yours or, who may change agents, any. Asked already: the request that waits."""

        def prepare() -> Work:
            wish, snapshot = self._wished(self.wish(AccessWished)), current_snapshot()
            return lambda act: self._stored(wish, Acting(snapshot, act.record, act.now))

        return self.governed_after(prepare)

    def _wished(self, wish: Mapping[str, Any]) -> AccessWish:
        person, agent = self.request.user, wish["agent"]
        if not approving.may_ask_for(agent or person, person):
            raise Problem("permission_denied", "Ask for yourself or for an agent of yours.")
        return AccessWish(
            agent=agent,
            person=None if agent else person,
            bundle=wish["bundle"],
            tool=_tool(wish["tool"]),
            minutes=wish["minutes"],
            reason=wish["reason"],
            asked_by=person,
            ticket=wish["ticket"],
        )

    def _stored(self, wish: AccessWish, acting: Acting) -> Response:
        try:
            row, is_new = approving.asked_for_access(wish, acting)
        except CannotGrant as reason:
            raise of_fields([FieldError(reason.field, "rule", str(reason))]) from None
        except TooManyQuestions as reason:
            raise Problem("conflict", str(reason)) from None
        shown = self.get_serializer(self.queryset.get(pk=row.pk)).data
        location = self.request.path.replace("access-requests", f"approvals/{row.key}")
        return Response(shown, status=201 if is_new else 200, headers={"ETag": etag_of(shown), "Location": location})


def refusal(reason: CannotDecide) -> Problem:
    """In the words of the API."""
    if isinstance(reason, Incomplete):
        return of_fields([FieldError(reason.field, "rule", str(reason))])
    if isinstance(reason, NotEligible | StepUpNeeded):
        return Problem("permission_denied", str(reason))
    return Problem("precondition_failed" if isinstance(reason, Changed) else "conflict", str(reason))


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise of_fields([FieldError("digest", "invalid", "Write 64 hexadecimal digits.")]) from None


def _tool(name: str) -> Tool | None:
    if not name:
        return None
    connector, _, tool = name.partition("/")
    row = Tool.objects.select_related("connector").filter(connector__name=connector, name=tool).first()
    if row is None:
        raise of_fields([FieldError("tool", "does_not_exist", "There is no such tool. Write connector/tool.")])
    return row


def _naming(person_id: str) -> set[int]:
    """Numbers of the newest requests that she may decide, or might have: who comes too late is told who was first."""
    now, snapshot = datetime.now(UTC), current_snapshot()
    return {
        row.number
        for row in ApprovalRequest.objects.defer(*SEALED).order_by("-number")[:MOST_LOOKED_AT]
        if may_decide(asks_of(row), subject_of(row), person_id, snapshot, now)
    }


def _in_state(state: str | None, now: datetime) -> Q:
    """Whether or not anybody has looked at the clock since."""
    if state is None:
        return Q()
    if state == ApprovalRequest.State.EXPIRED:
        return Q(state=state) | overdue(now)
    return Q(state=state) & ~overdue(now)
