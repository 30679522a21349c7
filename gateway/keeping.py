"""Retention, every day: keys whose time is over are destroyed, what lay under them goes. Legal holds win."""

import logging
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime, time, timedelta
from itertools import islice

from django.db import transaction

from audit.retention import (
    Known,
    delete_payloads,
    forget_words,
    has_payload,
    look_at,
    prune_records,
    tell_of_payloads,
)
from gateway.sink_acts import retention_may_not_pass
from governance.facts import Recorder
from governance.legal_holds import Hold, first_that, holds_in_force, lift_hold, one_at_a_time
from governance.models import LegalHold, PayloadKey, RetentionClass, SubjectKey, User
from governance.payload_keys import destroy_keys
from governance.retention import Terms, days_of, default_class, expired_keys, terms_by_name
from governance.search_keys import SEARCH

logger = logging.getLogger(__name__)

BY = "system:retention"
KEYS_AT_A_TIME = 500
SLACK = timedelta(days=1)
"""Of clocks: between an event's id and the month its payload was sealed in."""


def keep_to_terms(now: datetime) -> None:
    """One run. What it does not get to, the next one does."""
    destroyed = sum(iter(lambda: expire_keys(now), 0))
    deleted = empty_destroyed_keys()
    pruned = sum(prune_class(terms, now) for terms in terms_by_name().values() if terms.header_days)
    if destroyed or deleted or pruned:
        logger.info("retention: %d keys destroyed, %d payloads and %d records deleted", destroyed, deleted, pruned)


def shared_keys() -> list[str]:
    """Of before each person had her own."""
    return [str(key) for key in PayloadKey.objects.values_list("id", flat=True)]


def keeps(hold: Hold, key_ids: Collection[str], *, person: str = "") -> bool:
    """Whether one of these keys seals what this hold names: its agent in its time, and for whom."""
    first = datetime.combine(hold.first_day, time(), UTC) if hold.first_day else None
    past = datetime.combine(hold.last_day, time(), UTC) + timedelta(days=1) if hold.last_day else None
    return has_payload(key_ids, agent=hold.agent, person=person, since=first, until=past)


def expire_keys(now: datetime) -> int:
    """Destroys up to so many that no hold keeps; how many."""
    with transaction.atomic():
        one_at_a_time()
        holds = holds_in_force()
        keys = list(islice((key for key in expired_keys(now) if not _is_held(key, holds)), KEYS_AT_A_TIME))
        if not keys:
            return 0
        classes = sorted({key.retention for key in keys})
        months = [min(key.period for key in keys), max(key.period for key in keys)]
        told = {"classes": classes, "months": months}
        tell_of_payloads([str(key.pk) for key in keys], by=BY, now=now, details=told)
        return destroy_keys(keys, cause=SubjectKey.Cause.EXPIRED, now=now)


def empty_destroyed_keys() -> int:
    """Deletes what lay under destroyed keys, a month at a time. Nobody could read it any more anyway."""
    months: dict[str, list[SubjectKey]] = defaultdict(list)
    for key in SubjectKey.objects.exclude(destroyed_at=None).filter(is_emptied=False):
        months[key.period].append(key)
    deleted = 0
    for month, keys in months.items():
        first, last = (datetime.combine(day, time(), UTC) for day in days_of(month))
        ids = {str(key.pk) for key in keys}
        deleted += delete_payloads(ids, since=first - SLACK, until=last + timedelta(days=1) + SLACK)
        forget_words(ids)
        SubjectKey.objects.filter(pk__in=[key.pk for key in keys]).update(is_emptied=True)
    return deleted


def prune_class(terms: Terms, now: datetime) -> int:
    """The records of one class that are older than its days; how many went."""
    pruned, is_end = 0, False
    while not is_end:
        went, is_end = _prune_page(terms, now)
        pruned += went
    return pruned


@transaction.atomic
def _prune_page(terms: Terms, now: datetime) -> tuple[int, bool]:
    one_at_a_time()
    row = RetentionClass.objects.select_for_update().filter(name=terms.name).first()
    if row is None:
        return 0, True
    holds, usual = holds_in_force(), default_class().name

    def goes(record: Known) -> bool:
        is_of_class = (record.retention or usual) == terms.name
        return is_of_class and not any(h.covers(record.at, person=record.person, agent=record.agent) for h in holds)

    before = now - timedelta(days=terms.header_days)
    stretch = look_at(row.pruned_to, before=before, past=retention_may_not_pass(), goes=goes)
    told = {"class": terms.name, "days": terms.header_days, "before": before}
    went = prune_records(stretch, by=BY, now=now, details=told)
    RetentionClass.objects.filter(pk=row.pk).update(pruned_to=stretch.next_leaf)
    return went, stretch.is_end


def lift(hold: LegalHold, *, reason: str, by: str, record: Recorder, now: datetime) -> bool:
    """And what stayed for it is looked at again. False if it was lifted before; raises RuleBroken without a reason."""
    is_new = lift_hold(hold, reason=reason, by=by, record=record, now=now)
    if is_new:
        RetentionClass.objects.update(pruned_to=0)
    return is_new


def _is_held(key: SubjectKey, holds: list[Hold]) -> bool:
    if key.subject == SEARCH:
        return any(hold.overlaps(key.period) for hold in holds)
    kind, _, person_id = key.subject.partition(":")
    person = User.objects.filter(pk=person_id).first() if kind == "person" else None
    if first_that(holds, person_id=person.pk if person else None, periods=[key.period]):
        return True
    named = (hold for hold in holds if hold.agent and hold.overlaps(key.period))
    return any(hold.person_id in (None, person.pk if person else None) and keeps(hold, [str(key.pk)]) for hold in named)
