"""What the group commit on SQLite consumes and keeps beside the records. The writer is alone, so nothing is locked."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from gateway.commit.entry import Claim, Entry, Run, Verdict
from gateway.commit.sqlite_destinations import add_mentions, still_reaches

REACH = timedelta(minutes=31)
"""As in `postgresql_claims.sql`, like the next."""
REFRESHED_EVERY = timedelta(minutes=1)

CONSUME = """
    UPDATE governance_approvalrequest
    SET state = 'consumed', call_id = :call, revision = revision + 1, ended_at = :now,
      arguments = CASE WHEN length(asked_arguments) = 0 THEN x'' ELSE arguments END
    WHERE number = :number AND state = 'approved' AND call_digest = :digest AND use_before > :now
"""
USE = "UPDATE governance_grantuse SET used = used + 1 WHERE grant_id = ? AND used < max_uses"
LABELS = """
    SELECT DISTINCT label FROM gateway_runlabel
    WHERE agent_id = :agent AND (session = nullif(:session, '') OR at > :since OR label = 'held')
"""
ADD_LABEL = """
    INSERT INTO gateway_runlabel (agent_id, session, label, at) VALUES (:agent, :session, :label, :now)
    ON CONFLICT (agent_id, session, label) DO UPDATE SET at = excluded.at WHERE at < :stale
"""


class _Gone(Exception):
    """Something claimed is not there any more."""


def consume(connection: sqlite3.Connection, group: list[Entry], verdicts: list[Verdict]) -> None:
    """Takes what the committing members of the group claim, in their order, and revises the verdicts of those that do
    not get it or whose run has other labels by now."""
    labels = _Labels(connection)
    for position, entry in enumerate(group):
        if verdicts[position] is not Verdict.COMMITTED:
            continue
        if entry.seen is not None and not labels.are_those_of(entry.seen):
            verdicts[position] = Verdict.LABELLED
        elif entry.claim is not None and not _take(connection, entry.claim, entry):
            verdicts[position] = Verdict.GONE


def add_labels(connection: sqlite3.Connection, entries: list[Entry]) -> None:
    now = datetime.now(UTC)
    times = {"now": _text(now), "stale": _text(now - REFRESHED_EVERY), "since": _text(now - REACH)}
    for run in (entry.met for entry in entries if entry.met is not None):
        known = {"agent": run.agent_id, "session": run.session, **times}
        if run.mentions is not None:
            add_mentions(connection, run.mentions, known)
        connection.executemany(ADD_LABEL, [known | {"label": label} for label in run.labels])


class _Labels:
    """Of the runs in a group, as they are before anything of it is added: each run's are read once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._since = _text(datetime.now(UTC) - REACH)
        self._read: dict[tuple[str, str], set[str]] = {}

    def are_those_of(self, run: Run) -> bool:
        """And it reaches no more that it knows from untrusted text."""
        known = {"agent": run.agent_id, "session": run.session, "since": self._since}
        if run.reach is not None and not still_reaches(self._connection, run.reach, known):
            return False
        found = self._read.get((run.agent_id, run.session))
        if found is None:
            found = {label for (label,) in self._connection.execute(LABELS, known)}
            self._read[run.agent_id, run.session] = found
        return found == run.labels


def _take(connection: sqlite3.Connection, claim: Claim, entry: Entry) -> bool:
    """All of it or nothing."""
    try:
        with _savepoint(connection):
            if claim.approval is not None:
                _consume(connection, claim, entry)
            for grant in claim.grants:
                if connection.execute(USE, [grant]).rowcount != 1:
                    raise _Gone
    except _Gone:
        return False
    return True


def _consume(connection: sqlite3.Connection, claim: Claim, entry: Entry) -> None:
    call = entry.event.call_id.hex if entry.event.call_id is not None else None
    known = {"call": call, "now": _text(datetime.now(UTC)), "number": claim.approval, "digest": claim.call_digest}
    if connection.execute(CONSUME, known).rowcount != 1:
        raise _Gone


@contextmanager
def _savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("SAVEPOINT claim")
    try:
        yield
    except _Gone:
        connection.execute("ROLLBACK TO claim")
        raise
    finally:
        connection.execute("RELEASE claim")


def _text(at: datetime) -> str:
    """As Django stores it: UTC without offset."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
