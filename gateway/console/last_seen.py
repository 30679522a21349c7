"""An agent's own calls, read along its own index."""

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from audit.models import EventRow


def own_events(agent: Any) -> QuerySet[EventRow]:
    """Its calls, sent or refused, newest first. `agent` is a name, or an expression for one.

    Between two equal bounds instead of being equal: so only the index of (agent, id) has the wanted order. With an
    equality PostgreSQL may walk the primary key, past millions of others' events for an agent that was never seen.
    """
    calls = EventRow.objects.filter(agent__gte=agent, agent__lte=agent, kind__startswith="call.")
    return calls.order_by("-agent", "-id")


def last_seen(name: str = "name") -> Subquery:
    """When, to annotate agents with; costs one look at the index a row shown."""
    return Subquery(own_events(OuterRef(name)).values("at")[:1])
