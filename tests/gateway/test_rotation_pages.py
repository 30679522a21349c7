"""Emergency rotation and the queue, as people see them."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from gateway import credential_uses
from governance.agent_keys import key_digest
from governance.models import AgentCredential, Connector, Organization, RotationTask, Secret, User
from governance.models import RotationTask as Task
from governance.snapshot_builder import build_snapshot
from tests.gateway.rows import HOSTILE, a_key, an_agent
from tests.governance.key_texts import P256_D, P256_JWK, P256_MEMBERS

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
    assert "1 agent key ends" in page.content.decode()
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


# -- an agent's own page


def overview(client: Client, key: AgentCredential) -> str:
    return client.get(reverse("agent_overview", args=[key.agent_id])).content.decode()


def test_the_agents_page_tells_of_each_key_what_it_was_used_for_and_whether_it_is_due(
    it_admin: Client, key: AgentCredential
) -> None:
    made = datetime.now(UTC) - timedelta(days=80)
    AgentCredential.objects.filter(pk=key.pk).update(created_at=made, label="nightly job")
    Organization.objects.create(uses_kept_since=made, unused_after_days=60)
    page = overview(it_admin, key)
    assert f"due {made + timedelta(days=90):%Y-%m-%d}" in page
    assert "nightly job" in page
    assert f"?rotates={key.pk}" in page

    Organization.objects.update(rotate_after_days=None)
    assert ">unused<" in overview(it_admin, key)
    credential_uses.used_now(key, at=datetime.now(UTC), address="192.0.2.7", client="claude-code/2.0")
    page = overview(it_admin, key)
    assert "192.0.2.7" in page
    assert "claude-code/2.0" in page
    assert ">unused<" not in page


def test_one_click_replaces_a_key(it_admin: Client, key: AgentCredential) -> None:
    address = reverse("agent_issue_key", args=[key.agent_id])
    form = it_admin.get(address, {"rotates": key.pk})
    assert f"It takes the place of {key.hint}" in form.content.decode()
    wish = {"once": asked(form)["once"], "expiry": "90", "rotates": str(key.pk)}
    done = it_admin.post(address, wish).content.decode()
    key.refresh_from_db()
    assert re.search(r"gate_ak_\w{40}", done)
    assert key.expires_at is not None
    assert key.successors.count() == 1
    assert "being replaced" in overview(it_admin, key)


def test_a_client_secret_comes_without_texts_for_clients_that_take_keys(it_admin: Client, key: AgentCredential) -> None:
    address = reverse("agent_issue_key", args=[key.agent_id])
    wish = {"once": asked(it_admin.get(address))["once"], "expiry": "90", "kind": "client_secret", "label": "batch"}
    done = it_admin.post(address, wish).content.decode()
    assert re.search(r"gate_cs_\w{40}", done)
    assert "Set up a client" not in done


def test_a_public_key_is_registered_and_a_private_one_not_shown_again(it_admin: Client, key: AgentCredential) -> None:
    address = reverse("agent_register_key", args=[key.agent_id])
    private = json.dumps({**P256_MEMBERS, "d": P256_D})
    refused = it_admin.post(address, {"public_key": private, "expiry": "365"})
    assert refused.status_code == 400
    assert "compromised" in refused.content.decode()
    assert P256_D not in refused.content.decode()
    assert it_admin.post(address, {"public_key": P256_JWK, "expiry": "365"}).status_code == 302
    assert AgentCredential.objects.get(kind="public_key").hint in overview(it_admin, key)


def test_keys_are_filtered_by_what_is_to_be_replaced_and_exported(it_admin: Client, key: AgentCredential) -> None:
    Organization.objects.create(uses_kept_since=datetime.now(UTC) - timedelta(days=365))
    AgentCredential.objects.filter(pk=key.pk).update(created_at=datetime.now(UTC) - timedelta(days=100))
    young = a_key(key.agent, "gate_cs_younger", kind="client_secret")
    credential_uses.used_now(young, at=datetime.now(UTC), address="192.0.2.7", client="batch")
    keys = reverse("admin:governance_agentcredential_changelist")
    for wish, shown, hidden in (
        ({"due": "unused"}, key, young),
        ({"due": "old"}, key, young),
        ({"kind__exact": "client_secret"}, young, key),
    ):
        page = it_admin.get(keys, wish).content.decode()
        assert shown.hint in page
        assert hidden.hint not in page
    assert "192.0.2.7" in it_admin.get(keys).content.decode()
    for each in (key, young):
        assert it_admin.get(reverse("admin:governance_agentcredential_change", args=[each.pk])).status_code == 200
