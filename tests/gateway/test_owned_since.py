"""Since when an agent is its owner's, for agents that changed hands before that was kept."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps

from gateway import actions
from governance.models import Agent, User
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)

pytestmark = pytest.mark.database


@pytest.mark.usefixtures("fresh_database")
def test_what_changed_hands_before_this_was_kept_is_found_in_evidence() -> None:
    lee, eva = (User.objects.create_user(f"{name}@example.com") for name in ("lee", "eva"))
    kept, given = (Agent.objects.create(name=name, owner=lee) for name in ("kept-bot", "given-bot"))
    actions.transfer_agent(given, to=eva, ends_keys=True, by="person:it@example.com")
    Agent.objects.filter(pk=given.pk).update(title="Renamed since")
    handed_over = Agent.objects.get(pk=given.pk).owned_since
    Agent.objects.update(owned_since=None)
    import_module("gateway.migrations.0017_owned_since").forwards(apps, None)
    found = dict(Agent.objects.values_list("name", "owned_since"))
    assert found[kept.name] is None
    assert handed_over is not None
    assert abs(found[given.name] - handed_over) < timedelta(minutes=1)
