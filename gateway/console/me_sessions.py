"""The open sessions of a person's agents, and ending one; somebody else's do not exist here."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from gateway.actions import act
from gateway.console.acting import person_of
from gateway.console.me import OwnPage, sessions_of
from gateway.hostile_text import visible
from gateway.mcp.session_ends import end_session

SHOWN = 200


class MySessions(OwnPage):
    template_name = "console/me_sessions.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        rows = list(sessions_of(self.person, self.now)[:SHOWN])
        agents = self.person.agents.in_bulk({row.agent_id for row in rows})
        return {
            **super().get_context_data(**kwargs),
            "sessions": [(row, agents[row.agent_id]) for row in rows if row.agent_id in agents],
            "shown_at_most": SHOWN if len(rows) == SHOWN else 0,
        }


class EndMySession(OwnPage):
    """The safe direction, so it takes one click."""

    http_method_names = ("post",)

    def post(self, request: HttpRequest, session: str) -> HttpResponseBase:
        row = get_object_or_404(sessions_of(self.person, self.now), pk=_digest(session))
        agent = self.person.agents.get(pk=row.agent_id)
        by = person_of(request)
        act(lambda record, now: end_session(row, agent=agent, record=record, now=now), by=by)
        messages.success(request, f"The session of {visible(row.client) or 'a client without a name'} is over.")
        return redirect("my_sessions")


def _digest(text: str) -> bytes:
    """Http404 for what is none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Http404 from None
