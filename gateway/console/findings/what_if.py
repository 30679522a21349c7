"""What a policy's rules about content would have done to recorded calls. It opens what was sealed, so it takes that
right and a reason."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway import what_if
from gateway.actions import act
from gateway.console.evidence.call_page import ReasonForm
from gateway.console.pages import GovernedPage
from gateway.reach.current import current_snapshot
from gateway.versions import full_name, under
from governance.lifecycle import open_version, version_in_force
from governance.models import Policy
from governance.snapshot import Snapshot

DAYS: Final = {"1": "The last day", "7": "The last week", "30": "The last 30 days"}
MOST_SUGGESTED: Final = 300


class WhatIfForm(ReasonForm):
    policy = forms.CharField(
        max_length=63,
        help_text="Its draft, or what is in force if there is none.",
        widget=forms.TextInput(attrs={"list": "policies"}),
    )
    days = forms.ChoiceField(choices=list(DAYS.items()), initial="7", label="Of which calls")
    field_order = ("policy", "days", "reason")

    def clean_policy(self) -> Any:
        """The version that is tried."""
        policy = Policy.objects.filter(name=self.cleaned_data["policy"].strip()).first()
        version = (open_version(policy) or version_in_force(policy)) if policy else None
        if version is None:
            raise forms.ValidationError("There is no policy of this name with a draft or rules in force.")
        return version


class WhatIfPage(GovernedPage):
    permission = what_if.PERMISSION
    title = "Rules on recorded traffic"
    template_name = "console/findings/what_if.html"
    http_method_names = ("get", "post", "head", "options")

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=WhatIfForm(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = WhatIfForm(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form), status=400)
        version, days, now = form.cleaned_data["policy"], int(form.cleaned_data["days"]), datetime.now(UTC)
        since, name = now - timedelta(days=days), version.policy.name
        fact = what_if.opening(name, since=since, reason=form.cleaned_data["reason"])
        act(lambda record, _: record(fact), by=self.by)
        snapshot: Snapshot = under(version, current_snapshot())
        told = what_if.look_back(snapshot.rules.get(version.policy_id.hex, ()), snapshot, now=now, days=days)
        lines = [(group, count, told.examples.get(group, ())) for group, count in told.hits.most_common()]
        return self.render_to_response(
            self.get_context_data(form=form, told=told, lines=lines, version=full_name(version))
        )

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        names = Policy.objects.order_by("name").values_list("name", flat=True)[:MOST_SUGGESTED]
        more = {"policies": names, "sees_events": self.may("audit.view_eventrow"), "form": WhatIfForm()}
        return {**super().get_context_data(**kwargs), **more, **kwargs}
