"""Extra rights that end by themselves: to see them, to end them sooner, to review and to renew them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import approving
from gateway.api.approvals import ApprovalDetail, refusal
from gateway.api.etags import etag_of
from gateway.api.fields import Choice, Parameters, Reference, Row, Strict, Text, WholeNumber
from gateway.api.permissions import READS, may
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Listed, Retrieved, Work, act
from gateway.approving import Acting
from gateway.granting import reviewed
from gateway.reach.current import current_snapshot
from governance import access_requests, grants
from governance.approval_rows import CannotDecide
from governance.approvals import TooManyQuestions
from governance.grants import CannotGrant, in_force, tool_name
from governance.models import Agent, ApprovalRequest, Bundle, Grant, User


class GrantShown(Row):
    agent = Reference(Agent, read_only=True)
    person = Reference(User, by="email", read_only=True)
    bundle = Reference(Bundle, read_only=True)
    tool = serializers.SerializerMethodField(help_text="connector/tool; empty for all of the bundle.")
    rules = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="That a consent answers.")
    request = serializers.SerializerMethodField(help_text="By which it was agreed to, e.g. APR-7; else empty.")

    class Meta:
        model = Grant
        fields = (
            "id", "kind", "agent", "person", "bundle", "tool", "condition", "rules", "session", "reason", "request",
            "starts_at", "ends_at", "max_uses", "created_at", "created_by", "revoked_at", "revoked_by", "reviewed_at",
            "reviewed_by", "review_note",
        )  # fmt: skip
        read_only_fields = fields

    def get_tool(self, grant: Grant) -> str:
        return tool_name(grant.tool)

    def get_request(self, grant: Grant) -> str:
        return f"APR-{grant.request_number}" if grant.request_number else ""


class Review(Strict):
    note = Text(max_length=500, help_text="What you found.")


class Renewal(Strict):
    minutes = WholeNumber(min_value=1, max_value=access_requests.LONGEST_MINUTES)
    reason = Text(max_length=500, help_text="What it is still needed for.")


class GrantParameters(Parameters):
    state = Choice(choices=("in-force", "over", "unreviewed"), required=False)
    kind = Choice(choices=Grant.Kind.choices, required=False)
    agent = Text(source="agent__name", required=False, max_length=63)
    person = Text(source="person__email", required=False, max_length=254)
    bundle = Text(source="bundle__name", required=False, max_length=63)


class Grants(Listed, Retrieved):
    """They come of approvals, or of break-glass, which takes its page. Everybody sees her own and her agents'."""

    queryset = Grant.objects.select_related("agent", "person", "bundle", "tool__connector")
    serializer_class = GrantShown
    parameters = GrantParameters
    order = ("-created_at", "id")
    own = "person"

    def get_queryset(self) -> QuerySet[Any]:
        person, rows = self.request.user, self.queryset.all()
        if may(person, "governance.view_grant"):
            return rows
        return rows.filter(Q(person=person) | Q(agent__owner=person))

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        plain, live = dict(filters), in_force(datetime.now(UTC))
        is_unreviewed = Q(kind=Grant.Kind.BREAK_GLASS, reviewed_at=None)
        states = {None: Q(), "in-force": live, "over": ~live, "unreviewed": is_unreviewed}
        return rows.filter(states[plain.pop("state", None)], **plain)

    def is_own_affair(self, row: Any) -> bool:
        """Everybody may do without what she has, and ask for more time."""
        return self.action in READS or (self.action in ("revoke", "renew") and _is_behind(row, self.request.user))

    @act("governance.revoke_grant")
    def revoke(self, request: Request, pk: Any) -> Response:
        """When this answers, no call can start that rests on it."""

        def work(grant: Grant, act: Act, _: Mapping[str, Any]) -> None:
            if not grants.revoke_grant(grant, by=act.by, record=act.record, now=act.now):
                raise Problem("conflict", "It was over before.")

        return self.on_row(work)

    @act("governance.review_grant", takes=Review)
    def review(self, request: Request, pk: Any) -> Response:
        """Of break-glass, by somebody else than who took it."""
        snapshot = current_snapshot()

        def work(grant: Grant, act: Act, wish: Mapping[str, Any]) -> None:
            acting = Acting(snapshot, act.record, act.now)
            try:
                is_first = reviewed(grant, acting, by=act.person, note=wish["note"])
            except CannotDecide as reason:
                raise refusal(reason) from None
            except CannotGrant as reason:
                raise _of_field(reason) from None
            if not is_first:
                raise Problem("conflict", "It is no break-glass, or was reviewed before.")

        return self.on_row(work)

    @act("governance.ask_approvalrequest", takes=Renewal, gives=ApprovalDetail, status=201)
    def renew(self, request: Request, pk: Any) -> Response:
        """Asks humans again; what they give begins where this ends."""

        def prepare() -> Work:
            grant, wish, snapshot = self.get_object(), self.wish(Renewal), current_snapshot()
            return lambda act: self._renewed(grant, wish, Acting(snapshot, act.record, act.now))

        return self.governed_after(prepare)

    def _renewed(self, grant: Grant, wish: Mapping[str, Any], acting: Acting) -> Response:
        try:
            wanted = access_requests.renewal_of(grant, asked_by=self.request.user, **wish)
            row, is_new = approving.asked_for_access(wanted, acting)
        except CannotGrant as reason:
            raise _of_field(reason) from None
        except TooManyQuestions as reason:
            raise Problem("conflict", str(reason)) from None
        shown = ApprovalDetail(ApprovalRequest.objects.get(pk=row.pk), context=self.get_serializer_context()).data
        return Response(shown, status=201 if is_new else 200, headers={"ETag": etag_of(shown)})


def _is_behind(grant: Grant, person: User) -> bool:
    return person.pk in (grant.person_id, grant.agent.owner_id if grant.agent else None)


def _of_field(reason: CannotGrant) -> Problem:
    return of_fields([FieldError("" if reason.field == "grant" else reason.field, "rule", str(reason))])
