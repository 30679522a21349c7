"""Try before you publish: some seconds of replay for each request, continued by the page itself until it is done."""

import secrets
from datetime import UTC, datetime
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from audit.models import EventRow
from gateway.console.publishing.pages import OfBundle, OfPolicy, VersionPage, version_url
from gateway.hostile_text import pretty_json, visible
from gateway.reach.current import current_snapshot
from gateway.sealed_payloads import open_payloads
from gateway.trying import MOST_CALLS, Flip, Trial, begin, go_on
from gateway.versions import full_name, under

BUDGET_SECONDS = 8.0
KEPT_SECONDS = 3600
RANGES = (1, 7, 30)
SHOWN = 100
SEES_ARGUMENTS = "audit.view_payload"
SEES_CALLS = "audit.view_eventrow"


class Try(VersionPage):
    """What was found so far is kept under an unguessable name, for whoever began it, and goes with the cache."""

    template_name = "console/publishing/try.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        ticket = request.GET.get("trial", "")
        trial = cache.get(self._key(ticket)) if ticket else None
        if trial is not None and not trial.is_over:
            trial = self._continued(ticket, trial)
        return self.render_to_response(self.get_context_data(trial=trial, ticket=ticket))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Begins a trial, or opens the arguments of its examples: that is recorded."""
        if again := self.refuse_unless(self.right_to("change")):
            return again
        if "open" in request.POST:
            return self._opened(request.POST["open"])
        days = next((days for days in RANGES if request.POST.get("days") == str(days)), RANGES[1])
        ticket = secrets.token_urlsafe(16)
        self._keep(ticket, begin(current_snapshot(), now=datetime.now(UTC), days=days))
        return redirect(f"{version_url(self.version, 'try')}?trial={ticket}")

    def _continued(self, ticket: str, trial: Trial) -> Trial:
        """From the beginning when the configuration has moved on: half of each world would be no answer."""
        before = current_snapshot()
        if before.epoch != trial.epoch:
            trial = begin(before, now=trial.until, days=(trial.until - trial.since).days)
        go_on(trial, before, under(self.version, before), seconds=BUDGET_SECONDS)
        self._keep(ticket, trial)
        return trial

    def _keep(self, ticket: str, trial: Trial) -> None:
        cache.set(self._key(ticket), trial, KEPT_SECONDS)

    def _key(self, ticket: str) -> str:
        return f"trial:{self.person.pk}:{self.version.pk}:{self.version.revision}:{ticket[:40]}"

    def _opened(self, ticket: str) -> HttpResponse:
        """The arguments of the examples, to somebody who may see them; each look is recorded."""
        if again := self.refuse_unless(SEES_ARGUMENTS):
            return again
        trial: Trial | None = cache.get(self._key(ticket))
        opened = {example.event_id: self._arguments(example.event_id) for example in trial.examples} if trial else {}
        return self.render_to_response(self.get_context_data(trial=trial, ticket=ticket, opened=opened))

    def _arguments(self, event_id: Any) -> str:
        event = EventRow.objects.filter(pk=event_id).first()
        if event is None:
            return "The record is gone."
        reason = f"Trying {full_name(self.version)} before it is published"
        bodies = open_payloads([event], call_id=event.call_id or event.pk, reason=reason, by=self.by)
        return "".join(each.problem or pretty_json(each.body) for each in bodies) or "Not recorded."

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        trial: Trial | None = kwargs.get("trial")
        opened = kwargs.get("opened", {})
        return {
            **super().get_context_data(**kwargs),
            "title": f"Try {self.noun} {self.version}",
            "ranges": RANGES,
            "most": MOST_CALLS,
            "may_try": self.may(self.right_to("change")),
            "may_open": self.may(SEES_ARGUMENTS),
            "may_see_calls": self.may(SEES_CALLS),
            **(_told(trial, opened) if trial else {}),
        }


def _told(trial: Trial, opened: dict[Any, str]) -> dict[str, Any]:
    """Names of agents and tools are shown with all that cannot be seen."""
    groups = sorted(trial.groups.items(), key=lambda each: (not each[0][0].widens, -each[1]))
    return {
        "flips": [(flip, trial.flips[flip]) for flip in Flip if trial.flips[flip]],
        "groups": [
            (flip, visible(agent) or "others", visible(tool), count) for (flip, agent, tool), count in groups[:SHOWN]
        ],
        "more_groups": max(0, len(groups) - SHOWN),
        "examples": [(example, visible(example.tool), opened.get(example.event_id, "")) for example in trial.examples],
        "is_opened": bool(opened),
    }


class TryBundle(OfBundle, Try):
    pass


class TryPolicy(OfPolicy, Try):
    pass
