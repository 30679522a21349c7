"""A local server on its screens: who may add which, what is shown of it, what it said when it failed."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from gateway.drift import rediscover
from gateway.models import GatewayProcess
from governance.models import Connector, Secret, User
from governance.vault import put_secret_value
from tests.gateway.connecting import step, tried

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

SERVER = str(Path(__file__).parents[1] / "connectors" / "local_server.py")
FIELDS = {
    "name": "files",
    "kind": "stdio",
    "command": f"{sys.executable}\n{SERVER}\nmodern\n",
    "environment": "MODE=fast",
    "secret_variable": "TOKEN",
    "memory_mb": "512",
    "new_tools": "review",
    "timeout_seconds": "10",
    "max_running": "64",
    "max_waiting": "256",
    "is_enabled": "on",
}


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.STDIO_ALLOWED_COMMANDS = (sys.executable,)


@pytest.fixture
def admin() -> Client:
    person = User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"])
    client = Client()
    client.force_login(person)
    return client


def add(client: Client, **changes: Any) -> Any:
    return client.post(reverse("admin:governance_connector_add"), {**FIELDS, **changes})


def a_local_server(*habits: str, secret: Secret | None = None) -> Connector:
    command = [sys.executable, SERVER, "modern", *habits]
    return Connector.objects.create(name="files", kind="stdio", command=command, secret=secret, urls=[])


def test_one_is_added_and_its_whole_command_is_shown(admin: Client) -> None:
    assert add(admin).status_code == 302
    row = Connector.objects.get(name="files")
    assert row.command == [sys.executable, SERVER, "modern"]
    assert row.environment == {"MODE": "fast"}
    page = admin.get(reverse("connector_overview", args=[row.pk])).content.decode()
    assert f"{sys.executable} {SERVER} modern" in page
    assert "MODE=fast" in page
    assert "TOKEN=(the secret)" in page
    assert admin.get(reverse("connector_address", args=[row.pk])).status_code == 302


def test_after_saving_the_wizard_goes_on_with_its_test(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.db.close_old_connections", lambda: None)
    answer = add(admin, secret_variable="")
    row = Connector.objects.get(name="files")
    assert answer["Location"] == f"{step('test', row)}?start"
    page = admin.get(answer["Location"]).content.decode()
    for told in (f"{sys.executable} {SERVER} modern", "<b>Program</b>", "<b>Start</b>", "Program and secret"):
        assert told in page
    assert "Address" not in page
    assert set(tried(admin, row).values()) == {"good"}
    assert row.tools.count() == 13
    change = admin.post(reverse("admin:governance_connector_change", args=[row.pk]), {**FIELDS, "secret_variable": ""})
    assert change["Location"] == step("overview", row)


def test_why_one_does_not_start_stands_where_the_start_is_told(
    admin: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr("channels.db.close_old_connections", lambda: None)
    row = a_local_server("crash")
    assert {key: state for key, state in tried(admin, row).items() if state != "waiting"} == {"connection": "bad"}
    change = admin.post(reverse("admin:governance_connector_change", args=[row.pk]), {**FIELDS, "secret_variable": ""})
    assert change["Location"] == f"{step('test', row)}?start"
    settings.STDIO_ALLOWED_COMMANDS = ()
    assert tried(admin, row)["address"] == "bad"


@pytest.mark.parametrize(("kind", "shown"), [("stdio", ["command"]), ("mcp", ["urls"]), ("", ["urls", "command"])])
def test_a_form_for_one_kind_shows_no_fields_of_the_other(admin: Client, kind: str, shown: list[str]) -> None:
    answer = admin.get(reverse("admin:governance_connector_add"), {"kind": kind})
    page = answer.content.decode()
    assert [name for name in ("urls", "command") if f'name="{name}"' in page] == shown
    kinds = answer.context["adminform"].form.fields["kind"].choices
    assert [value for value, _ in kinds] == ([kind] if kind else ["mcp", "stdio"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "/bin/sh\n-c\nid"}, "STDIO_ALLOWED_COMMANDS allows"),
        ({"command": ""}, "Write the program"),
        ({"environment": "LD_PRELOAD=/tmp/x.so"}, "LD_PRELOAD would run code"),
        ({"environment": "no equals sign"}, "Write NAME=value"),
        ({"urls": "https://a.example/mcp"}, "A local server has no address"),
        ({"kind": "mcp"}, "Write at least one address"),
        ({"kind": "mcp", "urls": "https://a.example/mcp"}, "Only a local server has this"),
        ({"kind": "fake"}, "Select a valid choice"),
        ({"memory_mb": "1"}, "greater than or equal to 16"),
    ],
)
def test_what_may_not_be_is_refused_in_words(admin: Client, changes: dict[str, str], message: str) -> None:
    answer = add(admin, **changes)
    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert not Connector.objects.exists()


def test_a_changed_command_does_not_get_a_stored_secret(admin: Client) -> None:
    secret = Secret.objects.create(name="token")
    put_secret_value(secret, value="t0ken", by="person:ana@example.com", record=[].append, now=datetime.now(UTC))
    row = a_local_server(secret=secret)
    fields = {**FIELDS, "environment": "", "secret_variable": "", "secret": secret.pk}
    url = reverse("admin:governance_connector_change", args=[row.pk])
    assert admin.post(url, {**fields, "title": "Files"}).status_code == 302
    answer = admin.post(url, {**fields, "command": f"{sys.executable}\n-c\nprint(1)"})
    assert "Only an owner may send" in answer.content.decode()


def test_a_new_value_of_its_secret_is_tried_with_the_program(admin: Client) -> None:
    secret = Secret.objects.create(name="token")
    put_secret_value(secret, value="t0ken", by="person:ana@example.com", record=[].append, now=datetime.now(UTC))
    a_local_server(secret=secret)
    url = reverse("secret_replace", args=[secret.pk])
    token = re.search(r'name="places" value="([^"]+)"', admin.get(url).content.decode())
    assert token
    answer = admin.post(url, {"places": token[1], "seen": "on", "value": "n3w-t0ken"})
    assert answer.status_code == 200
    assert "accepts it, 13 tools" in answer.content.decode()
    assert secret.versions.get(retired_at=None).number == 2


def test_what_it_wrote_when_it_failed_is_shown_with_its_page(admin: Client) -> None:
    row = a_local_server("crash")
    rediscover(only="files")
    row.refresh_from_db()
    assert row.last_error.startswith("connect_failed: The local server failed: it ended with status 3.")
    page = admin.get(reverse("connector_overview", args=[row.pk])).content.decode()
    assert "it ended with status 3" in page
    assert "no configuration" in page


def test_each_gateway_process_tells_how_it_fares_with_it(admin: Client) -> None:
    row, now = a_local_server(), datetime.now(UTC)
    Connector.objects.filter(pk=row.pk).update(last_seen_at=now)
    state = {"agent_id": "", "pid": 0, "failures": 3, "due_in_seconds": 6.7}
    program = {**state, "reason": "it ended with status 3", "said": "<b>no\u202e"}
    told = [{"connector_id": row.pk.hex, "waiting": 0, "replicas": [], "programs": [program]}]
    GatewayProcess.objects.create(host="gate1", pid=77, started_at=now, beat_at=now, upstreams=told)
    page = admin.get(reverse("connector_overview", args=[row.pk])).content.decode()
    assert "Not running at gate1:77" in page
    assert "Failed 3 times: it ended with status 3." in page
    assert "Started again by the next call, in 7 s at the earliest." in page
    assert "out of order" in page
    assert "out of order" in admin.get(reverse("connectors")).content.decode()
    assert "&lt;b&gt;no⟦U+202E⟧" in page


def test_without_the_setting_the_page_says_why_it_cannot_run(admin: Client, settings: Any) -> None:
    row = a_local_server()
    settings.STDIO_ALLOWED_COMMANDS = ()
    page = admin.get(reverse("connector_overview", args=[row.pk])).content.decode()
    assert "local servers are not allowed here" in page
    rediscover(only="files")
    row.refresh_from_db()
    assert row.last_error.startswith("program_refused: ")
