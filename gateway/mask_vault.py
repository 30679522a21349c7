"""What tokens of reversible masks stand for: sealed rows that any process finds, for one agent, person and session.

A row is durable before the agent hears of its token. Nothing is locked but for the moment in which numbers are given.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.db.models import Max, QuerySet
from django.utils.crypto import salted_hmac

from gateway.database import DatabaseThread
from gateway.models import MaskedValue
from gateway.sealers import Sealers
from governance import canonical
from governance.inspection.tokens import Value, last_of, token
from governance.models import SubjectKey
from governance.payload_keys import PayloadSealer, Place, open_sealer
from governance.retention import period_of
from governance.vault import Keyring, VaultError, keyring

KEPT_FOR: Final = timedelta(hours=24)
"""Since the value last came up."""
KEPT_ON_AFTER: Final = timedelta(hours=1)
"""A value that comes up again is kept for longer only then."""
MOST_PER_RUN: Final = 5_000
"""Values of one run; what is masked beyond is masked for good."""
PROOF_LETTERS: Final = 8


class Reader(NamedTuple):
    """Whose tokens: of another agent, person or session they are just text."""

    agent_id: str
    person_id: str
    session: UUID

    @property
    def run(self) -> str:
        fields = (self.agent_id.encode(), self.person_id.encode(), self.session.bytes)
        return canonical.digest(b"gatehouse/masks/run/v1", *fields).hex()

    def token(self, name: str, fingerprint: str, shown: str) -> str:
        said = orjson.dumps([self.run, name, fingerprint, shown])
        proof = salted_hmac("gatehouse.masks.proof", said, algorithm="sha256").digest()
        return token(name, base64.b32encode(proof)[:PROOF_LETTERS].decode().lower(), shown)


class Wanted(NamedTuple):
    """A value to be masked, and how much of its end its token may show."""

    value: Value
    most_shown: int


@dataclass(frozen=True, slots=True)
class Original:
    """A token, and what it stands for."""

    name: str
    token: str
    value: Value = field(repr=False)
    made_at: datetime


class Masks(Protocol):
    async def keep(self, reader: Reader, wanted: Sequence[Wanted], *, retention: str) -> dict[Value, str]:
        """The token of each; the one it has in this run, if it has. Of what the run has no room for there is none.

        Raises EvidenceUnavailable.
        """

    async def open(self, reader: Reader, names: Iterable[str]) -> dict[str, Value]:
        """By token: what those of these names, such as `EMAIL#3`, stand for. Raises EvidenceUnavailable."""


class MaskVault:
    """One of each gateway process; its methods run on the event loop."""

    def __init__(self, thread: DatabaseThread, sealers: Sealers, keyring: Keyring) -> None:
        self._thread = thread
        self._sealers = sealers
        self._keyring = keyring

    async def keep(self, reader: Reader, wanted: Sequence[Wanted], *, retention: str) -> dict[Value, str]:
        now = datetime.now(UTC)
        found, missing = await self._thread.run(lambda: _known(reader, wanted, now, self._keyring))
        if not missing:
            return found
        sealer = await self._sealers.opened(Place(f"person:{reader.person_id}", retention, period_of(now)))
        return found | await self._thread.run(lambda: _keep(reader, missing, sealer, now, self._keyring))

    async def open(self, reader: Reader, names: Iterable[str]) -> dict[str, Value]:
        wanted = set(names)
        found = await self._thread.run(lambda: originals_of(reader, self._keyring, names=wanted))
        return {each.token: each.value for each in found}


def originals_of(reader: Reader, keyring: Keyring, *, names: Iterable[str] | None = None) -> list[Original]:
    """Of these names, or all there are. What cannot be opened any more is left out."""
    rows = MaskedValue.objects.filter(run=reader.run, keep_until__gt=datetime.now(UTC)).order_by("label", "number")
    if names is not None:
        chosen = set(names)
        rows = rows.filter(label__in={name.rpartition("#")[0] for name in chosen})
        return _opened(reader, [row for row in rows if str(row) in chosen], keyring)
    return _opened(reader, list(rows[:MOST_PER_RUN]), keyring)


def names_kept(session: UUID, names: Iterable[str]) -> list[str]:
    """Those of these names that were given in this session and whose values are kept."""
    chosen = set(names)
    parts = [name.rpartition("#") for name in chosen]
    rows = _kept_in(session).filter(
        label__in={label for label, _, _ in parts}, number__in={int(n) for _, _, n in parts}
    )
    return sorted(chosen & {str(row) for row in rows.only("label", "number")})


def originals_in(session: UUID, names: Iterable[str]) -> dict[str, str]:
    """By token, whoever of this session it was given to: what those of these names stand for, for humans."""
    wanted, keys = set(names), keyring()
    readers = _kept_in(session).order_by().values_list("agent_id", "person_id").distinct() if wanted else ()
    runs = (Reader(agent_id.hex, person_id.hex, session) for agent_id, person_id in readers)
    return {each.token: each.value.text for run in runs for each in originals_of(run, keys, names=wanted)}


def _kept_in(session: UUID) -> QuerySet[MaskedValue]:
    return MaskedValue.objects.filter(session=session, keep_until__gt=datetime.now(UTC))


def forget_masked(now: datetime) -> None:
    MaskedValue.objects.filter(keep_until__lt=now).delete()


def forget_masked_of(person_id: UUID) -> int:
    """All that was masked for this person."""
    return MaskedValue.objects.filter(person_id=person_id).delete()[0]


def _fingerprint(reader: Reader, value: Value) -> str:
    said = orjson.dumps([reader.run, value.label, value.names, value.is_number, value.text])
    return salted_hmac("gatehouse.masks.value", said, algorithm="sha256").hexdigest()


def _known(
    reader: Reader, wanted: Sequence[Wanted], now: datetime, keyring: Keyring
) -> tuple[dict[Value, str], list[Wanted]]:
    by_print = {_fingerprint(reader, each.value): each for each in wanted}
    rows = list(MaskedValue.objects.filter(run=reader.run, fingerprint__in=by_print))
    fading = [row.pk for row in rows if row.keep_until < now + KEPT_FOR - KEPT_ON_AFTER]
    if fading:
        MaskedValue.objects.filter(pk__in=fading).update(keep_until=now + KEPT_FOR)
    tokens = {each.name: each.token for each in _opened(reader, rows, keyring)}
    found = {by_print[row.fingerprint].value: tokens[str(row)] for row in rows if str(row) in tokens}
    lost = [row.pk for row in rows if str(row) not in tokens]
    if lost:
        MaskedValue.objects.filter(pk__in=lost).delete()
    return found, [each for each in wanted if each.value not in found]


def _keep(
    reader: Reader, wanted: Sequence[Wanted], sealer: PayloadSealer, now: datetime, keyring: Keyring
) -> dict[Value, str]:
    """Another process may have given tokens to some of these meanwhile."""
    with transaction.atomic():
        _one_at_a_time(reader.run)
        found, missing = _known(reader, wanted, now, keyring)
        of_run = MaskedValue.objects.filter(run=reader.run)
        room = max(0, MOST_PER_RUN - of_run.count())
        last = dict(of_run.order_by().values_list("label").annotate(last=Max("number")))
        rows = []
        for each in missing[:room]:
            label = each.value.label
            last[label] = last.get(label, 0) + 1
            row, shown = _row(reader, each, last[label], sealer, now)
            rows.append(row)
            found[each.value] = reader.token(str(row), row.fingerprint, shown)
        MaskedValue.objects.bulk_create(rows)
    return found


def _one_at_a_time(run: str) -> None:
    """Numbers of a run are given by one; on SQLite every writer is alone anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('masks'), hashtext(%s))", [run])


