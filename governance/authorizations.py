"""Letting clients in: who may, what comes of it, and how it ends. Each authorization is the root of one family of
tokens; ending it ends them all, in one governed change."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import uuid4

from django.db.models import Q, QuerySet

from governance.facts import Fact, Recorder
from governance.models import Agent, Authorization, OAuthClient, User

LONGEST = timedelta(days=90)
"""After it a person is asked again, however diligently the client refreshed."""
MOST_LIVE = 200
"""Of one person."""
NAME_LENGTH = 63


class NotAuthorizable(Exception):
    """The client cannot be let in; the message says why, to people."""


def live(now: datetime, *, through: str = "") -> Q:
    """Of rows of Authorization, or of rows that reach them `through` a relation (`authorization__`)."""
    return Q(**{f"{through}revoked_at": None, f"{through}expires_at__gt": now})


def let_in(
    client: OAuthClient,
    person: User,
    *,
    resource: str,
    oauth_scopes: Iterable[str],
    basis: str = Authorization.Basis.CONSENT,
    by: str,
    record: Recorder,
    now: datetime,
    lifetime: timedelta = LONGEST,
) -> Authorization:
    """The client acts for the person from now on, through an agent that is hers and takes her roles.

    She and the client are locked and looked at again, in the order of an offboarding. Raises NotAuthorizable.
    """
    held = User.objects.select_for_update().filter(id=person.id, is_active=True).first()
    if held is None:
        raise NotAuthorizable(f"{person.email} is not active.")
    known = OAuthClient.objects.select_for_update().get(id=client.id)
    if known.status != OAuthClient.Status.APPROVED or known.agent_id is not None:
        raise NotAuthorizable(f"{known} is not approved.")
    if live_of_person(held, now=now).count() >= MOST_LIVE:
        raise NotAuthorizable(f"{held.email} has let in {MOST_LIVE} clients already; end some first.")
    agent = agent_of(known, held, record=record)
    row = Authorization.objects.create(
        client=known,
        agent=agent,
        person=held,
        basis=basis,
        resource=resource,
        oauth_scopes=list(oauth_scopes),
        created_by=by,
        expires_at=now + min(lifetime, LONGEST),
    )
    record(Fact("authorization.given", f"person:{held.email}", _told(row)))
    return row


def agent_of(client: OAuthClient, person: User, *, record: Recorder) -> Agent:
    """The agent by which the client acts for the person; made at its first authorization. Raises NotAuthorizable.

    The caller holds the person's row, so there is one.
    """
    rows = Agent.objects.filter(owner=person, takes_owner_roles=True, authorizations__client=client)
    agent = rows.exclude(status=Agent.Status.RETIRED).distinct().first()
    if agent is None:
        name = _name_of(client, person)
        title = f"{client.name} of {person.name or person.email}"[:200]
        agent = Agent.objects.create(name=name, title=title, owner=person, takes_owner_roles=True)
        record(Fact("agent.created", f"agent:{name}", {"owner": person.email, "oauth_client": client.client_id}))
    if agent.status != Agent.Status.LIVE:
        raise NotAuthorizable(f"Agent {agent.name} is {agent.status}.")
    return agent


def _name_of(client: OAuthClient, person: User) -> str:
    words = f"{person.email.partition('@')[0]} {client.name}".lower()
    stem = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "client"
    tail = uuid4().hex[:6]
    return f"{stem[: NAME_LENGTH - len(tail) - 1].rstrip('-')}-{tail}"


def live_of_person(person: User, *, now: datetime) -> QuerySet[Authorization]:
    """What she let in, and what acts for her."""
    return Authorization.objects.filter(live(now), person=person).select_related("client", "agent")


def revoke(row: Authorization, *, by: str, record: Recorder, now: datetime, because: str = "") -> bool:
    """When this is committed no token of the family is good for anything. False if it was revoked before."""
    if not Authorization.objects.filter(id=row.id, revoked_at=None).update(revoked_at=now, revoked_by=by):
        return False
    record(Fact("authorization.revoked", _subject(row), {**_told(row), "because": because}))
    return True


def end_of_person(person: User, *, by: str, record: Recorder, now: datetime) -> int:
    return end_all(Authorization.objects.filter(person=person), f"person:{person.email}", by=by, record=record, now=now)


def end_of_client(client: OAuthClient, *, by: str, record: Recorder, now: datetime) -> int:
    return end_all(
        Authorization.objects.filter(client=client), f"oauth_client:{client.client_id}", by=by, record=record, now=now
    )


def end_of_agent(agent: Agent, *, by: str, record: Recorder, now: datetime) -> int:
    return end_all(Authorization.objects.filter(agent=agent), f"agent:{agent.name}", by=by, record=record, now=now)


def end_all(rows: QuerySet[Authorization], subject: str, *, by: str, record: Recorder, now: datetime) -> int:
    """Returns how many were live until now."""
    unrevoked = rows.filter(revoked_at=None)
    ids = [str(i) for i in unrevoked.values_list("id", flat=True)]
    if ids:
        unrevoked.update(revoked_at=now, revoked_by=by)
        record(Fact("authorizations.revoked", subject, {"authorizations": ids}))
    return len(ids)


def _subject(row: Authorization) -> str:
    return f"person:{row.person.email}" if row.person is not None else f"agent:{row.agent.name}"


def _told(row: Authorization) -> dict[str, object]:
    return {
        "authorization": str(row.id),
        "oauth_client": row.client.client_id if row.client is not None else "",
        "agent": row.agent.name,
        "resource": row.resource,
        "oauth_scopes": row.oauth_scopes,
        "basis": row.basis,
        "expires_at": row.expires_at,
    }
