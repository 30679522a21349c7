"""What hangs on a person, and what an offboarding does with each of it. Reads only, and by sets."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Protocol

import orjson
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from governance import grants
from governance.approval_endings import asked_of_person, live_of_person
from governance.facts import Recorder
from governance.models import Agent, AgentCredential, Freeze, Offboarding, OnCallShift, PersonalToken, Rule, Team, User

KEY = "agent key"
AUTHORIZATION = "authorization"
ACCOUNT = "connected account"
TOKEN = "personal token"  # noqa: S105 - what it is called
SEEN_KEY = "key she issued"
RETIRE = "retire_agent"
ROTATE_KEY = "rotate_key"
ROTATE_SECRET = "rotate_secret"  # noqa: S105 - what is to be done with one
ROTATE_SCIM_TOKEN = "rotate_scim_token"  # noqa: S105 - what is to be done with one
END_ACCOUNT = "end_account"
PROVE = "prove"
LEFT_KINDS = ("report", "freeze", "successor in an offboarding", "export", "rotation", "shared account")
"""What is only told: an offboarding does not end it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that hangs on the person and what becomes of it.

    `todo` is what a human must still do, `risk` what remains until then. `step` names the work that is left for later,
    see `OffboardingStep.kind`: withdrawn with her, it is done afterwards and told in the receipt's next edition.
    `result` and `at` are for receipts: what came of it, and when.
    """

    kind: str
    name: str
    action: str
    todo: str = ""
    id: str = ""
    risk: str = ""
    step: str = ""
    result: str = ""
    at: str = ""

    def as_json(self) -> dict[str, str]:
        told = {"kind": self.kind, "name": self.name, "action": self.action, "todo": self.todo, "id": self.id}
        more = {"risk": self.risk, "step": self.step, "result": self.result, "at": self.at}
        return told | {key: value for key, value in more.items() if value}

    @property
    def mark(self) -> str:
        """Tells this finding from others, whatever is planned for it."""
        return hashlib.sha256(orjson.dumps([self.kind, self.id or self.name])).hexdigest()[:10]


@dataclass(frozen=True, slots=True)
class Plan:
    """Who gets which agent: name -> e-mail, "" suspends it. `otherwise` is for all that are not named."""

    otherwise: str = ""
    agents: Mapping[str, str] = field(default_factory=dict)

    def successor_of(self, agent: str) -> str:
        return self.agents.get(agent, self.otherwise)

    @property
    def successors(self) -> set[str]:
        return {email for email in (self.otherwise, *self.agents.values()) if email}

    def without(self, emails: Iterable[str]) -> "Plan":
        """The same, but suspending what these people would have got."""
        gone = set(emails)
        kept = {agent: "" if email in gone else email for agent, email in self.agents.items()}
        return Plan("" if self.otherwise in gone else self.otherwise, kept)

    def as_json(self) -> dict[str, Any]:
        return {"otherwise": self.otherwise, "agents": dict(self.agents)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Plan":
        return cls(str(kept.get("otherwise", "")), dict(kept.get("agents", {})))


class Ender(Protocol):
    """Finds and ends what hangs on a person outside this room; `end` runs in the offboarding's transaction."""

    def find(self, person: User) -> Iterable[Item]: ...

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None: ...


def findings(person: User, *, plan: Plan, enders: Sequence[Ender] = ()) -> list[Item]:
    """As preview, also for somebody who cannot be offboarded as things are."""
    elsewhere = chain.from_iterable(ender.find(person) for ender in enders)
    hers = (*_agents_and_keys(person, plan), *_belongings(person), *_word_of_hers(person))
    return [*_sign_in(person), *elsewhere, *hers, *_keys_she_saw(person), *_left_to_do(person)]


def findings_digest(items: Iterable[Item]) -> str:
    """Binds a click to what was seen; the plan may still change."""
    return hashlib.sha256("".join(sorted(item.mark for item in items)).encode()).hexdigest()


def counts(items: Iterable[Item]) -> dict[str, int]:
    return dict(Counter(item.kind for item in items))


def _sign_in(person: User) -> Iterator[Item]:
    yield Item("person", person.email, "deactivated; all sign-ins and sessions end", id=person.id.hex)
    live = PersonalToken.objects.filter(person=person, revoked_at=None).order_by("name")
    for token_id, name, hint in live.values_list("id", "name", "hint"):
        yield Item(TOKEN, f"{name} ({hint}…)", "revoked", id=token_id.hex)


def _agents_and_keys(person: User, plan: Plan) -> Iterator[Item]:
    keys = keys_of(person).order_by("agent__name", "created_at")
    held: dict[str, list[Item]] = {}
    for key_id, hint, agent in keys.values_list("id", "hint", "agent__name"):
        held.setdefault(agent, []).append(Item(KEY, f"{hint}… of {agent}", "revoked", id=key_id.hex))
    rows = agents_of(person).values_list("id", "name", "status", "takes_owner_roles")
    for agent_id, name, status, is_own_client in rows:
        fate = _fate(status, plan.successor_of(name), is_own_client=is_own_client)
        step = RETIRE if fate[0].startswith("suspended") else ""
        yield Item("agent", name, *fate, id=agent_id.hex, step=step)
        yield from held.pop(name, ())
    yield from chain.from_iterable(held.values())


