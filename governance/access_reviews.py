"""Access reviews: begun with what was held then, attested by others, signed off. A revocation is carried out in the
transaction of its decision."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.db.models import Q, QuerySet

from governance import grants
from governance.facts import Fact, Recorder
from governance.models import AccessReview, AccessReviewItem, Agent, Bundle, Grant, Role, Team, User

MANAGE: Final = "governance.change_accessreview"
MOST_ITEMS: Final = 20_000
State, Decision, Through = AccessReview.State, AccessReviewItem.Decision, AccessReviewItem.Through
SHOWN_IN_EVIDENCE = ("subject", "owner", "held", "bundles", "tools")


class CannotReview(Exception):
    """The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ReviewWish:
    """What is looked at, by whom and until when. `scope_name` is that of a team, bundle or role."""

    title: str
    scope: str
    scope_name: str
    reviewers: str
    named: tuple[User, ...]
    due_at: datetime


def start(
    wish: ReviewWish, items: Iterable[AccessReviewItem], *, by: str, record: Recorder, now: datetime
) -> AccessReview:
    """`items` as they were found just before. Raises CannotReview."""
    found = list(items)
    check(wish, found, now)
    review = AccessReview.objects.create(
        title=wish.title,
        scope=wish.scope,
        scope_name=wish.scope_name,
        reviewers=wish.reviewers,
        started_by=by,
        started_at=now,
        due_at=wish.due_at,
        reminded_at=now,
    )
    for item in found:
        item.review = review
    AccessReviewItem.objects.bulk_create(found, batch_size=500)
    details = {
        "review": str(review.pk),
        "title": review.title,
        "scope": f"{wish.scope} {wish.scope_name}".strip(),
        "reviewers": wish.reviewers,
        "due_at": wish.due_at,
        "items": len(found),
        "items_sha256": items_digest(found),
    }
    record(Fact("access_review.started", f"access review:{review.title}", details))
    return review


SCOPED: Final[dict[str, Any]] = {"team": Team, "bundle": Bundle, "role": Role}


def scope_fault(scope: str, name: str) -> str:
    """What is wrong with the name of what is looked at; empty if nothing."""
    model = SCOPED.get(scope)
    if model is None:
        return "Leave it empty, or choose a team, bundle or role." if name else ""
    return "" if model.objects.filter(name=name).exists() else f"There is no {scope} of this name."


def check(wish: ReviewWish, items: list[AccessReviewItem], now: datetime) -> None:
    if wish.due_at <= now:
        raise CannotReview("It would be due in the past.")
    if wish.reviewers == AccessReview.Reviewers.NAMED and not wish.named:
        raise CannotReview("Name at least one person who attests.")
    if not items:
        raise CannotReview("Nobody holds anything there: there is nothing to review.")
    if len(items) > MOST_ITEMS:
        raise CannotReview(f"That is more than {MOST_ITEMS:,} items. Review one team, bundle or role at a time.")


def items_digest(items: Iterable[AccessReviewItem]) -> str:
    """Of what was held and what was decided, whatever the order."""
    told = sorted(
        orjson.dumps([str(item.pk), item.subject, item.held, item.bundles, item.decision, item.reason, item.decided_by])
        for item in items
    )
    return hashlib.sha256(b"\n".join(told)).hexdigest()


def waiting_for(person: User) -> QuerySet[AccessReviewItem]:
    """Hers to attest: given to her, or to nobody who is here while she looks after reviews. Never her own access."""
    mine = Q(reviewer=person)
    if person.has_perm(MANAGE):
        mine |= Q(reviewer=None) | Q(reviewer__is_active=False)
    items = AccessReviewItem.objects.filter(mine, decision="", review__state=State.OPEN).select_related("review")
    return items.exclude(human_id=person.human_id).order_by("review__due_at", "subject", "held", "id")


