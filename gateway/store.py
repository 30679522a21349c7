"""What all gateway processes share of their clients' sessions, streams and tasks. The database alone holds it, so any
process serves any request, and nothing is lost with one."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from gateway.access_tokens import AccessTokens
from gateway.bus import Bus
from gateway.database import DatabaseThread
from gateway.held import HeldCalls
from gateway.mask_vault import forget_masked
from gateway.mcp.sessions import Sessions, forget_sessions
from gateway.mcp.streams import Streams, forget_events
from gateway.mcp.task_table import Tasks, forget_tasks
from gateway.mcp.waiting import Waiting
from gateway.models import AccountConnection, Letter, Probe
from gateway.reactions import Reactions
from gateway.requests_of_agents import AgentRequests
from gateway.run_destinations import RunDestinations, forget_destinations
from gateway.run_labels import RunLabels, forget_labels
from gateway.sent_pieces import forget_pieces
from gateway.sent_to import forget_sent_to

LETTERS_KEPT_FOR = timedelta(minutes=15)
PROBES_KEPT_FOR = timedelta(days=1)


class Store:
    """One of each process."""

    def __init__(self, process_id: UUID) -> None:
        self._thread = DatabaseThread("store")
        self.bus = Bus(self._thread)
        self.sessions = Sessions(self._thread, Streams(self._thread, self.bus))
        self.waiting = Waiting()
        self.held = HeldCalls(self._thread, self.bus)
        self.run_labels = RunLabels(self._thread)
        self.destinations = RunDestinations(self._thread)
        self.reactions = Reactions(self._thread)
        self.requests = AgentRequests(self._thread)
        self.access_tokens = AccessTokens(self._thread)
        self.tasks = Tasks(self._thread, self.bus, process_id, self.waiting.calls)

    async def start(self) -> None:
        await self.bus.start()

    async def stop(self) -> None:
        await self.bus.stop()
        await self.sessions.stop()
        await self._thread.close()


def forget_what_is_over() -> None:
    """Safe to run anywhere, at any time."""
    now = datetime.now(UTC)
    forget_sessions(now)
    forget_events(now)
    forget_tasks(now)
    forget_labels(now)
    forget_destinations(now)
    forget_masked(now)
    forget_pieces(now)
    forget_sent_to(now)
    Probe.objects.filter(asked_at__lt=now - PROBES_KEPT_FOR).delete()
    AccountConnection.objects.filter(expires_at__lt=now).delete()
    Letter.objects.filter(written_at__lt=now - LETTERS_KEPT_FOR).delete()
