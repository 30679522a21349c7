"""The second step: the upstream is tried and its tools are found."""

from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from gateway.asked import PERMISSION, AlreadyRunning
from gateway.console.acting import person_named
from gateway.console.connecting.consumers import BUSY
from gateway.console.connecting.doors import behind
from gateway.console.connecting.examine import try_out
from gateway.console.connecting.frame import ConnectorPage
from gateway.hostile_text import visible
from gateway.trial_checks import Check, titled
from governance.models import Connector, User
from governance.programs import shown_command


class Test(ConnectorPage):
    permission = PERMISSION
    step = "test"
    title = "Connect"
    template_name = "console/connecting/test.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        return {**context, **trial_context(self.connector), "starts": "start" in self.request.GET}


def trial_context(connector: Connector, checks: dict[str, Check] | None = None) -> dict[str, Any]:
    """The list of checks, all waiting before a trial."""
    return {
        "checks": titled(checks or {}, is_program=bool(connector.command)),
        "command": visible(shown_command(connector.command)),
        "is_seen": connector.last_seen_at is not None,
    }


@never_cache
@require_POST
@behind(PERMISSION)
async def try_now(request: HttpRequest, connector_id: UUID) -> HttpResponse:
    """The trial in one piece, for browsers without scripts or sockets."""
    connector = await Connector.objects.select_related("secret").filter(pk=connector_id).afirst()
    if connector is None:
        return HttpResponseRedirect(reverse("connectors"))
    checks: dict[str, Check] = {}

    async def note(check: Check) -> None:
        checks[check.key] = check

    user = request.user
    assert isinstance(user, User)
    try:
        await try_out(connector, note, by=person_named(user), person_id=user.pk)
    except AlreadyRunning:
        checks["address"] = Check("address", "warn", BUSY)
    return await sync_to_async(_tried)(request, connector_id, checks)


def _tried(request: HttpRequest, connector_id: UUID, checks: dict[str, Check]) -> HttpResponse:
    page = Test()
    page.setup(request, connector_id=connector_id)
    context = {**page.get_context_data(), **trial_context(page.connector, checks)}
    return render(request, page.template_name, context)