def attest(
    item: AccessReviewItem, decision: str, *, by: User, reason: str, record: Recorder, now: datetime
) -> AccessReviewItem:
    """Keeps, or ends what the item names, in this transaction. Raises CannotReview."""
    if not reason.strip():
        raise CannotReview("Say why: auditors read it.")
    if not waiting_for(by).filter(pk=item.pk).exists():
        raise CannotReview("It is not yours to attest, is decided already, or its review is over.")
    effect = _end(item, by=f"person:{by.email}", record=record, now=now) if decision == Decision.REVOKE else ""
    changed = AccessReviewItem.objects.filter(pk=item.pk, decision="").update(
        decision=decision, reason=reason[:500], decided_by=by.email, decided_at=now, effect=effect
    )
    if not changed:
        raise CannotReview("Somebody else has just decided it.")
    item.refresh_from_db()
    subject = f"agent:{item.subject}" if item.agent_id else f"person:{item.subject}"
    shown = {name: getattr(item, name) for name in SHOWN_IN_EVIDENCE if name != "subject"}
    details = {"review": str(item.review_id), "item": str(item.pk), **shown, "reason": item.reason, "effect": effect}
    kind = "access_review.revoked" if decision == Decision.REVOKE else "access_review.kept"
    record(Fact(kind, subject, details))
    return item


def _end(item: AccessReviewItem, *, by: str, record: Recorder, now: datetime) -> str:
    """What became of it, in words. What is over already stays so."""
    if item.through == Through.GRANT:
        grant = Grant.objects.filter(pk=item.through_id).select_related("agent", "person", "bundle").first()
        ended = grant is not None and grants.revoke_grant(grant, by=by, record=record, now=now)
        return "the grant was ended" if ended else "the grant was over already"
    if item.through == Through.TEAM:
        membership = {"user_id": item.person_id, "team_id": item.team_id}
        gone, _ = User.teams.through.objects.filter(**membership).delete()
        return "taken out of the team" if gone else "had left the team already"
    links = Role.agents.through if item.agent_id else Role.people.through
    column = {"agent_id": item.agent_id} if item.agent_id else {"user_id": item.person_id}
    gone, _ = links.objects.filter(role_id=item.through_id, **column).delete()
    return "the role was taken away" if gone else "the role was gone already"


def close(review: AccessReview, *, by: User, summary: str, record: Recorder, now: datetime) -> AccessReview:
    """Signs it off. Before it is due everything must be decided; after that what is open counts as not decided.

    Raises CannotReview.
    """
    if not summary.strip():
        raise CannotReview("Write what came of it: whoever signs off says so.")
    items = list(review.items.all())
    counts = Counter(item.decision or "open" for item in items)
    if counts["open"] and now < review.due_at:
        raise CannotReview(f"{counts['open']:,} are not decided yet, and it is due on {review.due_at:%Y-%m-%d}.")
    changed = AccessReview.objects.filter(pk=review.pk, state=State.OPEN).update(
        state=State.CLOSED,
        closed_by=by.email,
        closed_at=now,
        summary=summary[:2000],
        counts=dict(counts),
        digest=items_digest(items),
    )
    if not changed:
        raise CannotReview("Somebody else has just signed it off.")
    review.refresh_from_db()
    details = {"review": str(review.pk), "summary": review.summary, "counts": review.counts, "sha256": review.digest}
    record(Fact("access_review.closed", f"access review:{review.title}", details))
    return review


# -- what there is to look at


def found_by(wish: ReviewWish, now: datetime) -> Iterator[AccessReviewItem]:
    """What live agents and active people hold in the scope, without counts and last calls."""
    people, agents = _subjects(wish)
    roles = Role.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now))
    if wish.scope == AccessReview.Scope.ROLE:
        roles = roles.filter(name=wish.scope_name)
    if wish.scope == AccessReview.Scope.BUNDLE:
        roles = roles.filter(bundles__name=wish.scope_name)
    turn = _Turns(wish)
    for role in roles.prefetch_related("bundles", "teams").order_by("name").distinct():
        yield from _by_role(role, people, agents, turn)
    if wish.scope != AccessReview.Scope.ROLE:
        yield from _by_grants(wish, people, agents, turn, now)


