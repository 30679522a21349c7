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
from governance.manifest import plan
from governance.manifest.rule_entries import RuleEntry
from governance.models import Organization, Policy
from governance.ready_policies import Ready, State

ADD, BIND = "add", "bind"
PUBLISH, CHANGE_ORGANIZATION = "governance.publish_policy", "governance.change_organization"


class Shown(NamedTuple):
    ready: Ready
    rules: list[str]
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
            "may_add": self.may(PUBLISH),
            "may_bind": self.may(PUBLISH) and self.may(CHANGE_ORGANIZATION),
        }

    def post(self, request: HttpRequest) -> HttpResponse:
        name, binds = request.POST.get("name", ""), request.POST.get("act") == BIND
        if name not in ready_policies.NAMES:
            return redirect("ready_policies")
        for needed in (PUBLISH, *([CHANGE_ORGANIZATION] if binds else [])):
            if again := self.refuse_unless(needed):
                return again
        try:
            _, epoch = act_in_epoch(self._work(name, binds=binds), by=self.by)
        except (plan.Refused, lifecycle.Refused) as reason:
            messages.error(request, str(reason))
            return redirect("ready_policies")
        where = "binds everybody" if binds else "is in force; put it on a bundle, a team or the whole organization"
        messages.success(request, f"The policy {name} {where}.{since(epoch)}")
        return redirect("ready_policies")

    def _work(self, name: str, *, binds: bool) -> Callable[[Recorder, datetime], None]:
        def work(record: Recorder, now: datetime) -> None:
            states = {each.name: each.state for each in ready_policies.ready_policies()}
            if not binds or states[name] is State.ABSENT:
                ready_policies.add(name, by=self.by, record=record)
            if binds:
                ready_policies.bind_everybody(name)

        return work


def _shown() -> list[Shown]:
    rows = {str(row.name): row for row in Policy.objects.filter(name__in=ready_policies.NAMES)}
    everybody = set(Organization.objects.values_list("policies__name", flat=True))
    return [
        Shown(
            ready=each,
            rules=[_told(rule) for rule in each.entry.rules],
            tests=len(each.entry.tests),
            policy=rows.get(each.name),
            binds_everybody=each.name in everybody,
        )
        for each in ready_policies.ready_policies()
    ]


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
