"""Access reviews: begun, followed, attested item by item, signed off."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.db.models import Count, Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import access_reviews as across_rooms
from gateway.api.fields import Choice, Moment, Parameters, QueryFlag, Reference, References, Row, Strict, Text
from gateway.api.permissions import READS, may
from gateway.api.problems import Problem
from gateway.api.resource import Act, Listed, Retrieved, Work, act
from governance import access_reviews
from governance.access_reviews import MANAGE, CannotReview, ReviewWish, scope_fault, waiting_for
from governance.models import AccessReview, AccessReviewItem, User

T = TypeVar("T")
VIEW, ADD = "governance.view_accessreview", "governance.add_accessreview"
ATTEST = "governance.attest_accessreview"
"""Nobody's by duty: an item says whose it is. It names what a token's scope allows."""
NAMED_AT_MOST = 20


class ReviewRow(Row):
    total = serializers.IntegerField(read_only=True, help_text="Items.")
    left = serializers.IntegerField(read_only=True, help_text="Of them, those that nobody decided.")
    counts = serializers.DictField(read_only=True, help_text="Keep, revoke, open: as it was signed off.")

    class Meta:
        model = AccessReview
        fields = (
            "id", "title", "scope", "scope_name", "reviewers", "state", "started_by", "started_at", "due_at",
            "reminded_at", "total", "left", "closed_by", "closed_at", "summary", "counts", "digest",
        )  # fmt: skip
        read_only_fields = fields


class NewReview(Strict):
    title = Text(max_length=200, help_text="Reviewers and auditors read it.")
    scope = Choice(choices=AccessReview.Scope.choices)
    scope_name = Text(required=False, default="", allow_blank=True, max_length=63, help_text="Of team, bundle or role.")
    reviewers = Choice(choices=AccessReview.Reviewers.choices)
    named = References(
        User, by="email", among={"is_active": True}, required=False, default=(),
        help_text=f"Who attests, for `named`: up to {NAMED_AT_MOST}. They take turns; nobody gets her own access.",
    )  # fmt: skip
    due_at = Moment()

    def validate_named(self, named: list[User]) -> tuple[User, ...]:
        if len(named) > NAMED_AT_MOST:
            raise serializers.ValidationError(f"Name at most {NAMED_AT_MOST}.", "rule")
        return tuple(named)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if fault := scope_fault(values["scope"], values["scope_name"]):
            raise serializers.ValidationError({"scope_name": ErrorDetail(fault, "rule")})
        return values


class ReviewParameters(Parameters):
    state = Choice(choices=AccessReview.State.choices, required=False)


class Summary(Strict):
    summary = Text(max_length=2000, help_text="What came of it.")


class AccessReviews(Listed, Retrieved):
    """Who holds what, as it was when the review began. Newest first."""

    queryset = AccessReview.objects.annotate(
        total=Count("items"), left=Count("items", filter=Q(items__decision=""))
    ).order_by("-started_at")
    serializer_class = ReviewRow
    parameters = ReviewParameters
    order = ("-started_at", "id")
    permissions = {"create": ADD}

    @extend_schema(request=NewReview, responses={201: ReviewRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Begins one: what everybody in its scope holds now is written down, and its reviewers are told."""

        def prepare() -> Work:
            wish = ReviewWish(**self.wish(NewReview))
            items = across_rooms.look(wish)

            def work(act: Act) -> Response:
                given: dict[str, Any] = {"by": act.by, "record": act.record, "now": act.now}
                row = reviewing(lambda: across_rooms.begin_within(wish, items, **given))
                response = self.answered(row, status=201)
                response["Location"] = f"{request.path}/{response.data['id']}"
                return response

            return work

        return self.governed_after(prepare)

    @act(MANAGE)
    def remind(self, request: Request, pk: Any) -> Response:
        """Everybody who has something left is told again."""

        def work(review: AccessReview, act: Act, _: Any) -> None:
            reviewing(lambda: across_rooms.remind_within(review, record=act.record, now=act.now))

        return self.on_row(work)

    @act(MANAGE, takes=Summary)
    def close(self, request: Request, pk: Any) -> Response:
        """Signs it off. Before it is due everything must be decided."""

        def work(review: AccessReview, act: Act, wish: Mapping[str, Any]) -> None:
            given: dict[str, Any] = {"by": act.person, "record": act.record, "now": act.now}
            reviewing(lambda: access_reviews.close(review, summary=wish["summary"], **given))

        return self.on_row(work)


class ReviewItemRow(Row):
    review = serializers.UUIDField(source="review_id", read_only=True)
    reviewer = Reference(User, by="email", read_only=True, allow_null=True)

    class Meta:
        model = AccessReviewItem
        fields = (
            "id", "review", "reviewer", "agent_id", "person_id", "subject", "owner", "through", "held", "bundles",
            "tools", "last_call_at", "decision", "reason", "decided_by", "decided_at", "effect",
        )  # fmt: skip
        read_only_fields = fields


class ReviewItemParameters(Parameters):
    review = serializers.UUIDField(source="review_id", required=False)
    decision = Choice(choices=("open", *AccessReviewItem.Decision.values), required=False)
    mine = QueryFlag(required=False, help_text="true: what waits for you to attest it.")


class Attestation(Strict):
    decision = Choice(choices=AccessReviewItem.Decision.choices)
    reason = Text(max_length=500, help_text="Auditors read it.")


class AccessReviewItems(Listed, Retrieved):
    """What one person or agent held. Everybody sees those that were given to her to attest."""

    queryset = AccessReviewItem.objects.select_related("reviewer")
    serializer_class = ReviewItemRow
    parameters = ReviewItemParameters
    order = ("subject", "held", "id")
    own = "reviewer"
    permissions = {"list": VIEW, "retrieve": VIEW}

    def get_queryset(self) -> QuerySet[Any]:
        rows = self.queryset.all()
        return rows if may(self.request.user, VIEW) else rows.filter(reviewer=self.request.user)

    def is_own_affair(self, row: Any) -> bool:
        return self.action in READS or waiting_for(self.request.user).filter(pk=row.pk).exists()

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        plain = dict(filters)
        is_mine, decision = plain.pop("mine", None), plain.pop("decision", None)
        if decision is not None:
            plain["decision"] = "" if decision == "open" else decision
        rows = rows.filter(**plain)
        if is_mine is None:
            return rows
        waiting = waiting_for(self.request.user).order_by().values("pk")
        return rows.filter(pk__in=waiting) if is_mine else rows.exclude(pk__in=waiting)

    @act(ATTEST, takes=Attestation)
    def decide(self, request: Request, pk: Any) -> Response:
        """Keeps it, or ends it at once and everywhere. Nobody attests her own access."""

        def work(item: AccessReviewItem, act: Act, wish: Mapping[str, Any]) -> None:
            given: dict[str, Any] = {"by": act.person, "record": act.record, "now": act.now}
            reviewing(lambda: access_reviews.attest(item, wish["decision"], reason=wish["reason"], **given))

        return self.on_row(work)


def reviewing(do: Callable[[], T]) -> T:
    try:
        return do()
    except CannotReview as reason:
        raise Problem("conflict", str(reason)) from None
