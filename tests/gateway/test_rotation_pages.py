"""Emergency rotation and the queue, as people see them."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from governance.agent_keys import key_digest
from governance.models import AgentCredential, Connector, RotationTask, Secret, User
from governance.models import RotationTask as Task
from governance.snapshot_builder import build_snapshot
from tests.gateway.rows import HOSTILE, a_key, an_agent

pytestmark = pytest.mark.django_db

PAGE = "/admin/rotation/emergency/"


@pytest.fixture
def it_admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"]))
    return client


@pytest.fixture
def key() -> AgentCredential:
    return a_key(an_agent())


def asked(page: Any) -> dict[str, Any]:
    form = page.context["form"]
    return {name: form[name].value() or "" for name in form.fields}


def test_it_shows_what_would_end_and_ends_nothing(it_admin: Client, key: AgentCredential) -> None:
    page = it_admin.get(PAGE, {"what": "agent", "name": "triage-bot"})
    assert "1 agent key ended" in page.content.decode()
    key.refresh_from_db()
    assert key.revoked_at is None


@pytest.mark.parametrize(
    "wish",
    [{"what": "agent", "name": "nobody"}, {"what": "agent"}, {"what": "everything", "name": "x"}, {"what": "<b>"}],
)
def test_a_wrong_choice_is_told(it_admin: Client, wish: dict[str, str]) -> None:
    page = it_admin.get(PAGE, wish)
    assert page.status_code == 400
    assert page.context["form"].errors


def test_the_new_key_is_shown_once_and_sending_again_cuts_nothing(it_admin: Client, key: AgentCredential) -> None:
    wish = {**asked(it_admin.get(PAGE, {"what": "agent", "name": "triage-bot"})), "reason": "leaked"}
    done = it_admin.post(PAGE, wish)
    shown = re.search(r"gate_ak_\w+", done.content.decode())
    assert shown
    assert build_snapshot().credentials.keys() == {key_digest(shown[0])}
    again = it_admin.post(PAGE, wish, follow=True)
    assert "shown already" in again.content.decode()
    assert shown[0] not in again.content.decode()
    assert build_snapshot().credentials.keys() == {key_digest(shown[0])}


def test_without_a_reason_nothing_ends(it_admin: Client, key: AgentCredential) -> None:
    wish = asked(it_admin.get(PAGE, {"what": "everything"}))
    assert it_admin.post(PAGE, wish).status_code == 400
    key.refresh_from_db()
    assert key.revoked_at is None


def test_a_connector_says_which_calls_are_refused_meanwhile(it_admin: Client) -> None:
    secret = Secret.objects.create(name="token")
    Connector.objects.create(name="helpdesk", secret=secret)
    page = it_admin.get(PAGE, {"what": "connector", "name": "helpdesk"})
    assert "Nothing of it is live" in page.content.decode()


def test_a_task_is_settled_with_a_word(it_admin: Client, key: AgentCredential) -> None:
    first, second = (
        RotationTask.objects.create(
            subject_kind="other",
            subject_id=key.pk,
            subject_name=HOSTILE,
            reason=reason,
            created_at=key.created_at,
            due_at=key.created_at,
        )
        for reason in ("asked", "age")
    )
    queue = reverse("admin:governance_rotationtask_changelist")
    assert "overdue" in it_admin.get(queue).content.decode()
    for action, task in (("mark_done", first), ("drop", second)):
        wish = {"action": action, "_selected_action": [str(task.pk)]}
        question = it_admin.post(queue, wish)
        assert 'name="note"' in question.content.decode()
        assert Task.objects.get(pk=task.pk).state == "open"
        it_admin.post(queue, {**wish, "confirmed": "yes", "note": "done by hand at the vendor"})
    assert {task.state: task.evidence for task in Task.objects.all()} == {
        "done": {"confirmed": "done by hand at the vendor"},
        "dropped": {"dropped_because": "done by hand at the vendor"},
    }
