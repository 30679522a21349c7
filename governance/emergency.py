"""Emergency rotation: all by which an agent, a team's agents, a connector or everybody proves itself ends at once.

All by sets: hundreds of agents cost as many statements as one.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Exists, OuterRef, QuerySet

from governance import authorizations
from governance.agent_keys import live
from governance.facts import Fact, Recorder
from governance.models import (
    Agent,
    AgentCredential,
    Authorization,
    Connector,
    DirectoryToken,
    PersonalToken,
    RotationTask,
    Secret,
    SecretVersion,
    Team,
    User,
)
from governance.rotation import LONGEST_NOTE, Subject, ask_for, of_secret, open_tasks

PERMISSION: Final = "governance.cut_rotationtask"
FIRST_TOLD: Final = 100
"""Names that evidence tells; every row's own change is evidence beside it."""
EMERGENCY: Final = RotationTask.Reason.EMERGENCY


class NoSuchTarget(Exception):
    """The message names it."""


@dataclass(frozen=True, slots=True)
class Target:
    """One of the three by name, or none for everything."""

    agent: str = ""
    team: str = ""
    connector: str = ""

    def __str__(self) -> str:
        named = {"agent": self.agent, "team": self.team, "connector": self.connector}
        return next((f"{kind}:{name}" for kind, name in named.items() if name), "everything")

    @property
    def is_everything(self) -> bool:
        return not (self.agent or self.team or self.connector)


@dataclass(frozen=True, slots=True)
class Found:
    """What would end, or has ended. `connectors` are all that present one of the secrets."""

    target: Target
    agents: tuple[str, ...] = ()
    credentials: tuple[tuple[str, int], ...] = ()
    """Kind -> how many."""
    authorizations: int = 0
    secrets: tuple[str, ...] = ()
    connectors: tuple[str, ...] = ()
    tokens: int = 0
    suspends: bool = False

    def counts(self) -> dict[str, int]:
        kinds = {kind: count for kind, count in self.credentials if count}
        others = {
            "authorizations": self.authorizations,
            "secrets": len(self.secrets),
            "personal_tokens": self.tokens,
            "agents_suspended": len(self.agents) if self.suspends else 0,
        }
        return {**kinds, **{name: count for name, count in others.items() if count}}

    def as_json(self) -> dict[str, Any]:
        return {
            "target": str(self.target),
            "counts": self.counts(),
            "agents": list(self.agents[:FIRST_TOLD]),
            "agents_in_all": len(self.agents),
            "secrets": list(self.secrets[:FIRST_TOLD]),
            "connectors": list(self.connectors[:FIRST_TOLD]),
        }


def find(target: Target, *, now: datetime) -> Found:
    """What `cut` would end, as things are. Raises NoSuchTarget."""
    agents, secrets = _agents(target), _secrets(target)
    keys = AgentCredential.objects.filter(live(now), agent__in=agents.values("pk")).order_by()
    let_in = Authorization.objects.filter(authorizations.live(now), agent__in=agents.values("pk"))
    presenting = Connector.objects.filter(secret__in=secrets.values("pk")).order_by("name")
    return Found(
        target=target,
        agents=tuple(agents.order_by("name").values_list("name", flat=True)),
        credentials=tuple(sorted(Counter(keys.values_list("kind", flat=True)).items())),
        authorizations=let_in.count(),
        secrets=tuple(secrets.order_by("name").values_list("name", flat=True)),
        connectors=tuple(presenting.values_list("name", flat=True)),
        tokens=PersonalToken.objects.filter(revoked_at=None).count() if target.is_everything else 0,
        suspends=_suspends(target),
    )


def cut(target: Target, *, reason: str, by: str, record: Recorder, now: datetime) -> Found:
    """When this is committed, nothing of it is good for anything. Raises NoSuchTarget.

    Agents of a team, and all of them, are suspended: somebody looks at each before it gets a new credential. What is to
    be replaced stands in the queue.
    """
    agents = list(_agents(target).select_for_update(of=("self",)).order_by("id"))
    secrets = list(_secrets(target).select_for_update(of=("self",)).order_by("id"))
    found = find(target, now=now)
    _end_credentials(agents, target, by=by, record=record, now=now)
    _end_values(secrets, reason, by=by, record=record, now=now)
    if target.is_everything:
        _ask_for_directory_tokens(reason, by=by, record=record, now=now)
        PersonalToken.objects.filter(revoked_at=None).update(revoked_at=now, revoked_by=by)
    if _suspends(target):
        ids = [agent.pk for agent in agents if agent.status == Agent.Status.LIVE]
        Agent.objects.filter(pk__in=ids, status=Agent.Status.LIVE).update(status=Agent.Status.SUSPENDED)
    _queue(agents, reason, by=by, now=now)
    record(Fact("rotation.emergency", str(target), {**found.as_json(), "reason": reason[:LONGEST_NOTE]}))
    return found


