"""What should have ended long ago: rights that nobody living stands behind. Found by sets, ended by sets.

None of it opens anything while the person or agent behind it is not live. It is in the way all the same: whoever
activates her again for a day would wake it, and nobody knows any more what it is for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from governance import authorizations, connected_accounts
from governance.agent_keys import live as live_keys
from governance.facts import Fact, Recorder
from governance.models import (
    Agent,
    AgentCredential,
    Authorization,
    OAuthClient,
    PersonalToken,
    Role,
    UpstreamGrant,
    User,
)
from governance.personal_tokens import live_tokens

FIRST_NAMES = 50


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of them. `end` is None where a human has to decide what becomes of each."""

    title: str
    explained: str
    find: Callable[[datetime], QuerySet[Any]]
    end: Callable[[QuerySet[Any], str, Recorder, datetime], int] | None = None


def _tokens(now: datetime) -> QuerySet[PersonalToken]:
    return live_tokens(now).filter(person__is_active=False).select_related("person").order_by("created_at", "id")


def _keys(now: datetime) -> QuerySet[AgentCredential]:
    nobody = Q(agent__owner__is_active=False) | Q(agent__status=Agent.Status.RETIRED) | Q(person__is_active=False)
    return AgentCredential.objects.filter(live_keys(now), nobody).select_related("agent").order_by("created_at", "id")


def _authorizations(now: datetime) -> QuerySet[Authorization]:
    nobody = Q(person__is_active=False) | Q(agent__owner__is_active=False) | Q(agent__status=Agent.Status.RETIRED)
    ended = Q(client__status=OAuthClient.Status.DISABLED)
    rows = Authorization.objects.filter(authorizations.live(now), nobody | ended)
    return rows.select_related("client", "agent", "person").order_by("created_at", "id")


def _accounts(now: datetime) -> QuerySet[UpstreamGrant]:
    rows = UpstreamGrant.objects.filter(person__is_active=False).exclude(status=UpstreamGrant.Status.ENDED)
    return rows.select_related("connector", "person").order_by("created_at", "id")


def _agents(now: datetime) -> QuerySet[Agent]:
    rows = Agent.objects.filter(owner__is_active=False, status=Agent.Status.LIVE)
    return rows.select_related("owner").order_by("name")


def _waiting_agents(now: datetime) -> QuerySet[Agent]:
    rows = Agent.objects.filter(owner__is_active=False, status=Agent.Status.SUSPENDED)
    return rows.select_related("owner").order_by("name")


def _roles(now: datetime) -> QuerySet[Role]:
    """Nobody holds them: neither an agent that is not retired, nor somebody active, nor through a team."""
    agents = Role.agents.through.objects.filter(role_id=OuterRef("pk")).exclude(agent__status=Agent.Status.RETIRED)
    people = Role.people.through.objects.filter(role_id=OuterRef("pk"), user__is_active=True)
    members = User.objects.filter(is_active=True, teams__roles=OuterRef("pk"))
    return Role.objects.exclude(Exists(agents)).exclude(Exists(people)).exclude(Exists(members)).order_by("name")


def _end_tokens(rows: QuerySet[Any], by: str, record: Recorder, now: datetime) -> int:
    return _revoked(PersonalToken.objects.filter(id__in=_ids(rows)), by, now)


def _end_keys(rows: QuerySet[Any], by: str, record: Recorder, now: datetime) -> int:
    return _revoked(AgentCredential.objects.filter(id__in=_ids(rows)), by, now)


def _end_authorizations(rows: QuerySet[Any], by: str, record: Recorder, now: datetime) -> int:
    return _revoked(Authorization.objects.filter(id__in=_ids(rows)), by, now)


def _end_accounts(rows: QuerySet[Any], by: str, record: Recorder, now: datetime) -> int:
    return connected_accounts.end_grants(UpstreamGrant.objects.filter(id__in=_ids(rows)), by=by, record=record, now=now)


def _suspend_agents(rows: QuerySet[Any], by: str, record: Recorder, now: datetime) -> int:
    live = Agent.objects.filter(id__in=_ids(rows), status=Agent.Status.LIVE)
    return live.update(status=Agent.Status.SUSPENDED)


def _ids(rows: QuerySet[Any]) -> list[Any]:
    return list(rows.values_list("id", flat=True))


def _revoked(rows: QuerySet[Any], by: str, now: datetime) -> int:
    return int(rows.filter(revoked_at=None).update(revoked_at=now, revoked_by=by))


SORTS: Mapping[str, Sort] = {
    "tokens": Sort("Personal tokens of people who are not active", "They would work again.", _tokens, _end_tokens),
    "keys": Sort(
        "Agent credentials that nobody stands behind",
        "Of retired agents, of agents whose owner is not active, or on behalf of somebody who is not.",
        _keys,
        _end_keys,
    ),
    "authorizations": Sort(
        "Authorizations of people, agents or clients that have ended",
        "All tokens that rest on them end with them.",
        _authorizations,
        _end_authorizations,
    ),
    "accounts": Sort(
        "Connected accounts of people who are not active",
        "Ended here at once, then revoked at their providers.",
        _accounts,
        _end_accounts,
    ),
    "agents": Sort(
        "Live agents whose owner is not active",
        "They cannot call anything. Suspended, they also stay so when she comes back.",
        _agents,
        _suspend_agents,
    ),
    "waiting-agents": Sort(
        "Suspended agents whose owner is not active", "Hand each to somebody, or retire it.", _waiting_agents
    ),
    "roles": Sort("Roles that nobody holds", "Give each to somebody, or remove it.", _roles),
}


ENDABLE = tuple(name for name, sort in SORTS.items() if sort.end is not None)


def each(name: str, now: datetime) -> Iterator[Any]:
    """All of one sort, by id."""
    return SORTS[name].find(now).order_by("id").iterator(chunk_size=500)


def end(name: str, *, by: str, record: Recorder, now: datetime) -> int:
    """All of one sort, in the caller's governed transaction; returns how many that were."""
    sort = SORTS[name]
    if sort.end is None:
        return 0
    rows = sort.find(now)
    names = [str(row) for row in rows[:FIRST_NAMES]]
    ended = sort.end(rows, by, record, now)
    if ended:
        record(Fact("zombies.ended", f"zombies:{name}", {"count": ended, "first": names}))
    return ended


def count_all(now: datetime) -> dict[str, int]:
    return {name: sort.find(now).count() for name, sort in SORTS.items()}


def tell(*, record: Recorder, now: datetime) -> dict[str, int]:
    """What a sweep found, as evidence, also when it was nothing."""
    counts = count_all(now)
    first = {name: [str(row) for row in SORTS[name].find(now)[:FIRST_NAMES]] for name, count in counts.items() if count}
    record(Fact("zombies.found", "zombies:all", {"counts": counts, "first": first}))
    return counts