def _by_role(role: Role, people: QuerySet[User], agents: QuerySet[Agent], turn: "_Turns") -> Iterator[AccessReviewItem]:
    given = {"through_id": role.pk, "bundles": ", ".join(bundle.name for bundle in role.bundles.all())[:1000]}
    for agent in agents.filter(roles=role):
        yield _of_agent(agent, turn, through=Through.ROLE, held=f"role {role.name}", **given)
    for person in people.filter(roles=role):
        yield _of_person(person, turn, through=Through.ROLE, held=f"role {role.name}", **given)
    for team in with_those_below(role.teams.all()):
        for person in people.filter(teams=team):
            held = f"role {role.name} as a member of {team.name}"
            yield _of_person(person, turn, through=Through.TEAM, held=held, team_id=team.pk, **given)


def with_those_below(teams: Iterable[Team]) -> list[Team]:
    """What a team gets, the teams below it have as well."""
    found: dict[UUID, Team] = {}
    level = list(teams)
    while level:
        found |= {team.pk: team for team in level}
        level = list(Team.objects.filter(parent__in=level).exclude(pk__in=list(found)))
    return list(found.values())


def _subjects(wish: ReviewWish) -> tuple[QuerySet[User], QuerySet[Agent]]:
    people = User.objects.filter(is_active=True).select_related("manager").order_by("email")
    agents = Agent.objects.filter(status=Agent.Status.LIVE).select_related("owner__manager").order_by("name")
    if wish.scope == AccessReview.Scope.TEAM:
        teams = with_those_below(Team.objects.filter(name=wish.scope_name))
        members = User.objects.filter(teams__in=teams).values("pk")
        return people.filter(pk__in=members), agents.filter(owner__in=members)
    return people, agents


def _by_grants(
    wish: ReviewWish, people: QuerySet[User], agents: QuerySet[Agent], turn: "_Turns", now: datetime
) -> Iterator[AccessReviewItem]:
    live = Grant.objects.filter(grants.in_force(now)).exclude(kind=Grant.Kind.CONSENT).select_related("bundle")
    if wish.scope == AccessReview.Scope.BUNDLE:
        live = live.filter(bundle__name=wish.scope_name)
    for grant in live.filter(Q(agent__in=agents) | Q(person__in=people)).select_related(
        "agent__owner__manager", "person__manager"
    ):
        held = f"{grant.get_kind_display().lower()} until {grant.ends_at:%Y-%m-%d %H:%M} UTC"
        given = {"through_id": grant.pk, "bundles": grant.bundle.name if grant.bundle else ""}
        if grant.agent is not None:
            yield _of_agent(grant.agent, turn, through=Through.GRANT, held=held, **given)
        elif grant.person is not None:
            yield _of_person(grant.person, turn, through=Through.GRANT, held=held, **given)


def _of_agent(agent: Agent, turn: "_Turns", **given: object) -> AccessReviewItem:
    owner = agent.owner
    by_owner = turn.reviewers == AccessReview.Reviewers.OWNERS
    return AccessReviewItem(
        agent_id=agent.pk,
        human_id=None if by_owner else owner.human_id,
        subject=agent.name,
        owner=owner.email,
        reviewer=turn.of(owner, candidate=owner if by_owner else owner.manager, may_be_her=by_owner),
        tools=0,
        **given,
    )


def _of_person(person: User, turn: "_Turns", **given: object) -> AccessReviewItem:
    reviewer = turn.of(person, candidate=person.manager, may_be_her=False)
    return AccessReviewItem(
        person_id=person.pk, human_id=person.human_id, subject=person.email, reviewer=reviewer, tools=0, **given
    )


class _Turns:
    """Who attests what. Named persons take turns by subject; nobody gets her own."""

    def __init__(self, wish: ReviewWish) -> None:
        self.reviewers = wish.reviewers
        self._named = [person for person in wish.named if person.is_active]
        self._given: dict[object, int] = {}

    def of(self, human: User, *, candidate: User | None, may_be_her: bool) -> User | None:
        """None: who looks after reviews attests it."""
        if self.reviewers == AccessReview.Reviewers.NAMED:
            others = [person for person in self._named if person.human_id != human.human_id]
            number = self._given.setdefault(human.pk, len(self._given))
            return others[number % len(others)] if others else None
        if candidate is None or not candidate.is_active:
            return None
        return candidate if may_be_her or candidate.human_id != human.human_id else None
