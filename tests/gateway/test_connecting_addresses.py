"""A connector's page tells which of its addresses are out of order right now."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from connectors.resilience import ReplicaState, UpstreamState
from gateway.models import GatewayProcess
from governance.models import Connector, User

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

A, B = "https://a.example.com/mcp", "https://b.example.com/mcp"


def process(connector: Connector, *broken: str, waiting: int = 0, silent_for: float = 0) -> None:
    """A gateway process for which these addresses are out of order."""
    replicas = tuple(ReplicaState(url, "open" if url in broken else "closed", 0, 0, 12.3) for url in (A, B))
    state = UpstreamState(connector.pk.hex, connector.name, 3, waiting, 64, 256, replicas)
    now = datetime.now(UTC)
    GatewayProcess.objects.create(
        id=uuid4(),
        host="h",
        pid=1,
        started_at=now,
        beat_at=now - timedelta(seconds=silent_for),
        upstreams=[asdict(state)] if state.is_unusual else [],
    )


@pytest.fixture
def page() -> Callable[[Connector], str]:
    owner = Client()
    owner.force_login(User.objects.create_user("owner@example.com", is_staff=True, is_superuser=True))
    return lambda connector: owner.get(reverse("connector_overview", args=[connector.pk])).content.decode()


@pytest.fixture
def connector() -> Connector:
    return Connector.objects.create(name="crm", urls=[A, B])


def test_while_all_is_well_nothing_is_said(connector: Connector, page: Callable[[Connector], str]) -> None:
    process(connector)
    assert "Right now" not in page(connector)


def test_an_address_that_is_out_of_order_is_named(connector: Connector, page: Callable[[Connector], str]) -> None:
    process(connector, A)
    process(connector, A, B)
    told = page(connector)
    assert "out of order; looked at again in 12 s" in told
    assert "out of order for 1 of 2 gateway processes" in told


def test_how_many_wait_is_told(connector: Connector, page: Callable[[Connector], str]) -> None:
    process(connector, waiting=2)
    process(connector, waiting=3)
    assert "5 calls wait for a turn" in page(connector)


def test_what_a_dead_process_said_does_not_count(connector: Connector, page: Callable[[Connector], str]) -> None:
    process(connector, A, silent_for=60)
    assert "Right now" not in page(connector)