def _fate(status: str, successor: str, *, is_own_client: bool) -> tuple[str, str]:
    """What happens to an agent, and what is left to do."""
    if status == Agent.Status.RETIRED:
        return "was retired before", ""
    if is_own_client:
        return "retired: it was her own client, with her own rights", ""
    if not successor:
        return "suspended, to be retired", "choose an owner and issue a new key, or it is retired"
    return f"passed to {successor}", "issue a new key: the old ones ended"


def _belongings(person: User) -> Iterator[Item]:
    orphaned = _teams_left_without_approver(person)
    for team_id, name in person.teams.order_by("name").values_list("id", "name"):
        todo = "rules ask this team, and nobody is left in it: add somebody" if name in orphaned else ""
        yield Item("team membership", name, "removed", todo, id=team_id.hex)
    for role_id, name in person.roles.order_by("name").values_list("id", "name"):
        yield Item("role", name, "removed", id=role_id.hex)
    if person.is_superuser or person.is_staff or person.duties:
        duties = [*(["owner"] if person.is_superuser else []), *person.duties]
        yield Item("admin rights", ", ".join(duties) or "admin access", "removed")


def _word_of_hers(person: User) -> Iterator[Item]:
    """What she asked for, what rests on her agreement, and the times at which she would be asked."""
    for request in live_of_person(person):
        about = f"{request.name} of {request.agent or request.person}"
        yield Item("approval request", about, "ended; the call may be asked for again", id=request.key.hex)
    mine = {request.number for request in live_of_person(person)}
    for request in asked_of_person(person, timezone.now()):
        if request.number not in mine:
            about = f"{request.name} of {request.agent or request.person}"
            action, todo = "goes to whoever is next", "look whether somebody else can answer it"
            yield Item("question to her", about, action, todo, id=request.key.hex)
    for grant in grants.live_of_person(person):
        yield Item("grant", f"{grant} for {grant.agent or grant.person}", "revoked", id=grant.pk.hex)
    for shift in shifts_of(person):
        name = f"{shift.team.name} from {shift.starts_at:%Y-%m-%d %H:%M} UTC"
        yield Item("on-call shift", name, "removed", "put somebody else on call", id=shift.pk.hex)


def _keys_she_saw(person: User) -> Iterator[Item]:
    """Of agents that are others': whoever issues a key has it before her eyes."""
    seen = AgentCredential.objects.filter(created_by=f"person:{person.email}", revoked_at=None)
    seen = seen.filter(Q(expires_at=None) | Q(expires_at__gt=Now())).exclude(agent__owner=person)
    rows = seen.exclude(person=person).order_by("agent__name", "created_at")
    for key_id, hint, agent in rows.values_list("id", "hint", "agent__name"):
        name, risk = f"{hint}… of {agent}", "she may have kept a copy, and it works until then"
        yield Item(SEEN_KEY, name, "stays until it is replaced", id=key_id.hex, risk=risk, step=ROTATE_KEY)


def _left_to_do(person: User) -> Iterator[Item]:
    for report_id, email in person.reports.filter(is_active=True).order_by("email").values_list("id", "email"):
        yield Item("report", email, "keeps this manager in name only", "choose another manager", id=report_id.hex)
    waiting = Offboarding.objects.filter(state=Offboarding.State.SCHEDULED).exclude(person=person)
    for offboarding in waiting.select_related("person").defer("items", "receipt"):
        if person.email in Plan.from_json(offboarding.plan).successors:
            todo = "choose another successor, or those agents will be suspended"
            name = f"of {offboarding.person.email}"
            yield Item("successor in an offboarding", name, "falls away", todo, id=offboarding.id.hex)
    hers = Freeze.objects.filter(created_by=f"person:{person.email}", lifted_at=None)
    for freeze in hers.select_related("agent", "connector", "tool__connector"):
        yield Item("freeze", freeze.target, "stays in force", "lift it when it is no longer needed", id=freeze.id.hex)


def _teams_left_without_approver(person: User) -> set[str]:
    alone = person.teams.annotate(active=Count("members", filter=Q(members__is_active=True))).filter(active__lte=1)
    names = set(Team.objects.filter(id__in=alone.values("id")).values_list("name", flat=True))
    if not names:
        return set()
    asking = Rule.objects.filter(effect=Rule.Effect.ASK, version__state="published")
    return names & {approvers.get("team") for approvers in asking.values_list("approvers", flat=True)}


def agents_of(person: User) -> QuerySet[Agent]:
    return Agent.objects.filter(owner=person).order_by("name")


def keys_of(person: User) -> QuerySet[AgentCredential]:
    """Of her agents, and those with which others' agents act for her."""
    return AgentCredential.objects.filter(Q(agent__owner=person) | Q(person=person), revoked_at=None)


def shifts_of(person: User) -> QuerySet[OnCallShift]:
    """Those that are not over."""
    still = OnCallShift.objects.filter(person=person, ends_at__gt=Now())
    return still.select_related("team").order_by("starts_at")
