"""Access reviews across rooms: begun with what snapshot and evidence know, each act one transaction, reviewers told."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from audit.models import EventRow
from gateway import notices
from gateway.actions import act
from gateway.reach.current import current_snapshot
from governance import access_reviews
from governance.access_reviews import CannotReview, ReviewWish
from governance.facts import Fact, Recorder
from governance.models import AccessReview, AccessReviewItem, User

REMIND_EVERY = timedelta(days=2)
REMIND_BEFORE = timedelta(days=3)


def begin(wish: ReviewWish, *, by: User) -> AccessReview:
    """What is slow is done before the transaction. Raises CannotReview."""
    items, name = look(wish), f"person:{by.email}"
    return act(lambda record, now: begin_within(wish, items, by=name, record=record, now=now), by=name)


def look(wish: ReviewWish) -> list[AccessReviewItem]:
    """Who holds what there now, with what snapshot and evidence know of it."""
    items = list(access_reviews.found_by(wish, datetime.now(UTC)))
    _add_what_is_known(items)
    return items


def begin_within(
    wish: ReviewWish, items: list[AccessReviewItem], *, by: str, record: Recorder, now: datetime
) -> AccessReview:
    """In the caller's transaction. Raises CannotReview."""
    review = access_reviews.start(wish, items, by=by, record=record, now=now)
    _tell(review, items, now=now)
    return review


def attest(item: AccessReviewItem, decision: str, *, by: User, reason: str) -> AccessReviewItem:
    """When this returns, what was revoked is over everywhere. Raises CannotReview."""
    return act(
        lambda record, now: access_reviews.attest(item, decision, by=by, reason=reason, record=record, now=now),
        by=f"person:{by.email}",
    )


def close(review: AccessReview, *, by: User, summary: str) -> AccessReview:
    """Raises CannotReview."""
    return act(
        lambda record, now: access_reviews.close(review, by=by, summary=summary, record=record, now=now),
        by=f"person:{by.email}",
    )


def remind(review: AccessReview, *, by: str) -> int:
    """Everybody who has something left; returns how many people that is. Raises CannotReview."""
    return act(lambda record, now: remind_within(review, record=record, now=now), by=by)


def remind_within(review: AccessReview, *, record: Recorder, now: datetime) -> int:
    """In the caller's transaction. Raises CannotReview."""
    if review.state != AccessReview.State.OPEN:
        raise CannotReview("It is signed off.")
    left = list(review.items.filter(decision=""))
    AccessReview.objects.filter(pk=review.pk).update(reminded_at=now)
    told = _tell(review, left, now=now)
    about = {"review": str(review.pk), "people": told, "items": len(left)}
    record(Fact("access_review.reminded", f"access review:{review.title}", about))
    return told


def remind_due() -> int:
    """Before reviews are due and after, every two days."""
    now = datetime.now(UTC)
    due = AccessReview.objects.filter(
        state=AccessReview.State.OPEN, due_at__lt=now + REMIND_BEFORE, reminded_at__lt=now - REMIND_EVERY
    )
    return sum(remind(review, by="system:access-reviews") for review in due)


def _tell(review: AccessReview, items: Iterable[AccessReviewItem], *, now: datetime) -> int:
    counts = Counter(item.reviewer_id for item in items)
    for reviewer_id, count in counts.items():
        notices.to_attest(review, reviewer_id, count, now=now)
    return len(counts)


def _add_what_is_known(items: list[AccessReviewItem]) -> None:
    """How many tools the bundles gave, and when the subject was last heard of."""
    bundles = {bundle.name: len(bundle.tools) for bundle in current_snapshot().bundles.values()}
    last: dict[tuple[str, str], datetime | None] = {}
    for item in items:
        item.tools = sum(bundles.get(name, 0) for name in item.bundles.split(", "))
        column = "agent" if item.agent_id else "person"
        if (column, item.subject) not in last:
            last[column, item.subject] = _last_call(column, item.subject)
        item.last_call_at = last[column, item.subject]


def _last_call(column: str, subject: str) -> datetime | None:
    """Between two equal bounds, so that only the index in the wanted order serves."""
    rows = EventRow.objects.filter(**{f"{column}__gte": subject, f"{column}__lte": subject}, kind="call.outcome")
    newest = rows.order_by(f"-{column}", "-id").values_list("at", flat=True)
    return newest.first()
