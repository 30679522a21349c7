"""Emergency rotation by each of its doors, page, command and REST: first the same look, then the same end."""

import json
import re
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway.models import Notice
from governance.agent_keys import key_digest
from governance.models import Agent, AgentCredential, RotationTask, SecretVersion, User
from governance.snapshot_builder import build_snapshot
from tests.gateway.calling import it_admin
from tests.gateway.test_emergency_rotation import world
from tests.gateway.test_rotation_pages import PAGE, asked

__all__ = ("world",)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OLD_KEYS = {key_digest(f"gate_ak_{agent}"): agent for agent in ("triage-bot", "sales-bot")}
WHY = "key on a public page"
Door = Callable[[str], None]
"""Takes `look` or `end`."""


def by_page(what: str, name: str) -> Door:
    client = Client()
    client.force_login(User.objects.create_user("it@example.com", is_staff=True, duties=["it-admin"]))
    wish = {"what": what, "name": name}

    def door(step: str) -> None:
        looked = client.get(PAGE, wish)
        assert "cannot be undone" in looked.content.decode()
        if step == "end":
            done = client.post(PAGE, {**asked(looked), "reason": WHY})
            assert done.status_code == 200, done.content

    return door


def by_command(what: str, name: str) -> Door:
    target = [f"--{what}", *([name] if name else [])]

    def door(step: str) -> None:
        more = ["--dry-run"] if step == "look" else ["--reason", WHY]
        out = StringIO()
        call_command("rotate", *target, "--emergency", *more, "--json", "--actor", "owner@example.com", stdout=out)
        assert json.loads(out.getvalue())["counts"]

    return door


def by_script(what: str, name: str) -> Door:
    api = it_admin()
    wish: dict[str, Any] = {what: name or True, "reason": WHY}

    def door(step: str) -> None:
        answer = api.post("emergency-rotations", {**wish, "dry_run": step == "look"})
        assert answer.status_code == 201, answer.content
        assert answer.json()["counts"]

    return door


@pytest.fixture(autouse=True)
def _mail_server(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"


def standing() -> tuple[set[str], set[str], int]:
    """Whose old keys open anything, who is suspended, how many secrets of connectors have a value."""
    snapshot = build_snapshot()
    keys = {agent for digest, agent in OLD_KEYS.items() if digest in snapshot.credentials}
    suspended = set(Agent.objects.filter(status="suspended").values_list("name", flat=True))
    return keys, suspended, SecretVersion.objects.filter(retired_at=None).count()


BOTH = {"triage-bot", "sales-bot"}


@pytest.mark.parametrize("door", [by_page, by_command, by_script])
@pytest.mark.parametrize(
    ("what", "name", "after"),
    [
        ("agent", "triage-bot", ({"sales-bot"}, set(), 1)),
        ("team", "top", ({"sales-bot"}, {"triage-bot"}, 1)),
        ("connector", "helpdesk", (BOTH, set(), 0)),
        ("everything", "", (set(), BOTH, 0)),
    ],
    ids=["agent", "team", "connector", "everything"],
)
def test_each_door_looks_first_and_then_ends_the_same(
    world: None,
    door: Callable[[str, str], Door],
    what: str,
    name: str,
    after: tuple[set[str], set[str], int],
) -> None:
    act = door(what, name)
    before = standing()
    assert before == (BOTH, set(), 1)
    act("look")
    assert standing() == before
    assert not EventRow.objects.filter(kind="rotation.emergency").exists()
    act("end")
    assert standing() == after
    [event] = EventRow.objects.filter(kind="rotation.emergency")
    told = json.loads(bytes(event.header))["details"]
    assert (told["subject"], told["reason"]) == (f"{what}:{name}" if name else "everything", WHY)
    left = RotationTask.objects.filter(reason="emergency", state="open", told_at=None)
    assert not left.exists(), "whoever has to replace something has been told"
    assert Notice.objects.filter(kind="rotation").exists()


def test_an_agent_goes_on_with_the_one_key_that_was_shown(world: None) -> None:
    by_command("agent", "triage-bot")("end")
    live = AgentCredential.objects.filter(agent__name="triage-bot", revoked_at=None)
    assert [row.kind for row in live] == ["key"]


def test_who_owns_agents_and_has_no_duty_is_refused_plainly_and_replaces_on_her_page(world: None) -> None:
    """The page is no secret, and says what it is not for her; her own keys are hers to replace."""
    owner = User.objects.get(email="support@example.com")
    key = AgentCredential.objects.get(agent__owner=owner, kind="key")
    client = Client()
    client.force_login(owner)
    refused = client.get(PAGE)
    assert refused.status_code == 403
    assert "may not" in refused.content.decode()
    assert "triage-bot" not in refused.content.decode()
    assert client.post(PAGE, {"what": "agent", "name": "triage-bot", "reason": WHY}).status_code == 403
    assert standing() == (BOTH, set(), 1)
    place = reverse("replace_my_key", args=[key.agent_id, key.pk])
    done = client.post(place, asked(client.get(place)))
    assert re.search(r"gate_ak_\w{40}", done.content.decode())
    key.refresh_from_db()
    assert key.successors.count() == 1
