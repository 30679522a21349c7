"""One connector at a glance, and all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Count, Q

from gateway.console.connecting.addresses import addresses_of, out_of_order
from gateway.console.connecting.frame import ConnectorPage, progress_of
from gateway.console.connecting.health import Health, health_of
from gateway.console.connecting.local_server import local_server_of
from gateway.console.connecting.offer import offered
from gateway.console.pages import GovernedPage
from gateway.offers import kept_offers
from gateway.trial_checks import Check, failed, titled
from governance.bundles import given
from governance.freezes import in_force
from governance.models import Agent, Bundle, Connector, Freeze, Secret, ToolDefinition

SHOWN_TOOLS = 200
SHOWN_AGENTS = 50
MOST_CONNECTORS = 500
WAITING = Count("tools__definitions", filter=Q(tools__definitions__status="waiting"), distinct=True)


@dataclass(frozen=True, slots=True)
class State:
    """A badge: its tone and its words."""

    tone: str
    text: str


def state_of(connector: Connector, *, is_published: bool, is_frozen: bool, is_down: bool) -> State:
    if is_frozen:
        return State("bad", "frozen")
    if not connector.is_enabled:
        return State("info", "switched off")
    if connector.last_seen_at is None:
        return State("bad" if connector.last_error else "warn", "not finished: never reached")
    if connector.last_error and not connector.last_error.startswith("Tools with unusable"):
        return State("bad", "failing")
    if is_down:
        return State("bad", "out of order")
    return State("good", "reachable") if is_published else State("warn", "not finished: not published")


@dataclass(frozen=True, slots=True)
class Line:
    """A connector in the list of all."""

    row: Any
    state: State
    health: Health


class Connectors(GovernedPage):
    """Every connector with its state and its last day."""

    permission = "governance.view_connector"
    title = "Connectors"
    template_name = "console/connecting/connectors.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        now = datetime.now(UTC)
        wanted = self.request.GET.get("q", "")[:100]
        rows = Connector.objects.annotate(tool_total=Count("tools", distinct=True), waiting=WAITING).order_by("name")
        rows = rows.filter(Q(name__icontains=wanted) | Q(title__icontains=wanted)) if wanted else rows
        shown = list(rows[:MOST_CONNECTORS])
        return {
            **super().get_context_data(**kwargs),
            "lines": _lines(shown, now=now, with_health=self.may("audit.view_calltally")),
            "q": wanted,
            "may_add": self.may("governance.add_connector"),
            "may_see_health": self.may("audit.view_calltally"),
            "is_cut": len(shown) == MOST_CONNECTORS,
        }


def _lines(rows: list[Any], *, now: datetime, with_health: bool) -> list[Line]:
    published = set(Connector.objects.filter(given()).values_list("pk", flat=True))
    frozen = set(Freeze.objects.filter(in_force(now)).exclude(connector=None).values_list("connector_id", flat=True))
    health = health_of([row.name for row in rows], now=now) if with_health else {}
    down = out_of_order()
    return [
        Line(
            row,
            state_of(row, is_published=row.pk in published, is_frozen=row.pk in frozen, is_down=row.pk in down),
            health.get(row.name, Health()),
        )
        for row in rows
    ]


class Overview(ConnectorPage):
    title = "Connector"
    template_name = "console/connecting/overview.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        connector, now = self.connector, datetime.now(UTC)
        progress = progress_of(connector)
        touching = Freeze.objects.filter(in_force(now), Q(connector=connector) | Q(tool__connector=connector))
        freezes = list(touching.select_related("tool"))
        is_frozen = any(freeze.connector_id for freeze in freezes)
        health = health_of([connector.name], now=now) if self.may("audit.view_calltally") else {}
        return {
            **super().get_context_data(**kwargs),
            "state": state_of(
                connector,
                is_published=bool(progress.bundles),
                is_frozen=is_frozen,
                is_down=connector.pk in out_of_order(),
            ),
            "trouble": plain_error(connector),
            "addresses": addresses_of(connector),
            "local": local_server_of(connector),
            "health": health.get(connector.name, Health()),
            "tools": offered(connector, names=_first_tools(connector)),
            "tool_total": connector.tools.count(),
            "offers": kept_offers(connector.pk),
            "waiting": _waiting(connector),
            "freezes": freezes,
            "bundles": progress.bundles,
            "is_finished": progress.is_seen and bool(progress.bundles),
            "agents": _agents(progress.bundles),
            "secret_state": _secret_state(connector.secret),
            "checks": titled({}, is_program=bool(connector.command)),
            **_rights(self.may),
        }


def _rights(may: Callable[[str], bool]) -> dict[str, bool]:
    return {
        "may_try": may("governance.discover_connector"),
        "may_edit": may("governance.change_connector"),
        "may_freeze": may("governance.add_freeze"),
        "may_replace": may("governance.replace_secret"),
        "may_see_health": may("audit.view_calltally"),
    }


def plain_error(connector: Connector) -> Check | None:
    """The last error in words; None when there is none."""
    if not connector.last_error:
        return None
    if connector.last_error.startswith("Tools with unusable"):
        return Check("tools", "warn", connector.last_error)
    host = ", ".join(connector.urls[:2])
    return failed(connector.last_error, host=host, addresses=(), is_connected=True, is_speaking=False)


def _first_tools(connector: Connector) -> list[str]:
    return list(connector.tools.order_by("name").values_list("name", flat=True)[:SHOWN_TOOLS])


def _waiting(connector: Connector) -> list[ToolDefinition]:
    rows = ToolDefinition.objects.filter(tool__connector=connector, status=ToolDefinition.Status.WAITING)
    return list(rows.defer("body").select_related("tool__connector").order_by("tool__name")[:SHOWN_TOOLS])


def _agents(bundles: tuple[Bundle, ...]) -> list[Agent]:
    rows = Agent.objects.filter(roles__bundles__in=bundles, status=Agent.Status.LIVE, owner__is_active=True)
    return list(rows.distinct().select_related("owner").order_by("name")[: SHOWN_AGENTS + 1])


def _secret_state(secret: Secret | None) -> State | None:
    if secret is None:
        return None
    live = secret.versions.filter(retired_at=None).only("number", "created_at").first()
    if live is None:
        return State("bad", "has no value yet")
    return State("good", f"value v{live.number}, since {live.created_at:%Y-%m-%d}")
