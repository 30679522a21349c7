"""Grants that answer the questions of rules beforehand, and those that a hold rests on. Pure."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from governance.conditions import Verdict
from governance.holdings import Holding
from governance.scopes import Verdicts
from governance.snapshot import Grant, Role


def answering(
    asking: Collection[str],
    holding: Holding,
    verdicts: Verdicts,
    *,
    session: str,
    spent: Collection[str],
    now: datetime,
) -> Iterator[Grant]:
    """Consents that between them answer as many of these rules as there are answers for, by key.

    What is counted is used last. A consent names rules with their versions: a newer version asks again.
    """
    unanswered = set(asking)
    for grant in sorted(holding.consents, key=lambda grant: (grant.is_counted, grant.id)):
        if not unanswered.isdisjoint(grant.rules) and _covers(grant, verdicts, session, spent, now):
            unanswered -= grant.rules
            yield grant


def _covers(grant: Grant, verdicts: Verdicts, session: str, spent: Collection[str], now: datetime) -> bool:
    return (
        grant.id not in spent
        and grant.is_in_time(now)
        and grant.session in ("", session)
        and (grant.condition is None or verdicts.get(grant.condition.source) is Verdict.TRUE)
    )


def resting_on(roles: Iterable[Role]) -> str | None:
    """Id of the grant that gives the tool, the one that ends last; None if a lasting role gives it."""
    ends = {role.grant_id: role.ends_at for role in roles}
    return None if "" in ends else max(ends, key=lambda grant: (ends[grant], grant), default=None)
