"""A person's own page: what she answers for, and her own ways in. Needs no duty, and shows nobody else's.

She may stop her agents at once, which is the safe direction, and replace a key by one that gives no more (`me_keys`);
first keys and resuming are IT's.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, cast
from uuid import UUID

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db import OperationalError
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from gateway import actions
from gateway.client_setup import Endpoint, clients, endpoint_of
from gateway.console.acting import person_of
from gateway.console.signing_in import people_can_sign_in
from gateway.console.single_sign_on.ways import ways
from gateway.mcp.sessions import open_sessions
from gateway.models import McpSession
from gateway.reach.current import current_snapshot
from gateway.reach.effective import bundles_of
from governance import connected_accounts
from governance.agent_keys import live
from governance.authorizations import live_of_person
from governance.freezes import in_force
from governance.grants import in_force as in_time
from governance.models import Agent, AgentCredential, Freeze, Grant, RotationTask, User
from governance.personal_tokens import live_tokens
from governance.rotation import open_tasks

AGENTS_SHOWN = 200
KEYS_SHOWN = 50
SESSIONS_SHOWN = 20
REPLACEABLE = (AgentCredential.Kind.KEY, AgentCredential.Kind.CLIENT_SECRET)
"""Of which we make the secret; a public key's private half and a workload's word come from elsewhere."""


@method_decorator(never_cache, name="dispatch")
class OwnPage(LoginRequiredMixin, TemplateView):
    """Of whoever is signed in."""

    @property
    def person(self) -> User:
        return cast(User, self.request.user)

    @cached_property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def freezes(self) -> QuerySet[Freeze]:
        return Freeze.objects.filter(in_force(self.now))


class Me(OwnPage):
    template_name = "console/me.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        agents = self.person.agents.exclude(status=Agent.Status.RETIRED).annotate(
            key_total=Count("credentials", filter=live(self.now, through="credentials__"), distinct=True),
            last_used_at=Max("credentials__use__last_used_at"),
            is_due=Exists(AgentCredential.objects.filter(agent=OuterRef("pk"), pk__in=_to_replace())),
            is_frozen=Exists(self.freezes().filter(agent=OuterRef("pk"))),
        )
        return {
            **super().get_context_data(**kwargs),
            "agents": agents.order_by("name")[:AGENTS_SHOWN],
            "agent_total": agents.count(),
            "shown_at_most": AGENTS_SHOWN,
            "can_sign_in": people_can_sign_in(),
            "has_single_sign_on": bool(ways()),
            **self._counts(),
        }

    def _counts(self) -> dict[str, int]:
        """How many stand behind each link, so that nobody has to look in vain."""
        hers = Grant.objects.filter(Q(person=self.person) | Q(agent__owner=self.person))
        return {
            "apps": live_of_person(self.person, now=self.now).count(),
            "sessions": sessions_of(self.person, self.now).count(),
            "accounts": connected_accounts.live_of_person(self.person).count(),
            "tokens": live_tokens(self.now).filter(person=self.person).count(),
            "places": UserSession.objects.filter(user=self.person).count(),
            "accesses": hers.filter(in_time(self.now)).count(),
        }


class MyAgentPage(OwnPage):
    """One of her own agents; anybody else's does not exist here."""

    @cached_property
    def agent(self) -> Agent:
        return get_object_or_404(self.person.agents.select_related("owner"), pk=self.kwargs["agent_id"])

    def live_keys(self) -> QuerySet[AgentCredential]:
        return self.agent.credentials.filter(live(self.now))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"agent": self.agent, **super().get_context_data(**kwargs)}


