"""Asking an upstream which prompts and resources it offers, and telling what patterns take in of them."""

from uuid import UUID

from channels.db import database_sync_to_async
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from gateway.actions import act
from gateway.asked import PERMISSION, AlreadyRunning, Overtaken, asked, only_one
from gateway.console.acting import person_named
from gateway.console.connecting.consumers import BUSY
from gateway.console.connecting.doors import behind
from gateway.console.connecting.frame import step_url
from gateway.discovery import Unanswered
from gateway.hostile_text import visible
from gateway.offers import ask_offers, keep_offers, kept_offers, matching
from gateway.trial_checks import failed
from governance.models import Connector, User

NAMED = 8
MOST_PATTERNS = 50
LONGEST_PATTERN = 2_000
CHANGED = "The connector was changed meanwhile, so nothing was kept. Ask again."


@never_cache
@require_POST
@behind(PERMISSION)
async def ask_now(request: HttpRequest, connector_id: UUID) -> HttpResponse:
    """Holds one of the turns of trials, as it takes as long."""
    connector = await Connector.objects.select_related("secret").filter(pk=connector_id).afirst()
    if connector is None:
        return HttpResponseRedirect(reverse("connectors"))
    assert isinstance(request.user, User)
    if trouble := await _ask(connector, request.user):
        messages.error(request, trouble)
    return HttpResponseRedirect(f"{step_url('overview', connector)}#offers")


async def _ask(connector: Connector, person: User) -> str:
    """What went wrong, for her to read; empty if nothing."""
    try:
        with only_one(str(connector.pk)):
            wanted = await database_sync_to_async(asked)(connector)
            lists = await ask_offers(wanted)
    except AlreadyRunning:
        return BUSY
    except Unanswered as reason:
        return _told(str(reason), connector)

    def keep() -> None:
        act(
            lambda record, now: keep_offers(wanted, lists, person_id=person.pk, record=record, now=now),
            by=person_named(person),
        )

    try:
        await database_sync_to_async(keep)()
    except Overtaken:
        return CHANGED
    return ""


def _told(error: str, connector: Connector) -> str:
    host = ", ".join(connector.urls[:2])
    check = failed(error, host=host, addresses=(), is_connected=True, is_speaking=True)
    return visible(f"{check.text} {check.remedy}")


def matching_offers(request: HttpRequest, kind: str) -> HttpResponse:
    """What the patterns in the address (`glob`, of `connector`) take in, for the hint below a field."""
    if not request.user.has_perm("governance.view_connector"):
        raise PermissionDenied
    patterns = [glob[:LONGEST_PATTERN] for glob in request.GET.getlist("glob")[:MOST_PATTERNS] if glob]
    return JsonResponse({"told": _matches(request.GET.get("connector", ""), kind, patterns) if patterns else ""})


def _matches(connector_id: str, kind: str, patterns: list[str]) -> str:
    """E.g. `Takes in 3 known today: a, b, c`."""
    offers = kept_offers(connector_id)
    if offers is None:
        return "What the system offers is not known here. Its page has a button to ask it."
    names = matching(offers, kind, patterns)
    if not names:
        return "Takes in nothing that is known today."
    shown = ", ".join(map(visible, names[:NAMED]))
    return f"Takes in {len(names)} known today: {shown}{' …' if len(names) > NAMED else ''}"