def _row(reader: Reader, wanted: Wanted, number: int, sealer: PayloadSealer, now: datetime) -> tuple[MaskedValue, str]:
    value = wanted.value
    shown = last_of(value.text, wanted.most_shown)
    plain = orjson.dumps([value.rule, value.names, value.text, value.is_number, shown])
    row = MaskedValue(
        run=reader.run,
        label=value.label,
        number=number,
        fingerprint=_fingerprint(reader, value),
        agent_id=UUID(reader.agent_id),
        person_id=UUID(reader.person_id),
        session=reader.session,
        key_id=UUID(sealer.key_id),
        made_at=now,
        keep_until=now + KEPT_FOR,
    )
    row.sealed = sealer.seal(plain, event_id=_bound(reader, str(row)))
    return row, shown


def _bound(reader: Reader, name: str) -> UUID:
    """What the sealed value belongs to: moved to another agent, person, session or token it does not open."""
    return UUID(bytes=canonical.digest(b"gatehouse/masks/value/v1", reader.run.encode(), name.encode())[:16])


def _opened(reader: Reader, rows: Sequence[MaskedValue], keyring: Keyring) -> list[Original]:
    keys = SubjectKey.objects.filter(pk__in={row.key_id for row in rows}, destroyed_at=None)
    sealers = {key.pk: open_sealer(key, keyring) for key in keys}
    found = (_original(reader, row, sealers) for row in rows)
    return [each for each in found if each is not None]


def _original(reader: Reader, row: MaskedValue, sealers: Mapping[Any, PayloadSealer]) -> Original | None:
    sealer = sealers.get(row.key_id)
    if sealer is None:
        return None
    try:
        plain = sealer.open(bytes(row.sealed), event_id=_bound(reader, str(row)))
    except VaultError:
        return None
    rule, names, text, is_number, shown = orjson.loads(plain)
    value = Value(row.label, rule, tuple(map(tuple, names)), text, is_number)
    return Original(str(row), reader.token(str(row), row.fingerprint, shown), value, row.made_at)
