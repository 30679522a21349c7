"""Local MCP servers as upstreams: programs on the gateway's machine, run and supervised by each gateway process."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from connectors.base import (
    SILENCE,
    Catalog,
    Discovery,
    Heard,
    Interest,
    ProgramState,
    Question,
    RawResult,
    Relay,
    Stands,
    UpstreamAuth,
    UpstreamFailure,
    UpstreamSpec,
    unheeded,
)
from connectors.egress import Egress
from connectors.mcp_lists import LISTS, list_all
from connectors.mcp_news import Listener
from connectors.mcp_rounds import converse
from connectors.mcp_settle import Powers, program_powers, relayed_powers
from connectors.mcp_talk import Talk
from connectors.stdio_host import Host, StdioChannel
from connectors.stdio_listen import listen

MAX_CHILDREN: Final = 32
"""Of one connector in one process."""
IDLE_SECONDS: Final = 600.0
MOST_TOLD: Final = 4
"""Programs of one connector that are told about: the heartbeat carries it each second."""


@dataclass(frozen=True, slots=True)
class Place:
    """What two requests must have in common to share a program."""

    connector_id: str
    revision: str
    identity: str
    agent_id: str = ""
    powers: Powers = ()

    def is_outdated_by(self, newer: "Place") -> bool:
        ours, theirs = (self.revision, self.identity), (newer.revision, newer.identity)
        return self.connector_id == newer.connector_id and ours != theirs


class Stdio:
    """The connector of kind `stdio`. Of a connector with a program for each agent, lists and news come from one more,
    which serves no agent."""

    def __init__(self, egress: Egress, *, max_children: int = MAX_CHILDREN, idle_seconds: float = IDLE_SECONDS) -> None:
        self._allowed = egress.allowed_programs
        self._max_children = max_children
        self._idle_seconds = idle_seconds
        self._hosts: dict[Place, Host] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        host = self._host(spec, auth, powers=relayed_powers(spec.relays))
        with host.in_use():
            channel = StdioChannel(host, auth)
            tools = await channel.list_tools()
            wire = await channel.settled()
            return Discovery(tools=tools, server=wire.server, protocol_version=wire.version)

    async def request(
        self, spec: UpstreamSpec, auth: UpstreamAuth, question: Question, relay: Relay = SILENCE
    ) -> RawResult:
        talk = Talk(
            relay,
            seconds=question.timeout_seconds or spec.timeout_seconds,
            polls_tasks=question.method == "tools/call" and relay.polls_tasks,
        )
        powers = program_powers(relay.powers)
        if powers and not await self._is_legacy(spec, auth, question.agent_id):
            powers = ()
        host = self._host(spec, auth, agent_id=question.agent_id, powers=powers)
        with host.in_use():
            return await converse(StdioChannel(host, auth), question, talk)

    async def catalog(self, spec: UpstreamSpec, auth: UpstreamAuth, method: str) -> Catalog:
        host = self._host(spec, auth)
        with host.in_use():
            return await list_all(StdioChannel(host, auth), LISTS[method], spec)

    async def listen(
        self, spec: UpstreamSpec, auth: UpstreamAuth, interest: Interest, heard: Heard, stands: Stands = unheeded
    ) -> None:
        host = self._host(spec, auth)
        with host.in_use():
            await listen(StdioChannel(host, auth), Listener(interest, heard, stands))

    def programs(self, connector_id: str) -> tuple[ProgramState, ...]:
        mine = [host.state(place.agent_id) for place, host in self._hosts.items() if place.connector_id == connector_id]
        return tuple(sorted(mine, key=lambda state: -state.failures)[:MOST_TOLD])

    async def forget(self, connector_ids: Sequence[str]) -> None:
        """What still works comes to its end first."""
        places = [place for place in self._hosts if place.connector_id in connector_ids]
        idle = [self._hosts.pop(place) for place in places if self._hosts[place].is_idle]
        for place in places:
            if place in self._hosts:
                self._retire(place)
        await asyncio.gather(*(host.end() for host in idle))

    async def close(self) -> None:
        await asyncio.gather(*(self._hosts.pop(place).end() for place in tuple(self._hosts)))
        await asyncio.gather(*self._ending)

    # -- choosing a program

    async def _is_legacy(self, spec: UpstreamSpec, auth: UpstreamAuth, agent_id: str) -> bool:
        """A legacy program hears once in its life what it may ask, and may behave accordingly: so whoever can be asked
        something shares none with who cannot. A modern one hears it with each request. Raises UpstreamFailure."""
        host = self._host(spec, auth, agent_id=agent_id)
        with host.in_use():
            return host.is_legacy or not (await host.opened(auth)).wire.is_modern

    def _host(self, spec: UpstreamSpec, auth: UpstreamAuth, *, agent_id: str = "", powers: Powers = ()) -> Host:
        """Raises UpstreamFailure."""
        child = spec.child
        if child is None or not child.command or child.command[0] not in self._allowed:
            text = "The program of this local server is not one Gatehouse may run."
            raise UpstreamFailure("program_refused", text, reached=False)
        whose = agent_id if child.per_agent else ""
        place = Place(spec.connector_id, spec.revision, auth.identity, whose, powers)
        host = self._hosts.pop(place, None)
        if host is None:
            self._make_room(place)
            host = Host(spec, powers, idle_seconds=self._idle_seconds)
        self._hosts[place] = host
        return host

    def _make_room(self, newcomer: Place) -> None:
        """For a program in a new place: those of an older configuration are not needed any more, and of too many one
        that nobody uses. Raises `crowded`."""
        for place in [place for place in self._hosts if place.is_outdated_by(newcomer)]:
            self._retire(place)
        places = [place for place in self._hosts if place.connector_id == newcomer.connector_id]
        if len(places) < self._max_children:
            return
        idle = next((place for place in places if self._hosts[place].is_idle), None)
        if idle is None:
            raise UpstreamFailure("crowded", "All local servers of this connector are busy.", reached=False)
        self._retire(idle)

    def _retire(self, place: Place) -> None:
        """It ends once what it still does is done."""
        task = asyncio.create_task(self._hosts.pop(place).retired())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
