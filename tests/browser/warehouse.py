"""A newcomer's own MCP server, made with the official SDK, on loopback and behind a token."""

import secrets
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from tests.connectors.servers import asgi_server
from tests.end_to_end.upstreams import in_background


@dataclass
class Warehouse:
    url: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    orders: list[str] = field(default_factory=list)


@contextmanager
def running_warehouse() -> Iterator[Warehouse]:
    warehouse = Warehouse()
    with in_background(_served(warehouse)):
        yield warehouse


@asynccontextmanager
async def _served(warehouse: Warehouse) -> Any:
    async with asgi_server(_behind_token(_tools(warehouse), warehouse.token)) as origin:
        warehouse.url = f"{origin}/mcp"
        yield


def _tools(warehouse: Warehouse) -> Any:
    server = MCPServer("warehouse")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def get_stock(article: str) -> str:
        """How many of an article are in stock."""
        return f"{article}: 42 in stock"

    @server.tool()
    def order_article(article: str, count: int) -> str:
        """Orders more of an article from the supplier."""
        warehouse.orders.append(article)
        return f"ordered {count} of {article}"

    return server.streamable_http_app()


def _behind_token(app: Any, token: str) -> Any:
    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (b"authorization", f"Bearer {token}".encode()) not in scope["headers"]:
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    return guarded
