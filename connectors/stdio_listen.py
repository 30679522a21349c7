"""Hearing the news of a local program, for as long as somebody wants to, over all its lives."""

from dataclasses import replace

from connectors.base import Interest, UpstreamFailure
from connectors.mcp_line import CANCEL_SECONDS
from connectors.mcp_listen import Pauses, offered_of, wanted_by
from connectors.mcp_news import Listener
from connectors.mcp_peer import Request
from connectors.mcp_talk import Talk
from connectors.stdio_host import StdioChannel
from connectors.stdio_session import Session


async def listen(channel: StdioChannel, listener: Listener) -> None:
    """Until cancelled, or until the program turns out to offer none of it. After it was started again, everything that
    is listened for counts as changed: it may have."""
    pauses = Pauses()
    while True:
        try:
            session = await channel.opened()
            offered = offered_of(session.wire, listener.interest)
            if offered == Interest():
                return
            hear = _hear_modern if session.wire.is_modern else _hear_legacy
            await hear(channel, session, replace(listener, interest=offered), is_again=pauses.is_again)
        except UpstreamFailure:
            pass
        await pauses.rest()


async def _hear_modern(channel: StdioChannel, session: Session, listener: Listener, *, is_again: bool) -> None:
    """What it tells comes on the one stream that there is, and is spread from there."""
    with channel.host.news.listening(listener):
        asked = await session.open_stream(Request("subscriptions/listen", wanted_by(listener.interest)))
        try:
            listener.stands()
            if is_again:
                await listener.catch_up()
            await session.until_ended()
        finally:
            session.cancel(asked)


async def _hear_legacy(channel: StdioChannel, session: Session, listener: Listener, *, is_again: bool) -> None:
    news = channel.host.news
    try:
        with news.listening(listener):
            await _subscribe(channel, session)
            listener.stands()
            if is_again:
                await listener.catch_up()
            await session.until_ended()
    finally:
        for uri in news.take_unwanted():
            session.run_errand(Request("resources/unsubscribe", {"uri": uri}, uri), seconds=CANCEL_SECONDS)


async def _subscribe(channel: StdioChannel, session: Session) -> None:
    """Errors are the program's word that it has no such resource."""
    news = channel.host.news
    for uri in news.unsubscribed():
        request = Request("resources/subscribe", {"uri": uri}, uri)
        await session.exchange(session.wire, request, Talk(seconds=channel.host.spec.timeout_seconds))
        news.note_subscribed(uri)
