"""Whose yes counts: the one answer to who may decide a question, and to whether enough have. Pure over the snapshot.

Asked when somebody decides, again when the approved call runs, and as long as her consent to a pattern lasts: who lost
her team, her duty or her account in between has not agreed. Nobody agrees to what she asked for, owns, or is acted for
in, through none of her accounts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from governance.answers import Ask
from governance.approval_terms import Terms
from governance.snapshot_values import Agent, Connector, Person, Shifts, Team


class WhoIsWho(Protocol):
    """What of a snapshot it takes: a snapshot itself asks whether those who agreed to a grant still may."""

    @property
    def people(self) -> Mapping[str, Person]: ...

    @property
    def teams(self) -> Mapping[str, Team]: ...

    @property
    def shifts(self) -> Mapping[str, Shifts]: ...

    @property
    def agents(self) -> Mapping[str, Agent]: ...

    @property
    def connectors(self) -> Mapping[str, Connector]: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about, by the snapshot's ids; empty where there is none. `person_id` is on whose behalf the agent
    acts or who asks for herself, `asked_by_id` the human at the keyboard, `owner_id` the agent's owner back then."""

    asked_at: datetime
    agent_id: str = ""
    owner_id: str = ""
    person_id: str = ""
    asked_by_id: str = ""
    connector_id: str = ""


@dataclass(frozen=True, slots=True)
class Vote:
    """One human's decision; `digest` is what she was shown."""

    person_id: str
    approves: bool
    digest: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far one asking rule is: ids of the persons who agreed and who refused, one for each human."""

    ask: Ask
    approved_by: tuple[str, ...]
    denied_by: tuple[str, ...]

    @property
    def missing(self) -> int:
        """So many more humans must agree."""
        return max(0, self.ask.terms.count - len(self.approved_by))

    @property
    def is_denied(self) -> bool:
        return len(self.denied_by) >= self.ask.terms.denials


@dataclass(frozen=True, slots=True)
class Standing:
    agreements: tuple[Agreement, ...]

    @property
    def is_approved(self) -> bool:
        """Nothing asked is nothing agreed."""
        return bool(self.agreements) and not self.is_denied and not any(each.missing for each in self.agreements)

    @property
    def is_denied(self) -> bool:
        return any(each.is_denied for each in self.agreements)

    @property
    def approver_ids(self) -> frozenset[str]:
        return frozenset(person for each in self.agreements for person in each.approved_by)


def eligible(terms: Terms, subject: Subject, person_id: str, snapshot: WhoIsWho, now: datetime) -> bool:
    """Whether her decision at `now` counts for these terms."""
    person = snapshot.people.get(person_id)
    if person is None or not person.is_active or human_of(person_id, snapshot) in interested(subject, snapshot):
        return False
    return (
        person.email.lower() in terms.people
        or _has_duty(person, terms.named_duties)
        or _is_in(person, terms.teams, snapshot)
        or _is_on_call(person, terms.on_call, snapshot, now)
        or (terms.manager and person_id == _manager(subject, snapshot))
        or (terms.resource_owner and person_id == _resource_owner(subject, snapshot))
        or (_has_escalated(terms, subject, now) and _is_in(person, terms.escalate_to, snapshot))
    )


def may_decide(asks: Iterable[Ask], subject: Subject, person_id: str, snapshot: WhoIsWho, now: datetime) -> bool:
    """Whether her decision would count for any of them."""
    return any(eligible(ask.terms, subject, person_id, snapshot, now) for ask in asks)


def approvers(asks: Sequence[Ask], subject: Subject, snapshot: WhoIsWho, now: datetime) -> Iterator[Person]:
    """Everybody whose decision would count now: whom to tell."""
    for person_id, person in snapshot.people.items():
        if may_decide(asks, subject, person_id, snapshot, now):
            yield person


def standing(
    asks: Iterable[Ask], votes: Sequence[Vote], subject: Subject, snapshot: WhoIsWho, digest: bytes
) -> Standing:
    """How far a question is. Only votes on `digest`, the question as it stands now, count; and only of those who may
    decide as things are now, but for the hour: a shift that ended since then was hers when she decided."""
    current = sorted((vote for vote in votes if vote.digest == digest), key=lambda vote: vote.at)
    return Standing(tuple(_agreement(ask, current, subject, snapshot) for ask in asks))


def interested(subject: Subject, snapshot: WhoIsWho) -> frozenset[str]:
    """The humans who want it, or answer for who wants it: none of them may decide, not even an owner of Gatehouse."""
    agent = snapshot.agents.get(subject.agent_id)
    people = {subject.owner_id, subject.person_id, subject.asked_by_id, agent.owner.id if agent else ""}
    return frozenset(human_of(person_id, snapshot) for person_id in people if person_id)


def human_of(person_id: str, snapshot: WhoIsWho) -> str:
    """The same for all accounts of one human, however they are linked, in a circle too."""
    path: list[str] = []
    while person_id not in path:
        path.append(person_id)
        person = snapshot.people.get(person_id)
        if person is None or person.human_id in ("", person_id):
            return person_id
        person_id = person.human_id
    return min(path[path.index(person_id) :])


def _agreement(ask: Ask, votes: Iterable[Vote], subject: Subject, snapshot: WhoIsWho) -> Agreement:
    by_human: dict[str, Vote] = {}
    for vote in votes:
        if eligible(ask.terms, subject, vote.person_id, snapshot, vote.at):
            by_human.setdefault(human_of(vote.person_id, snapshot), vote)
    counted = by_human.values()
    return Agreement(
        ask,
        approved_by=tuple(vote.person_id for vote in counted if vote.approves),
        denied_by=tuple(vote.person_id for vote in counted if not vote.approves),
    )


def _has_duty(person: Person, duties: tuple[str, ...]) -> bool:
    """As everywhere, duties count for those only who may enter the admin, and owners have them all."""
    return bool(duties) and person.is_staff and (person.is_owner or not set(duties).isdisjoint(person.duties))


def _is_in(person: Person, teams: tuple[str, ...], snapshot: WhoIsWho) -> bool:
    return bool(teams) and any(snapshot.teams[team].name in teams for team in person.team_ids if team in snapshot.teams)


def _is_on_call(person: Person, teams: tuple[str, ...], snapshot: WhoIsWho, now: datetime) -> bool:
    named = (team for team in snapshot.teams.values() if team.name in teams) if teams else ()
    return any(
        who == person.id and starts_at <= now < ends_at
        for team in named
        for who, starts_at, ends_at in snapshot.shifts.get(team.id, ())
    )


def _manager(subject: Subject, snapshot: WhoIsWho) -> str:
    """Of the agent's owner; of the person who asks for herself."""
    agent = snapshot.agents.get(subject.agent_id)
    person = agent.owner if agent else snapshot.people.get(subject.person_id)
    return person.manager_id if person else ""


def _resource_owner(subject: Subject, snapshot: WhoIsWho) -> str:
    connector = snapshot.connectors.get(subject.connector_id)
    return connector.owner_id if connector else ""


def _has_escalated(terms: Terms, subject: Subject, now: datetime) -> bool:
    return bool(terms.escalate_to) and now >= subject.asked_at + timedelta(seconds=terms.escalate_after)