class MyAgent(MyAgentPage):
    template_name = "console/me_agent.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        snapshot = current_snapshot()
        known = snapshot.agents[self.agent.pk.hex]
        bundles = bundles_of(known, snapshot)
        endpoints = self._endpoints([bundle.name for bundle in bundles])
        chosen = self.request.GET.get("endpoint")
        endpoint = next((each for each in endpoints if each.name == chosen), endpoints[0])
        return {
            **super().get_context_data(**kwargs),
            "freeze": self.freezes().filter(agent=self.agent).first(),
            "keys": self._keys(),
            "sessions": sessions_of(self.person, self.now).filter(agent_id=self.agent.pk)[:SESSIONS_SHOWN],
            "bundles": bundles,
            "tools": sum(len(bundle.tools) for bundle in bundles),
            "endpoints": endpoints,
            "endpoint": endpoint,
            "clients": clients(endpoint),
        }

    def _keys(self) -> QuerySet[AgentCredential]:
        """One that has a successor ends by itself."""
        successors = AgentCredential.objects.filter(live(self.now), successor_of=OuterRef("pk"))
        found = (
            self.live_keys()
            .select_related("use")
            .annotate(
                is_replaced=Exists(successors),
                is_ours=Q(kind__in=REPLACEABLE),
                due_at=Subquery(_asked().filter(subject_id=OuterRef("pk")).order_by("due_at").values("due_at")[:1]),
            )
        )
        return found.order_by(F("created_at").desc())[:KEYS_SHOWN]

    def _endpoints(self, bundles: list[str]) -> list[Endpoint]:
        return [endpoint_of(settings.PUBLIC_URL, name) for name in (*bundles, "")]


def _asked() -> QuerySet[RotationTask]:
    """To replace a credential."""
    return open_tasks().filter(subject_kind=RotationTask.Subject.CREDENTIAL)


def _to_replace() -> QuerySet[RotationTask, UUID]:
    return _asked().values_list("subject_id", flat=True)


def sessions_of(person: User, now: datetime) -> QuerySet[McpSession]:
    """Runs of clients that keep one; those of 2026-07-28 on keep none."""
    return open_sessions(now).filter(agent_id__in=person.agents.values("pk")).order_by("-seen_at")


class MyAgentAct(MyAgentPage, ABC):
    """A GET shows the effects, a POST brings them about."""

    template_name = "console/me_act.html"
    http_method_names = ("get", "post", "head", "options")
    verb: ClassVar[str]

    @abstractmethod
    def is_possible(self) -> bool:
        """Whether it can be done to the agent as it is."""

    @abstractmethod
    def effects(self) -> Iterable[str]:
        """What will be, in sentences."""

    @abstractmethod
    def perform(self, *, by: str) -> str:
        """Does it and says what was done."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            done = self.perform(by=person_of(request)) if self.is_possible() else "There was nothing to do."
        except OperationalError:
            return self.render_to_response(self.get_context_data(is_busy=True), status=503)
        messages.success(request, done)
        return redirect("my_agent", self.agent.pk)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        facts = {"verb": self.verb, "is_possible": self.is_possible(), "effects": list(self.effects())}
        return {**facts, **super().get_context_data(**kwargs)}


class SuspendMyAgent(MyAgentAct):
    verb = "Suspend it"

    def is_possible(self) -> bool:
        return self.agent.status == Agent.Status.LIVE

    def effects(self) -> Iterable[str]:
        yield "No further call of it starts, from the moment you confirm."
        yield "Its keys stay. Ask IT when it shall work again."

    def perform(self, *, by: str) -> str:
        actions.suspend_agent(self.agent, by=by)
        return f"{self.agent.name} is suspended."


class RevokeMyKeys(MyAgentAct):
    verb = "End all its keys"

    def is_possible(self) -> bool:
        return self.live_keys().exists()

    def effects(self) -> Iterable[str]:
        count = self.live_keys().count()
        ends = "1 key ends" if count == 1 else f"{count} keys end"
        yield f"{ends} at once; the agent is refused until IT issues a new one."
        yield "This cannot be undone."

    def perform(self, *, by: str) -> str:
        ended = actions.revoke_keys(self.live_keys().select_related("agent"), by=by)
        return f"{ended} key{'' if ended == 1 else 's'} ended."
