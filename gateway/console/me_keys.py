"""The keys of a person's own agents: ending one, and putting another in its place.

A new key gives what the old one gave, to the agent she answers for anyway; so she need not ask for it, only be there.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from gateway import actions
from gateway.client_setup import clients, endpoint_of
from gateway.console.acting import person_of
from gateway.console.me import REPLACEABLE, MyAgentAct, MyAgentPage
from gateway.console.once import OnceForm, ShownAlready, make_once
from gateway.console.step_up import is_fresh, sign_in_again
from gateway.rotations import follow
from governance import rotation
from governance.agent_keys import IssuedKey, NotIssuable
from governance.models import AgentCredential


class MyKeyPage(MyAgentPage):
    """One live key of one of her own agents."""

    @cached_property
    def key(self) -> AgentCredential:
        return get_object_or_404(self.live_keys().select_related("agent__owner", "person"), pk=self.kwargs["key_id"])


class EndMyKey(MyAgentAct, MyKeyPage):
    @property
    def verb(self) -> str:  # type: ignore[override]
        return f"End {self.key.hint}…"

    def is_possible(self) -> bool:
        return self.key.revoked_at is None

    def effects(self) -> Iterable[str]:
        yield "Whatever uses it is refused from the moment you confirm."
        yield "This cannot be undone. If something still needs it, replace it instead."

    def perform(self, *, by: str) -> str:
        actions.revoke_key(self.key, by=by)
        return f"Key {self.key.hint}… is ended."


class ReplaceMyKey(MyKeyPage):
    """The answer to the POST is the only page that ever shows the new key."""

    template_name = "console/me_key.html"
    http_method_names = ("get", "post", "head", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if self.key.kind not in REPLACEABLE:
            raise Http404
        if not is_fresh(request):
            return sign_in_again(request)
        form = OnceForm(request.POST)
        if not form.is_valid():
            return redirect("replace_my_key", self.agent.pk, self.key.pk)
        try:
            issued = make_once(self._replaced, ticket=form.cleaned_data["once"], by=person_of(request), told=known_by)
        except ShownAlready as reason:
            messages.warning(request, str(reason))
            return redirect("my_agent", self.agent.pk)
        except NotIssuable as reason:
            return self.render_to_response(self.get_context_data(problem=str(reason)), status=409)
        except OperationalError:
            return self.render_to_response(self.get_context_data(is_busy=True), status=503)
        return self.render_to_response(self.get_context_data(issued=issued, clients=self._clients(issued)))

    def _replaced(self) -> IssuedKey:
        by, overlap = person_of(self.request), rotation.terms().overlap
        return actions.act(
            lambda record, now: follow(self.agent, self.key, overlap=overlap, by=by, record=record, now=now), by=by
        )

    def _clients(self, issued: IssuedKey) -> Any:
        is_key = issued.credential.kind == AgentCredential.Kind.KEY
        return clients(endpoint_of(settings.PUBLIC_URL), key=issued.key) if is_key else ()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {
            "key": self.key,
            "is_replaceable": self.key.kind in REPLACEABLE and self.agent.status == "live",
            "overlap": in_words(rotation.terms().overlap),
            "form": OnceForm(),
            **super().get_context_data(**kwargs),
        }


def known_by(issued: IssuedKey) -> str:
    """Enough to find it by, nothing of its secret."""
    return f"this key's id is {issued.credential.pk}, and it begins with {issued.credential.hint}…"


def in_words(overlap: timedelta) -> str:
    hours = round(overlap.total_seconds() / 3600)
    count, unit = (hours // 24, "day") if hours % 24 == 0 else (hours, "hour")
    return f"{count} more {unit}{'' if count == 1 else 's'}"
