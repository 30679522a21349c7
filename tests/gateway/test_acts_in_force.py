"""An act on a page says since which epoch it is in force; here commits are real."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from governance.models import Epoch, Role, User
from tests.fresh_database import fresh_database
from tests.gateway.rows import a_key, an_agent
from tests.gateway.signing_in import sign_in
from tests.gateway.test_connecting_review import a_waiting_definition, decide
from tests.gateway.test_deleting import act, told

__all__ = ("fresh_database",)

pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]


def in_force() -> str:
    return f"In force since epoch {Epoch.objects.get().number:,}."


def shown(client: Client, name: str, *arguments: Any) -> str:
    return client.get(reverse(name, args=arguments)).content.decode()


def test_what_is_done_to_an_agent() -> None:
    it, bot = sign_in("it-admin"), an_agent()
    User.objects.create_user("lee@example.com")
    key = a_key(bot, "gate_ak_abcd")
    acts: tuple[tuple[str, dict[str, Any]], ...] = (
        ("suspend", {}),
        ("resume", {}),
        ("freeze", {"reason": "Odd", "lasting": ""}),
        ("unfreeze", {}),
        ("revoke_keys", {"key": [str(key.pk)]}),
        ("transfer", {"to": "lee@example.com"}),
        ("retire", {}),
    )
    for name, fields in acts:
        it.post(reverse(f"agent_{name}", args=[bot.pk]), fields)
        assert in_force() in shown(it, "agent_overview", bot.pk), name


def test_an_approved_definition() -> None:
    security = sign_in("security")
    decide(security, a_waiting_definition(), "pin", reason="Vendor release 4.2")
    assert f"served from now on. {in_force()}" in shown(security, "review_queue")


def test_roles_that_are_deleted() -> None:
    owner = sign_in(owner=True)
    role = Role.objects.create(name="spare-role")
    answer = act(owner, "governance_role", "delete_selected", role)
    assert in_force() in told(owner.get(answer["Location"]))
