"""Policies that come with Gatehouse, and putting one into force by a click."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from gateway.console.acting import act_in_epoch, since
from gateway.console.pages import GovernedPage
from governance import lifecycle, ready_policies
from governance.facts import Recorder
from governance.house_rules import RuleBroken
from governance.manifest import plan
from governance.manifest.entries import LimitEntry
from governance.manifest.rule_entries import RuleEntry
from governance.models import Organization, Policy
from governance.ready_policies import Ready, State

ADD, BIND, FREE = "add", "bind", "free"
PUBLISH, CHANGE_ORGANIZATION = "governance.publish_policy", "governance.change_organization"
ADD_LIMIT, DELETE_LIMIT = "governance.add_ratelimit", "governance.delete_ratelimit"
NEEDED = {
    ADD: (PUBLISH,),
    BIND: (PUBLISH, CHANGE_ORGANIZATION, ADD_LIMIT),
    FREE: (CHANGE_ORGANIZATION, DELETE_LIMIT),
}
DONE = {
    ADD: "is in force; put it on a bundle, a team or the whole organization",
    BIND: "binds everybody",
    FREE: "binds nobody by itself any more",
}


class Shown(NamedTuple):
    ready: Ready
    rules: list[str]
    limits: list[str]
    tests: int
    policy: Policy | None
    """The one of its name that is here."""
    binds_everybody: bool

    @property
    def is_here(self) -> bool:
        return self.ready.state is not State.ABSENT

    @property
    def differs(self) -> bool:
        return self.ready.state is State.DIFFERENT


class ReadyPolicies(GovernedPage):
    permission = "governance.view_policy"
    title = "Ready policies"
    template_name = "console/publishing/ready.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {
            **super().get_context_data(**kwargs),
            "policies": _shown(),
            **{f"may_{act}": all(map(self.may, needed)) for act, needed in NEEDED.items()},
        }

    def post(self, request: HttpRequest) -> HttpResponse:
        name, act = request.POST.get("name", ""), request.POST.get("act", "")
        if name not in ready_policies.NAMES or act not in NEEDED:
            return redirect("ready_policies")
        for needed in NEEDED[act]:
            if again := self.refuse_unless(needed):
                return again
        try:
            _, epoch = act_in_epoch(self._work(name, act), by=self.by)
        except (plan.Refused, lifecycle.Refused, RuleBroken) as reason:
            messages.error(request, str(reason))
            return redirect("ready_policies")
        messages.success(request, f"The policy {name} {DONE[act]}.{since(epoch)}")
        return redirect("ready_policies")

    def _work(self, name: str, act: str) -> Callable[[Recorder, datetime], None]:
        def work(record: Recorder, now: datetime) -> None:
            states = {each.name: each.state for each in ready_policies.ready_policies()}
            if act == ADD or (act == BIND and states[name] is State.ABSENT):
                ready_policies.add(name, by=self.by, record=record)
            if act == BIND:
                ready_policies.bind_everybody(name)
            elif act == FREE:
                ready_policies.free_everybody(name, acting=self.person)

        return work


def _shown() -> list[Shown]:
    rows = {str(row.name): row for row in Policy.objects.filter(name__in=ready_policies.NAMES)}
    everybody = set(Organization.objects.values_list("policies__name", flat=True))
    return [
        Shown(
            ready=each,
            rules=[_told(rule) for rule in each.entry.rules],
            limits=[_limit_told(limit) for limit in each.limits],
            tests=len(each.entry.tests),
            policy=rows.get(each.name),
            binds_everybody=each.name in everybody,
        )
        for each in ready_policies.ready_policies()
    ]


def _limit_told(limit: LimitEntry) -> str:
    return f"{limit.requests} calls in {limit.window_seconds} s for each agent that has met: {', '.join(limit.labels)}."


def _told(rule: RuleEntry) -> str:
    """One rule in a line."""
    about = [
        f"{', '.join(rule.findings)} in {rule.on}" if rule.findings else "",
        f"{rule.access} access" if rule.access else "",
        f"risk {', '.join(rule.risks)}" if rule.risks else "",
        f"data class {', '.join(rule.data_classes)}" if rule.data_classes else "",
        f"when {rule.when}" if rule.when else "",
    ]
    reason = f" {rule.reason}" if rule.reason else ""
    return f"{rule.effect.capitalize()}: {'; '.join(part for part in about if part) or 'every call'}.{reason}"
