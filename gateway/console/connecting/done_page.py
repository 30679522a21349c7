"""The last step: the endpoint, a key, and the first call."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from gateway import actions
from gateway.client_setup import clients, endpoint_of
from gateway.console.access.key_pages import known_by
from gateway.console.connecting.frame import ConnectorPage, people_with, progress_of
from gateway.console.once import OnceForm, ShownAlready, make_once
from governance.agent_keys import NotIssuable
from governance.models import Agent, Bundle, User

KEY_LASTS = timedelta(days=90)


class Done(ConnectorPage):
    """The endpoint, a key shown once, and what to paste where."""

    step = "done"
    title = "Connect"
    template_name = "console/connecting/done.html"
    issuing = "governance.issue_agentcredential"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        bundles = progress_of(self.connector).bundles
        bundle = next((each for each in bundles if str(each.pk) == self.request.GET.get("bundle")), None)
        bundle = bundle or next(iter(bundles), None)
        agents = _agents_with(bundle) if bundle else []
        agent = next((each for each in agents if str(each.pk) == self.request.GET.get("agent")), None)
        agent = agent or next(iter(agents), None)
        issued = context.get("issued")
        endpoint = endpoint_of(settings.PUBLIC_URL, bundle.name) if bundle else None
        return {
            **context,
            "bundle": bundle,
            "bundles": bundles,
            "agents": agents,
            "agent": agent,
            "endpoint": endpoint,
            "clients": clients(endpoint, key=issued.key if issued else "") if endpoint else (),
            "form": OnceForm(),
            "may_issue": self.may(self.issuing),
            "who_issues": people_with(User.Duty.IT_ADMIN),
        }

    def post(self, request: HttpRequest, connector_id: UUID) -> HttpResponse:
        if again := self.refuse_unless(self.issuing):
            return again
        agent = self.get_context_data()["agent"]
        form = OnceForm(request.POST)
        if agent is None:
            raise Http404
        if not form.is_valid():
            return redirect(request.get_full_path())
        try:
            issued = make_once(
                lambda: actions.issue_key(agent, by=self.by, expires_in=KEY_LASTS),
                ticket=form.cleaned_data["once"],
                by=self.by,
                told=known_by,
            )
        except (NotIssuable, ShownAlready) as reason:
            messages.error(request, str(reason))
            return redirect(request.get_full_path())
        return self.render_to_response(self.get_context_data(issued=issued))


def _agents_with(bundle: Bundle) -> list[Agent]:
    rows = Agent.objects.filter(roles__bundles=bundle, status=Agent.Status.LIVE, owner__is_active=True)
    return list(rows.distinct().order_by("name")[:200])
