"""One process, two doors: the MCP endpoint and Django's pages, and the lifespan they share."""

import logging
from collections.abc import Awaitable, Callable

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

from .health import Health
from .mcp.endpoint import McpEndpoint
from .mcp.http import Receive, Scope, Send
from .runtime import GatewayRuntime

logger = logging.getLogger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def make_application() -> App:
    runtime = GatewayRuntime()
    mcp = McpEndpoint(runtime.ports)
    pages = get_asgi_application()
    routes = [
        re_path(r"^mcp(?:/(?P<bundle>[a-z0-9][a-z0-9-]{0,62}))?$", mcp),
        re_path(r"^(?P<probe>healthz|readyz)$", Health(runtime)),
        re_path(r"", pages),
    ]
    return with_lifespan(ProtocolTypeRouter({"http": URLRouter(routes)}), runtime)


def with_lifespan(app: App, runtime: GatewayRuntime) -> App:
    """Channels' routers know no lifespan, and without one nothing would start or drain."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        try:
            await runtime.start()
        except Exception as error:
            logger.critical("the gateway cannot start: %s", error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await runtime.stop()
        await send({"type": "lifespan.shutdown.complete"})

    return application


