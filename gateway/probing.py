"""A gateway process tries credentials that should be dead, by the very look-up it tries a caller's by.

Whoever asks cannot know a key: only its digest is kept. So a probe names rows; each process reads their digests and
looks whether it would let in whoever shows what has that digest. The answer is a row as well: no door is opened for it,
so nobody outside can ask.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from django.db.models import Q

from gateway.access_tokens import read_tokens
from gateway.deciding import opens
from gateway.models import Probe, ProbeAnswer
from gateway.ports import Ports
from governance.models import AccessToken, AgentCredential
from governance.snapshot import Credential

ANSWERED_WITHIN = timedelta(seconds=30)
"""Older questions are not answered any more: nobody waits."""
AT_ONCE = 500
KEY, AUTHORIZATION, TOKEN = "key:", "authorization:", "token:"

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tried. `token` is what an access token is for: this process may never have met it."""

    name: str
    digest: bytes
    token: Credential | None = None


def unanswered(process_id: UUID) -> list[Probe]:
    """A query each heartbeat, on a table that is nearly always empty."""
    rows = Probe.objects.filter(asked_at__gte=datetime.now(UTC) - ANSWERED_WITHIN)
    return list(rows.exclude(answers__process_id=process_id).order_by("asked_at")[:10])


def subjects_of(probe: Probe) -> list[Subject]:
    keys, authorizations = _ids(probe, KEY), _ids(probe, AUTHORIZATION)
    found: list[Subject] = []
    for some in _portions(keys):
        rows = AgentCredential.objects.filter(id__in=some).exclude(digest=None)
        found += [Subject(f"{KEY}{i.hex}", bytes(digest)) for i, digest in rows.values_list("id", "digest") if digest]
        found += _tokens(Q(credential_id__in=some))
    for some in _portions(authorizations):
        found += _tokens(Q(authorization_id__in=some))
    return found


async def tried(subjects: list[Subject], ports: Ports) -> list[str]:
    """Those that open something here. Other work of the process goes on in between."""
    live = []
    for some in _portions(subjects):
        live += [subject.name for subject in some if opens(subject.digest, ports, token=subject.token)]
        await asyncio.sleep(0)
    return live


def answer(probe: Probe, process_id: UUID, *, epoch: int, count: int, live: list[str]) -> None:
    ProbeAnswer.objects.get_or_create(
        probe=probe,
        process_id=process_id,
        defaults={"epoch": epoch, "tried": count, "live": live[:1000], "answered_at": datetime.now(UTC)},
    )


def _tokens(of: Q) -> list[Subject]:
    rows = AccessToken.objects.filter(of, expires_at__gt=datetime.now(UTC))
    digests = [bytes(digest) for digest in rows.values_list("digest", flat=True)]
    return [
        Subject(f"{TOKEN}{credential.id}", credential.digest, credential)
        for some in _portions(digests)
        for credential in read_tokens(some)
    ]


def _ids(probe: Probe, kind: str) -> list[UUID]:
    return [UUID(name.removeprefix(kind)) for name in probe.credentials if name.startswith(kind)]


def _portions(things: list[Thing]) -> Iterator[list[Thing]]:
    for start in range(0, len(things), AT_ONCE):
        yield things[start : start + AT_ONCE]
