"""A gateway process: the MCP endpoint and its probes are its own, all else is handed to the pages process."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import re_path
from django.utils.module_loading import import_string

from gateway.draining import DRAIN
from gateway.evidence_gauges import HealthReader
from gateway.forwarding import PagesForwarder, no_pages
from gateway.gauges import Gauges
from gateway.health import Health
from gateway.http_gate import Gate
from gateway.mcp.endpoint import McpEndpoint
from gateway.mcp.http import Receive, Scope, Send
from gateway.mcp.metadata import protected_resource
from gateway.metrics_page import MetricsPage
from gateway.operation import TRACING
from gateway.runtime import GatewayRuntime
from gateway.tunnels import TunnelForwarder

logger = logging.getLogger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]
MCP_PATH = re.compile(r"/mcp(?:/(?P<bundle>[a-z0-9][a-z0-9-]{0,62}))?")


def make_application() -> App:
    runtime = GatewayRuntime()
    endpoint = McpEndpoint(runtime.ports)
    DRAIN.on_begin(endpoint.end_streams)
    DRAIN.on_begin(runtime.begin_to_end)
    gate = Gate(endpoint, max_running=settings.GATEWAY_MAX_RUNNING, max_waiting=settings.GATEWAY_MAX_WAITING)
    health = HealthReader()
    metrics = metrics_page(Gauges(runtime, endpoint, gate, health))
    routes: list[tuple[str, Any]] = [
        (r"^(?P<probe>healthz|readyz)$", Health(runtime, settings.PAGES_SOCKET, health)),
        (r"^metrics$", metrics),
        (r"^\.well-known/oauth-protected-resource(?:/mcp(?:/(?P<bundle>[a-zA-Z0-9_-]+))?)?$", protected_resource),
        (r"", PagesForwarder(settings.PAGES_SOCKET) if settings.PAGES_SOCKET else no_pages),
    ]
    others = ProtocolTypeRouter(
        {
            "http": URLRouter([re_path(pattern, app) for pattern, app in routes]),
            "websocket": TunnelForwarder(settings.PAGES_SOCKET),
        }
    )
    return mcp_or(with_lifespan(others, runtime, metrics), gate)


def mcp_or(others: App, mcp: App) -> App:
    """The one path that is served thousands of times a second is looked at first: Channels' routers take as long to
    find it as the decision takes."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        found = MCP_PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await others(scope, receive, send)
        else:
            scope["url_route"] = {"args": (), "kwargs": {"bundle": found["bundle"]}}
            await mcp(scope, receive, send)

    return application


def metrics_page(gauges: Gauges) -> MetricsPage:
    folder = Path(settings.PAGES_SOCKET).parent if settings.PAGES_SOCKET else None
    return MetricsPage(gauges, folder=folder, process=settings.PROCESS_NAME, token=settings.METRICS_TOKEN)


def with_lifespan(app: App, runtime: GatewayRuntime, metrics: MetricsPage) -> App:
    """Channels' routers know no lifespan, and without one nothing would start or drain."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        try:
            if settings.TRACER:
                TRACING.tracer = import_string(settings.TRACER)()
            await runtime.start()
            await metrics.start()
        except Exception as error:  # noqa: BLE001  (whatever it is, a gateway that cannot be sure does not serve)
            logger.critical("the gateway cannot start: %s", error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await metrics.stop()
        await runtime.stop()
        if TRACING.tracer is not None:
            await asyncio.to_thread(TRACING.tracer.close)
        await send({"type": "lifespan.shutdown.complete"})

    return application
