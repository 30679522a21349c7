"""A gateway process: the MCP endpoint and its probes are its own, all else is handed to the pages process."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import re_path

from gateway.forwarding import PagesForwarder, no_pages
from gateway.health import Health
from gateway.mcp.endpoint import McpEndpoint
from gateway.mcp.http import Receive, Scope, Send
from gateway.mcp.metadata import protected_resource
from gateway.runtime import GatewayRuntime
from gateway.tunnels import TunnelForwarder

logger = logging.getLogger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def make_application() -> App:
    runtime = GatewayRuntime()
    routes: list[tuple[str, Any]] = [
        (r"^mcp(?:/(?P<bundle>[a-z0-9][a-z0-9-]{0,62}))?$", McpEndpoint(runtime.ports)),
        (r"^(?P<probe>healthz|readyz)$", Health(runtime, settings.PAGES_SOCKET)),
        (r"^\.well-known/oauth-protected-resource(?:/mcp(?:/(?P<bundle>[a-zA-Z0-9_-]+))?)?$", protected_resource),
        (r"", PagesForwarder(settings.PAGES_SOCKET) if settings.PAGES_SOCKET else no_pages),
    ]
    return with_lifespan(
        ProtocolTypeRouter(
            {
                "http": URLRouter([re_path(pattern, app) for pattern, app in routes]),
                "websocket": TunnelForwarder(settings.PAGES_SOCKET),
            }
        ),
        runtime,
    )


def with_lifespan(app: App, runtime: GatewayRuntime) -> App:
    """Channels' routers know no lifespan, and without one nothing would start or drain."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        try:
            await runtime.start()
        except Exception as error:  # noqa: BLE001  (whatever it is, a gateway that cannot be sure does not serve)
            logger.critical("the gateway cannot start: %s", error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await runtime.stop()
        await send({"type": "lifespan.shutdown.complete"})

    return application
