"""What the group commit on SQLite knows of destinations: as `postgresql_destinations.sql`, which says what it means."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.commit.entry import Mentions, Reach

MOST_OF_RUN: Final = 5_000
MORE: Final = "*"
MOST_ASKED: Final = 500
UNTRUSTED: Final = """
    SELECT digest FROM gateway_rundestination
    WHERE agent_id = :agent AND NOT is_trusted AND (session = nullif(:session, '') OR at > :since)
"""
ADD_SENT: Final = """
    INSERT INTO gateway_rundestination (agent_id, session, digest, is_trusted, at)
    VALUES (:agent, :session, :digest, 1, :now)
    ON CONFLICT (agent_id, session, digest) DO UPDATE SET is_trusted = 1, at = excluded.at
"""
HELD: Final = "SELECT count(*) FROM gateway_rundestination WHERE agent_id = :agent AND session = :session"
ADD: Final = """
    INSERT INTO gateway_rundestination (agent_id, session, digest, is_trusted, at)
    SELECT :agent, :session, :digest, :is_trusted, :now
    WHERE NOT EXISTS (
      SELECT 1 FROM gateway_rundestination
      WHERE agent_id = :agent AND digest = :digest AND is_trusted <> :is_trusted
        AND (session = nullif(:session, '') OR at > :since))
    ON CONFLICT (agent_id, session, digest) DO UPDATE SET at = excluded.at WHERE at < :stale
"""


def still_reaches(connection: sqlite3.Connection, reach: Reach, run: Mapping[str, str]) -> bool:
    """`run` has agent, session and since. Of nothing else has it become known that it is untrusted."""
    others = reach.digests - reach.untrusted
    if len(others) > MOST_ASKED:
        return others.isdisjoint(digest for (digest,) in connection.execute(UNTRUSTED, run))
    asked = ({**run, "digest": digest} for digest in others)
    return not any(connection.execute(f"{UNTRUSTED} AND digest = :digest", each).fetchone() for each in asked)


def add_mentions(connection: sqlite3.Connection, mentions: Mentions, run: Mapping[str, str]) -> None:
    """`run` has agent, session, since, stale and now."""
    connection.executemany(ADD_SENT, _each(mentions.sent, run))
    (held,) = connection.execute(HELD, run).fetchone()
    digests: Iterable[str] = mentions.digests
    if mentions.is_trusted and held > MOST_OF_RUN:
        digests = ()
    elif not mentions.is_trusted and held + len(mentions.digests) > MOST_OF_RUN:
        digests = (MORE,)
    connection.executemany(ADD, _each(digests, {**run, "is_trusted": mentions.is_trusted}))


def _each(digests: Iterable[str], run: Mapping[str, object]) -> list[dict[str, object]]:
    return [{**run, "digest": digest} for digest in digests]
