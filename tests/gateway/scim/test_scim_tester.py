"""The protocol's own suite (scim2-tester) against the real addresses: no error, as tolerant as we are and strict."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from scim2_client.engines.wsgi import WSGISCIMClient
from scim2_models import ScimPolicy
from scim2_server.service import ScimService
from scim2_tester import Status, check_server

from gateway.scim import serving
from gateway.scim.service import TOLERANT, provider_with
from tests.gateway.scim.messages import Provider

pytestmark = pytest.mark.django_db

CHECKS = 135


@pytest.fixture
def open_database() -> Iterator[None]:
    """The end of a request closes the connection, in which the test's own transaction is."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.usefixtures("open_database")
@pytest.mark.parametrize(
    "policy", [TOLERANT, pytest.param(ScimPolicy(), marks=pytest.mark.soak)], ids=["tolerant", "strict"]
)
def test_the_protocols_own_suite_finds_no_error(policy: ScimPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    served = ScimService(provider_with(policy), secret="of a test")
    monkeypatch.setattr(serving, "service", lambda *, agents: served)
    idp: Any = Provider()
    client = WSGISCIMClient(
        WSGIHandler(),
        base_url="http://localhost/scim/v2",
        headers={"Authorization": f"Bearer {idp.issued.token}"},
    )
    results = check_server(client)
    wrong = [f"{each.title}: {each.reason}" for each in results if each.status not in (Status.SUCCESS, Status.SKIPPED)]
    assert wrong == []
    assert sum(each.status == Status.SUCCESS for each in results) == CHECKS