def _suspends(target: Target) -> bool:
    return bool(target.team) or target.is_everything


def _agents(target: Target) -> QuerySet[Agent]:
    rows = Agent.objects.exclude(status=Agent.Status.RETIRED)
    if target.connector:
        return rows.none()
    if target.agent:
        _check(rows.filter(name=target.agent).exists(), f"agent {target.agent}")
        return rows.filter(name=target.agent)
    if target.team:
        _check(Team.objects.filter(name=target.team).exists(), f"team {target.team}")
        return rows.filter(Exists(_members(target.team, OuterRef("owner"))))
    return rows


def _members(team: str, person: OuterRef) -> QuerySet[Any]:
    return User.teams.through.objects.filter(team__in=_with_those_below(team), user=person)


def _with_those_below(name: str) -> list[Any]:
    """The team and the teams below it; the tree is small and read whole."""
    below: dict[Any, list[Any]] = {}
    wanted = None
    for pk, parent, team in Team.objects.values_list("pk", "parent_id", "name"):
        below.setdefault(parent, []).append(pk)
        wanted = pk if team == name else wanted
    found, waiting = [], [wanted]
    while waiting:
        team_id = waiting.pop()
        if team_id not in found:
            found.append(team_id)
            waiting.extend(below.get(team_id, ()))
    return found


def _secrets(target: Target) -> QuerySet[Secret]:
    """Of connectors, and with a value."""
    presenting = Connector.objects.filter(secret=OuterRef("pk"))
    if target.connector:
        presenting = presenting.filter(name=target.connector)
        _check(Connector.objects.filter(name=target.connector).exists(), f"connector {target.connector}")
    elif not target.is_everything:
        return Secret.objects.none()
    with_value = SecretVersion.objects.filter(secret=OuterRef("pk"), retired_at=None)
    return Secret.objects.filter(Exists(presenting), Exists(with_value))


def _check(is_there: bool, name: str) -> None:
    if not is_there:
        raise NoSuchTarget(f"There is no such target: {name}.")


def _end_credentials(agents: list[Agent], target: Target, *, by: str, record: Recorder, now: datetime) -> None:
    ids = [agent.pk for agent in agents]
    keys = AgentCredential.objects.filter(agent__in=ids, revoked_at=None)
    ended = list(keys.values_list("pk", flat=True))
    keys.update(revoked_at=now, revoked_by=by)
    authorizations.end_all(Authorization.objects.filter(agent__in=ids), str(target), by=by, record=record, now=now)
    waiting = open_tasks().filter(subject_kind=RotationTask.Subject.CREDENTIAL, subject_id__in=ended)
    waiting.update(state=RotationTask.State.DONE, done_at=now, done_by=by, evidence={"why": "emergency rotation"})


def _end_values(secrets: list[Secret], reason: str, *, by: str, record: Recorder, now: datetime) -> None:
    """Calls are refused, and say that the secret is missing, until there is a new value."""
    SecretVersion.objects.filter(secret__in=secrets, retired_at=None).update(retired_at=now)
    owners = {
        row.secret_id: row.owner
        for row in Connector.objects.filter(secret__in=secrets, owner__is_active=True).select_related("owner")
    }
    for secret in secrets:
        owner = owners.get(secret.pk)
        ask_for(of_secret(secret), reason=EMERGENCY, note=reason, owner=owner, by=by, record=record, now=now)


def _ask_for_directory_tokens(reason: str, *, by: str, record: Recorder, now: datetime) -> None:
    """They are asked for and not ended: while a directory is cut off, nobody who leaves is ended by it."""
    for token in DirectoryToken.objects.filter(revoked_at=None).select_related("directory"):
        subject = Subject(RotationTask.Subject.SCIM_TOKEN, token.pk, f"{token.hint}… of {token.directory}")
        ask_for(subject, reason=EMERGENCY, note=reason, by=by, record=record, now=now)


def _queue(agents: Iterable[Agent], reason: str, *, by: str, now: datetime) -> None:
    """A task each, as the trigger of the table tells; a new credential closes it."""
    kind = RotationTask.Subject.AGENT
    asked = set(open_tasks().filter(subject_kind=kind, reason=EMERGENCY).values_list("subject_id", flat=True))
    RotationTask.objects.bulk_create(
        RotationTask(
            subject_kind=kind,
            subject_id=agent.pk,
            subject_name=agent.name,
            reason=EMERGENCY,
            note=reason[:LONGEST_NOTE],
            owner_id=agent.owner_id,
            created_at=now,
            asked_by=by,
            due_at=now,
        )
        for agent in agents
        if agent.pk not in asked
    )
