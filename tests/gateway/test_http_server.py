"""A gateway process' server has the bounds that the settings name."""

import resource
from ipaddress import ip_network
from typing import Any

import pytest

from gateway import http_server
from gateway.http_connections import Connections
from tests.gateway.test_http_connections import added, wires


@pytest.fixture
def kept(settings: Any) -> Connections:
    settings.GATEWAY_MAX_CONNECTIONS = 6
    settings.GATEWAY_MAX_CONNECTIONS_PER_ADDRESS = 2
    settings.TRUSTED_PROXIES = (ip_network("10.0.0.0/8"),)
    protocol: Any = http_server.server_config().http
    (connections,) = protocol.args
    assert isinstance(connections, Connections)
    return connections


def test_an_address_is_bounded(kept: Connections) -> None:
    added(kept, *wires(9))
    assert len(kept) == 2


def test_a_trusted_proxy_is_bounded_only_with_all(kept: Connections) -> None:
    added(kept, *wires(9, address="10.1.2.3"))
    assert len(kept) == 6


@pytest.mark.parametrize(
    ("allowed", "kept"),
    [(resource.RLIM_INFINITY, 10_000), (20_000, 10_000), (8_192, 4_096), (1_024, 512)],
)
def test_a_flood_leaves_open_files_for_calls(
    monkeypatch: pytest.MonkeyPatch, settings: Any, allowed: int, kept: int
) -> None:
    settings.GATEWAY_MAX_CONNECTIONS = 10_000
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    assert http_server.most_connections() == kept
