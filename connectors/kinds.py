"""The connector kinds this installation can speak; one line each."""

from collections.abc import Callable, Mapping
from typing import Final

from connectors.base import Connector
from connectors.egress import Egress
from connectors.fake import FakeConnector
from connectors.mcp_http import McpHttp
from connectors.stdio import Stdio

KINDS: Final[Mapping[str, Callable[[Egress], Connector]]] = {
    "mcp": McpHttp,
    "stdio": Stdio,
    "fake": FakeConnector,
}
