"""Open streams for news that belong to no request: subscriptions/listen, and GET in the revisions before it.

News comes from new snapshots (what this agent may see has changed) and from the upstreams in its reach. One task of
the process does all the telling, so that an idle stream costs little more than its connection. Who may no longer hear
is cut off with the snapshot that says so, and asked for the key again before each event.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from connectors.base import Interest
from gateway.bus import topic_of
from gateway.call import Answer, Call, Caller
from gateway.catalogs import Catalogs
from gateway.commit.entry import EvidenceUnavailable
from gateway.deciding import authenticate, authorize, reachable_bundles, resolve
from gateway.mcp.context import Context
from gateway.mcp.errors import INTERNAL_ERROR, ProtocolError
from gateway.mcp.frames import bare_frame, invalid_params
from gateway.mcp.holding import ELICITED, page_done
from gateway.mcp.listeners import Listener, Listeners, View, Watched
from gateway.mcp.listing import is_shared
from gateway.mcp.methods import NEEDS_TASKS
from gateway.mcp.modern import declares
from gateway.mcp.newsroom import Newsroom
from gateway.mcp.session_ends import ENDED
from gateway.mcp.sessions import Session
from gateway.mcp.sights import interests, sight
from gateway.mcp.stream import Stream
from gateway.mcp.task_table import Task
from gateway.mcp.tasks import find_task, notification
from gateway.pipeline import commit_refusal, watch
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.targets import PROMPT, RESOURCE, TOOL
from governance.snapshot import Connector, Snapshot

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15.0
PAUSE_SECONDS = 0.05
"""Between two rounds of telling: what comes in between is told together."""
AGENT_LIMIT = 100
PROCESS_LIMIT = 5_000
RETRY_AFTER_SECONDS = 30
STANDING_SECONDS = 0.5
"""How long a new stream waits for our own streams to the upstreams."""
RECONNECT = b"retry: 1000\n\n"
"""First of a GET stream: how many milliseconds a client that lost it waits before it asks again."""
URIS_LIMIT = 100
URI_LIMIT = 2_000
REVIEWED_AT_ONCE = 20

CHANGED: Mapping[str, str] = MappingProxyType(
    {
        TOOL: "notifications/tools/list_changed",
        PROMPT: "notifications/prompts/list_changed",
        RESOURCE: "notifications/resources/list_changed",
    }
)
KIND_OF = {method: kind for kind, method in CHANGED.items()}
UPDATED = "notifications/resources/updated"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
MEMBERS = {TOOL: "toolsListChanged", PROMPT: "promptsListChanged", RESOURCE: "resourcesListChanged"}
SUBSCRIBE = "resources/subscribe"
SUBSCRIPTIONS_CHANGED = topic_of("subscriptions")
"""Topic on which processes tell each other that some session subscribed to something else."""


class Listening:
    """One instance a process; all methods run on the event loop."""

    def __init__(self, ports: Ports, catalogs: Catalogs) -> None:
        self._ports = ports
        self._catalogs = catalogs
        self._newsroom = Newsroom(ports.listen, self._note)
        self._listeners = Listeners()
        self._news: dict[tuple[str, str, str], None] = {}
        self._has_swapped = False
        self._to_reread: set[Listener] = set()
        self._wake = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        ports.on_swap(self._swapped)
        catalogs.on_turn(self._turned)

    async def listen(self, context: Context) -> Answer | None:
        """subscriptions/listen. An answer when it cannot be opened; raises ProtocolError."""
        wants, uris = _asked(context)
        self._admit(context.caller)
        watched = await self._watched(context, uris)
        if isinstance(watched, Answer):
            return watched
        stream = Stream(context.receive, context.send)
        listener = self._listener(context, stream, wants, watched)
        listener.subscription = context.message.id
        honoured: dict[str, Any] = {MEMBERS[kind]: True for kind in MEMBERS if kind in wants}
        if uris:
            honoured["resourceSubscriptions"] = list(listener.uris.values())
        task_ids = await self._known_tasks(context)
        if task_ids:
            honoured["taskIds"] = task_ids
        first = listener.message(ACKNOWLEDGED, {"notifications": honoured})
        with self._following(listener, frozenset(task_ids)):
            return await self._hold(listener, context.caller, first)

    async def _known_tasks(self, context: Context) -> list[str]:
        """Those of the tasks asked for that are this caller's. Raises ProtocolError."""
        asked = context.message.params["notifications"].get("taskIds", [])
        if not isinstance(asked, list) or len(asked) > URIS_LIMIT:
            raise invalid_params(context, f"'taskIds' must be a list of at most {URIS_LIMIT} ids.")
        if not declares(context.capabilities, NEEDS_TASKS):
            return []
        return [task_id for task_id in asked if await find_task(context, task_id, self._ports) is not None]

    @contextmanager
    def _following(self, listener: Listener, task_ids: frozenset[str]) -> Iterator[None]:
        """While the block lasts, changes of these tasks are told. Only this costs a stream a task of its own."""
        if not task_ids:
            yield
            return

        async def tell(task: Task) -> None:
            if task.id in task_ids and self._is_known(listener):
                told = notification(task)
                listener.stream.push(listener.message(told["method"], told["params"]))

        changes = self._ports.tasks.changed(listener.agent_id, listener.frame.bundle, tell, is_modern=True)
        following = asyncio.create_task(_quietly(changes), name="task news")
        try:
            yield
        finally:
            following.cancel()

    async def follow(self, context: Context, session: Session) -> Answer | None:
        """The GET stream of a session; a newer one takes the place of an older. As `listen`."""
        stream = Stream(context.receive, context.send)
        listener = self._listener(context, stream, frozenset(CHANGED), {})
        listener.session = session
        listener.uris = self._readable(listener, session.subscriptions)
        return await self._hold(listener, context.caller, RECONNECT)

    async def subscribe(self, context: Context) -> Answer:
        """resources/subscribe: decided and recorded like reading; news of it goes to the session's stream."""
        uri = context.message.params.get("uri")
        if not isinstance(uri, str):
            raise invalid_params(context, "'uri' must be a string.")
        watched = await watch(replace(bare_frame(context, uri, {"uri": uri}), method=SUBSCRIBE), self._ports)
        if isinstance(watched, Answer):
            return watched
        await self._resubscribe(context, added=uri)
        return Answer(result={})

    async def unsubscribe(self, context: Context) -> Answer:
        uri = context.message.params.get("uri")
        if not isinstance(uri, str):
            raise invalid_params(context, "'uri' must be a string.")
        await self._resubscribe(context, removed=uri)
        return Answer(result={})

    @property
    def count(self) -> int:
        return len(self._listeners)

    def end_session(self, session: Session) -> None:
        self._listeners.end_session(session)

    def end_all(self) -> None:
        """This process is about to end: its clients connect again, to another."""
        for listener in list(self._listeners):
            listener.stream.end(listener.last_word())

    def _admit(self, caller: Caller) -> None:
        if self._ports.snapshot().is_stopped(caller.agent.id, self._ports.now()):
            raise ProtocolError(INTERNAL_ERROR, "Frozen by an administrator.", status=403)
        is_agent_full = self._listeners.count_of(caller.agent.id) >= AGENT_LIMIT
        if is_agent_full or self.count >= PROCESS_LIMIT:
            text = "Too many open streams of this agent." if is_agent_full else "Too many open streams."
            headers = ((b"retry-after", str(RETRY_AFTER_SECONDS).encode()),)
            raise ProtocolError(INTERNAL_ERROR, text, status=429 if is_agent_full else 503, headers=headers)

    async def _watched(self, context: Context, uris: Iterable[str]) -> Watched | Answer:
        """Those the caller may read, recorded; others are left out as if they did not exist."""
        found: Watched = {}
        for uri in uris:
            watched = await watch(replace(bare_frame(context, uri, {"uri": uri}), method=SUBSCRIBE), self._ports)
            if isinstance(watched, Call):
                found[watched.tool.connector.id, watched.tool.upstream_name] = uri
            elif watched.status != 200:
                return watched
        return found

    def _listener(self, context: Context, stream: Stream, wants: frozenset[str], uris: Watched) -> Listener:
        frame = bare_frame(context)
        return Listener(stream, frame, context.caller.credential, context.caller.agent.id, wants, uris)

    async def _hold(self, listener: Listener, caller: Caller, first: bytes) -> Answer | None:
        """Asks for the key once more: from here on it is each new snapshot that tells of a revocation."""
        self._admit(caller)
        try:
            authenticate(listener.frame, self._ports.snapshot(), self._ports)
        except Refusal as refusal:
            return await commit_refusal(listener.frame, refusal, self._ports)
        self._add(listener)
        try:
            await self._until_heard(listener)
            await listener.stream.hold([first])
        finally:
            self._remove(listener)
        return None

    async def _until_heard(self, listener: Listener) -> None:
        """Once a client reads its first event it counts on hearing everything, so our own streams to the upstreams
        stand before that. A slow upstream keeps nobody waiting for long."""
        reach = self._listeners.views[listener.view_key].reach
        kinds = {kind: reach.get(kind, frozenset()) for kind in listener.wants}
        wanted = interests(self._ports.snapshot(), [kinds], listener.uris)
        with suppress(TimeoutError):
            async with asyncio.timeout(STANDING_SECONDS):
                await self._newsroom.standing({key: interest for key, (_, interest) in wanted.items()})

    def _add(self, listener: Listener) -> None:
        view = self._listeners.add(listener)
        if not view.reach:
            self._look(view, self._ports.snapshot())
        if listener.session is not None:
            self._to_reread.add(listener)
            self._follow_tasks(view, listener)
        self._wake.set()
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="listening")

    def _remove(self, listener: Listener) -> None:
        self._listeners.remove(listener)
        self._to_reread.discard(listener)
        self._wake.set()

    def _follow_tasks(self, view: View, listener: Listener) -> None:
        """All sessions of an agent share its tasks, so one follower tells all of them."""
        if view.following is not None or not listener.hears_of_tasks:
            return

        async def tell(task: Task) -> None:
            told = notification(task)
            for each in tuple(view.listeners):
                if each.hears_of_tasks and self._is_known(each):
                    each.stream.push(each.message(told["method"], told["params"]))

        changes = self._ports.tasks.changed(listener.agent_id, listener.frame.bundle, tell, is_modern=False)
        view.following = asyncio.create_task(_quietly(changes), name="task news")

    async def _resubscribe(self, context: Context, *, added: str = "", removed: str = "") -> None:
        """One at a time: each starts from what the one before left. What changes nothing costs the other processes
        nothing."""
        if context.session is None:
            return
        async with self._changing:
            session = await self._ports.sessions.find(context.session.id, context.agent_id, context.bundle)
            if session is None or (removed and removed not in session.subscriptions):
                return
            kept = [uri for uri in session.subscriptions if uri not in (added, removed)]
            await self._ports.sessions.set_subscriptions(session, (*kept, *((added,) if added else ())))
        await self._ports.bus.announce(SUBSCRIPTIONS_CHANGED)

    def _readable(self, listener: Listener, uris: Iterable[str]) -> Watched:
        found: Watched = {}
        for uri in uris:
            call = self._call_for(listener, uri)
            if call is not None:
                found[call.tool.connector.id, call.tool.upstream_name] = uri
        return found

    def _call_for(self, listener: Listener, uri: str) -> Call | None:
        """None when the caller may not read this, or nothing at all, any more."""
        frame = replace(listener.frame, name=uri, arguments={"uri": uri}, method=SUBSCRIBE)
        try:
            caller = authenticate(frame, self._ports.snapshot(), self._ports)
            return authorize(resolve(frame, caller, self._ports), self._ports).call
        except Refusal:
            return None

    def _swapped(self, snapshot: Snapshot) -> None:
        """Within the step that makes the snapshot current: nothing is told to who lost the right to hear it, or is
        stopped altogether by a freeze."""
        self._catalogs.keep_only(snapshot.connectors)
        if not self._listeners.views:
            return
        now = self._ports.now()
        for listener in self._listeners:
            agent = snapshot.agents.get(listener.agent_id)
            is_known = agent is not None and agent.is_live and snapshot.standing(listener.credential) is not None
            if not is_known or snapshot.is_stopped(listener.agent_id, now):
                listener.stream.end_now(listener.last_word())
        self._has_swapped = True
        self._wake.set()

    def _note(self, connector_id: str, method: str, params: dict[str, Any]) -> None:
        """News of an upstream. What nobody asked for is dropped here, so a talkative upstream fills nothing."""
        uri = params.get("uri") if method == UPDATED else ""
        if method in KIND_OF:
            self._catalogs.forget(connector_id)
        elif not isinstance(uri, str) or (connector_id, uri) not in self._listeners.by_uri:
            return
        self._news[connector_id, method, str(uri)] = None
        self._wake.set()

    def _turned(self, connector_id: str) -> None:
        """What an upstream offers leaves the lists and comes back with it."""
        if self._listeners.views:
            for method in KIND_OF:
                self._note(connector_id, method, {})

    async def _tend(self) -> None:
        """Runs while there is a stream."""
        bells = [
            asyncio.create_task(self._hear_of_subscriptions(), name="subscriptions"),
            asyncio.create_task(self._hear_of_pages(), name="pages"),
            asyncio.create_task(self._hear_of_ends(), name="session ends"),
        ]
        due = _now() + KEEP_ALIVE_SECONDS
        try:
            while self._listeners.views:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._wake.wait()
                self._wake.clear()
                is_due = _now() >= due
                due = due if not is_due else _now() + KEEP_ALIVE_SECONDS
                await self._round(is_due=is_due)
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            for bell in bells:
                bell.cancel()
            self._newsroom.close()
            self._tending = None

    async def _round(self, *, is_due: bool) -> None:
        try:
            self._tell_news()
            if self._has_swapped:
                self._has_swapped = False
                await self._review()
            if is_due:
                self._to_reread.update(self._listeners.by_session.values())
            if self._to_reread:
                with suppress(EvidenceUnavailable):
                    await self._reread_sessions()
            wanted = self._wanted()
            self._newsroom.want(wanted, is_tidying=is_due)
            if is_due:
                heard = (connector for connector, interest in wanted.values() if interest.tools)
                self._catalogs.look_after(filter(is_shared, heard))
                self._keep_alive()
        except Exception:
            logger.exception("unforeseen failure while telling news")

    async def _hear_of_pages(self) -> None:
        """A session that was sent to a page hears on its stream that it is done with, whichever process knows it."""
        with self._ports.bus.mailbox(ELICITED) as box:
            while (letter := await box.next()) is not None:
                note = json.loads(letter)
                done = page_done(note["elicitation"])
                for listener in tuple(self._listeners.by_session.values()):
                    if listener.is_of(note["session"]) and self._is_known(listener):
                        listener.stream.push(listener.message(done["method"], done["params"]))

    async def _hear_of_ends(self) -> None:
        with self._ports.bus.mailbox(ENDED) as box:
            while (letter := await box.next()) is not None:
                for listener in tuple(self._listeners.by_session.values()):
                    if listener.is_of(letter.hex()):
                        listener.stream.end_now()

    async def _hear_of_subscriptions(self) -> None:
        with self._ports.bus.mailbox(SUBSCRIPTIONS_CHANGED) as box:
            while True:
                self._to_reread.update(self._listeners.by_session.values())
                self._wake.set()
                await box.ring()

    def _tell_news(self) -> None:
        news, self._news = self._news, {}
        for connector_id, method, uri in news:
            if method == UPDATED:
                for listener in tuple(self._listeners.by_uri.get((connector_id, uri), ())):
                    self._tell_update(listener, listener.uris[connector_id, uri])
                continue
            for view in self._listeners.views.values():
                if connector_id in view.reach.get(KIND_OF[method], ()):
                    self._tell_change(view, KIND_OF[method])

    def _tell_change(self, view: View, kind: str) -> None:
        for listener in view.listeners:
            if kind in listener.wants and self._is_known(listener):
                listener.stream.push(listener.message(CHANGED[kind]))

    def _tell_update(self, listener: Listener, uri: str) -> None:
        if self._call_for(listener, uri) is not None:
            listener.stream.push(listener.message(UPDATED, {"uri": uri}))
        else:
            self._is_known(listener)

    def _is_known(self, listener: Listener) -> bool:
        """Ends the stream of somebody whose key no longer holds."""
        try:
            authenticate(listener.frame, self._ports.snapshot(), self._ports)
        except Refusal:
            listener.stream.end_now(listener.last_word())
            return False
        return True

    async def _review(self) -> None:
        """What does each agent see now? A few at a time: others are waiting for the processor."""
        for number, view in enumerate(list(self._listeners.views.values())):
            for kind in self._look(view, self._ports.snapshot()):
                self._tell_change(view, kind)
            if number % REVIEWED_AT_ONCE == REVIEWED_AT_ONCE - 1:
                await asyncio.sleep(0)
        self._newsroom.keep_only(self._ports.snapshot().connectors)

    def _look(self, view: View, snapshot: Snapshot) -> list[str]:
        """Which kinds changed since the last look."""
        listener = next(iter(view.listeners), None)
        if listener is None:
            return []
        try:
            caller = authenticate(listener.frame, snapshot, self._ports)
        except Refusal:
            return []
        bundles = reachable_bundles(listener.frame.bundle, caller, self._ports)
        changed = []
        for kind in CHANGED:
            reach, seen = sight(kind, listener.frame, caller, bundles, self._ports)
            if view.seen.get(kind, seen) != seen:
                changed.append(kind)
            view.reach[kind], view.seen[kind] = reach, seen
        return changed

    async def _reread_sessions(self) -> None:
        """Another request, here or at another process, may have changed what a session subscribes to, or ended it."""
        followers, self._to_reread = list(self._to_reread), set()
        sessions = await asyncio.gather(*map(self._session_now, followers))
        for listener, session in zip(followers, sessions, strict=True):
            if session is None:
                listener.stream.end()
            elif self._listeners.by_session.get(session.id) is listener and session != listener.session:
                self._listeners.renew(listener, session, self._readable(listener, session.subscriptions))

    async def _session_now(self, listener: Listener) -> Session | None:
        assert listener.session is not None
        return await self._ports.sessions.find(listener.session.id, listener.agent_id, listener.frame.bundle)

    def _wanted(self) -> dict[str, tuple[Connector, Interest]]:
        reaches = []
        for view in self._listeners.views.values():
            wants = frozenset[str]().union(*(listener.wants for listener in view.listeners))
            reaches.append({kind: view.reach.get(kind, frozenset()) for kind in wants})
        return interests(self._ports.snapshot(), reaches, self._listeners.by_uri)

    def _keep_alive(self) -> None:
        for listener in list(self._listeners):
            if self._is_known(listener):
                listener.stream.keep_alive()


def _asked(context: Context) -> tuple[frozenset[str], list[str]]:
    """(kinds of lists, URIs). Raises ProtocolError."""
    asked = context.message.params.get("notifications")
    if not isinstance(asked, dict):
        raise invalid_params(context, "'notifications' must be an object.")
    uris = asked.get("resourceSubscriptions", [])
    is_fit = isinstance(uris, list) and len(uris) <= URIS_LIMIT
    if not is_fit or any(not isinstance(uri, str) or len(uri) > URI_LIMIT for uri in uris):
        raise invalid_params(context, f"'resourceSubscriptions' must be a list of at most {URIS_LIMIT} URIs.")
    return frozenset(kind for kind, member in MEMBERS.items() if asked.get(member) is True), uris


async def _quietly(changes: Awaitable[None]) -> None:
    """Without the database there is no news of tasks; the client still may ask for them."""
    with suppress(EvidenceUnavailable):
        await changes


def _now() -> float:
    return asyncio.get_running_loop().time()
