"""A session that a person ends: on record, and heard at once by whichever process holds its streams and calls."""

from datetime import datetime
from typing import Final

from gateway.bus import Bus, post, topic_of
from gateway.mcp.sessions import label_of
from gateway.models import McpSession
from governance.facts import Fact, Recorder
from governance.models import Agent

ENDED: Final = topic_of("session ended")
"""One topic for all sessions, as ends are rare and waiting for one must cost little; a letter names the session."""


def end_session(row: McpSession, *, agent: Agent, record: Recorder, now: datetime) -> bool:
    """In the caller's transaction. False if it had ended before."""
    live = McpSession.objects.filter(pk=row.pk, ended_at=None)
    if not live.update(ended_at=now, capabilities={}, subscriptions=[]):
        return False
    digest = bytes(row.digest)
    details = {"session": label_of(digest), "client": row.client, "bundle": row.bundle, "since": row.created_at}
    record(Fact("mcp_session.ended", f"agent:{agent.name}", details))
    post(ENDED, digest)
    return True


async def until_ended(session: bytes, bus: Bus) -> None:
    """Returns when somebody has ended it, here or at another process."""
    with bus.mailbox(ENDED) as box:
        while await box.next() != session:
            continue
