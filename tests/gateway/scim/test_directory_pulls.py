"""A directory's own list, served by another SCIM server over HTTP, compared with what is here."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
from django.urls import reverse
from scim2_server.memory import InMemoryStorage
from scim2_server.testserver.application import BearerTokenApplication
from scim2_server.utils import load_default_provider

from audit.models import EventRow
from gateway.models import Notice
from gateway.scim.pulling.looking import HINT, look_at, look_at_all
from gateway.tasks import compare_directories
from governance import directory_pulls
from governance.fence.actor import governed_change
from governance.models import (
    Directory,
    DirectoryLoss,
    DirectoryMessage,
    DirectoryRun,
    DirectoryUser,
    NotificationChannel,
    Secret,
    User,
)
from governance.vault import put_secret_value
from tests.gateway.scim.messages import GROUP, USER, Provider
from tests.gateway.signing_in import browser_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TOKEN = "t0ken-of-its-list"


class Quiet(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        return


class Theirs:
    """The directory's own SCIM server. `pages` answers instead of it, once set."""

    def __init__(self) -> None:
        self._app = BearerTokenApplication(InMemoryStorage(), load_default_provider(), bearer_tokens=[TOKEN])
        self.pages: Any = None
        self._server = make_server("127.0.0.1", 0, self._answer, handler_class=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: Any, start: Any) -> Any:
        if self.pages is None:
            return self._app(environ, start)
        status, body = self.pages(environ["PATH_INFO"], environ["QUERY_STRING"])
        start(f"{status} X", [("Content-Type", "application/scim+json")])
        return [body]

    def sends(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/scim+json"}
        answer = httpx.request(method, f"{self.url}{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def adds(self, name: str, **fields: Any) -> str:
        return str(self.sends("POST", "/Users", their_user(name, **fields))["id"])

    def adds_group(self, name: str, *members: str) -> str:
        entries = [{"value": each} for each in members]
        return str(self.sends("POST", "/Groups", {"schemas": [GROUP], "displayName": name, "members": entries})["id"])


def their_user(name: str, **fields: Any) -> dict[str, Any]:
    emails = [{"value": name, "type": "work", "primary": True}]
    said = {"userName": name, "externalId": name, "displayName": "Mia Ode", "emails": emails, "active": True}
    return {"schemas": [USER], **said, **fields}


@pytest.fixture
def theirs() -> Iterator[Theirs]:
    server = Theirs()
    yield server
    server.close()


@pytest.fixture
def idp(theirs: Theirs, settings: Any) -> Provider:
    settings.UPSTREAM_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    idp = Provider()
    secret = Secret.objects.create(name="okta-list")
    with governed_change(by="test"):
        put_secret_value(secret, value=TOKEN, by="test", record=[].append, now=datetime.now(UTC))
    Directory.objects.filter(id=idp.directory.id).update(pull_url=theirs.url, pull_secret=secret)
    idp.directory.refresh_from_db()
    return idp


def looked(idp: Provider) -> DirectoryRun:
    """As if enough time had passed since the look before."""
    DirectoryRun.objects.update(started_at=datetime.now(UTC) - timedelta(days=1))
    assert look_at(Directory.objects.select_related("pull_secret").get(id=idp.directory.id))
    return DirectoryRun.objects.order_by("-id")[0]


def found(run: DirectoryRun) -> set[tuple[str, str]]:
    return {(each["what"], each["who"]) for each in run.differences}


def both(idp: Provider, theirs: Theirs, *names: str) -> dict[str, tuple[str, str]]:
    """Name -> id here and there."""
    return {name: (idp.sends("POST", "/Users", their_user(name)).body["id"], theirs.adds(name)) for name in names}


def applies(idp: Provider) -> None:
    Directory.objects.filter(id=idp.directory.id).update(pull_applies=True)


def test_two_lists_that_agree_differ_in_nothing(idp: Provider, theirs: Theirs) -> None:
    people = both(idp, theirs, "ana@corp.test", "mia@corp.test")
    idp.adds_group("devs", people["ana@corp.test"][0])
    theirs.adds_group("devs", people["ana@corp.test"][1])
    compare_directories()
    run = DirectoryRun.objects.get()
    assert (run.state, run.users, run.groups, run.found, run.problem) == ("done", 2, 1, 0, "")
    assert EventRow.objects.filter(kind="directory.compared").count() == 1
    assert not Notice.objects.exists()
    assert look_at_all() == 0


def test_what_differs_is_shown_and_told_once_and_nothing_follows(idp: Provider, theirs: Theirs) -> None:
    people = both(idp, theirs, "ana@corp.test", "mia@corp.test", "bob@corp.test", "eve@corp.test")
    NotificationChannel.objects.create(name="ops", kind="webhook", url="https://ops.corp.test/hook")
    idp.adds_group("devs", people["ana@corp.test"][0])
    theirs.adds_group("devs", people["mia@corp.test"][1])
    theirs.adds_group("ops")
    theirs.adds("new@corp.test")
    theirs.sends("PUT", f"/Users/{people['mia@corp.test'][1]}", their_user("mia@corp.test", displayName="Mia Oda"))
    theirs.sends("PUT", f"/Users/{people['bob@corp.test'][1]}", their_user("bob@corp.test", active=False))
    theirs.sends("DELETE", f"/Users/{people['eve@corp.test'][1]}")
    run = looked(idp)
    assert found(run) == {
        ("user not here", "new@corp.test"),
        ("user differs", "mia@corp.test"),
        ("user inactive", "bob@corp.test"),
        ("user gone", "eve@corp.test"),
        ("members differ", "devs"),
        ("group not here", "ops"),
    }
    assert User.objects.filter(email__endswith="@corp.test", is_active=True).count() == 4
    assert looked(idp).found == run.found
    assert [notice.body["path"] for notice in Notice.objects.all()] == [f"/admin/directories/{idp.directory.id}/"]
    owner = User.objects.create_superuser("owner@corp.test")
    page = browser_of(owner).get(reverse("directory", args=[idp.directory.id])).content.decode()
    assert "bob@corp.test" in page
    assert "active here, but inactive there" in page
    assert TOKEN not in page


def test_what_differs_is_set_right_as_if_the_directory_had_sent_it(idp: Provider, theirs: Theirs) -> None:
    people = both(idp, theirs, "ana@corp.test", "mia@corp.test", "bob@corp.test")
    devs = idp.adds_group("devs", people["ana@corp.test"][0])
    theirs.adds_group("devs", people["mia@corp.test"][1])
    theirs.adds("new@corp.test")
    theirs.sends("PUT", f"/Users/{people['mia@corp.test'][1]}", their_user("mia@corp.test", displayName="Mia Oda"))
    theirs.sends("PUT", f"/Users/{people['bob@corp.test'][1]}", their_user("bob@corp.test", active=False))
    applies(idp)
    run = looked(idp)
    assert (run.found, run.applied, run.refused) == (4, 4, 0)
    assert User.objects.get(email="mia@corp.test").name == "Mia Oda"
    assert User.objects.get(email="new@corp.test").is_active
    assert not User.objects.get(email="bob@corp.test").is_active
    assert [each["value"] for each in idp.gets(f"/Groups/{devs}").body["members"]] == [people["mia@corp.test"][0]]
    assert DirectoryMessage.objects.filter(token_hint=HINT, status__lt=300).count() == 5
    assert EventRow.objects.filter(kind="directory.person_added", person="new@corp.test", actor="scim:okta").exists()
    assert looked(idp).found == 0


def test_who_is_gone_leaves_when_the_next_look_says_so_again(idp: Provider, theirs: Theirs) -> None:
    people = both(idp, theirs, "ana@corp.test", "mia@corp.test")
    applies(idp)
    theirs.sends("DELETE", f"/Users/{people['mia@corp.test'][1]}")
    assert looked(idp).applied == 0
    assert User.objects.get(email="mia@corp.test").is_active
    theirs.pages = lambda path, query: (500, b"{}")
    assert looked(idp).state == "failed"
    theirs.pages = None
    assert looked(idp).applied == 1
    assert not User.objects.get(email="mia@corp.test").is_active
    assert not DirectoryUser.objects.get(user_name="mia@corp.test").active
    assert looked(idp).found == 0


def test_many_at_once_wait_as_if_the_directory_had_sent_them(idp: Provider, theirs: Theirs) -> None:
    names = [f"p{number}@corp.test" for number in range(13)]
    people = both(idp, theirs, *names)
    applies(idp)
    for name in names:
        theirs.sends("PUT", f"/Users/{people[name][1]}", their_user(name, active=False))
    assert looked(idp).found == 13
    assert DirectoryLoss.objects.filter(state="held").count() == 3
    assert User.objects.filter(email__in=names, is_active=True).count() == 3


def page(rows: list[Any], total: Any) -> bytes:
    return json.dumps({"totalResults": total, "Resources": rows}).encode()


WRONG = {
    "not a list": lambda path, query: (200, b'{"hello": 1}'),
    "not json": lambda path, query: (200, b"<html>"),
    "refused": lambda path, query: (401, b"{}"),
    "redirect": lambda path, query: (302, b"{}"),
    "half a list": lambda path, query: (200, page([{"id": "1"}] if "startIndex=1&" in query else [], 2)),
    "the same page": lambda path, query: (200, page([{"id": "1"}], 2)),
    "without ids": lambda path, query: (200, page([{"userName": "x"}], 1)),
    "endless": lambda path, query: (200, page([{"id": query}], 10**9)),
    "texts with NUL": lambda path, query: (200, page([{"id": "1", "userName": "a\0"}], 1)),
    "flags for numbers": lambda path, query: (200, page([], True)),
    "deep": lambda path, query: (200, b'{"totalResults": 1, "Resources": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_half_a_list_is_none_and_nobody_is_gone(idp: Provider, theirs: Theirs, wrong: str) -> None:
    idp.adds("ana@corp.test")
    applies(idp)
    theirs.pages = WRONG[wrong]
    for _ in range(2):
        run = looked(idp)
        assert (run.state, run.found, run.applied) == ("failed", 0, 0)
        assert run.problem
        assert TOKEN not in run.problem
    assert User.objects.get(email="ana@corp.test").is_active
    assert EventRow.objects.filter(kind="directory.compare_failed").count() == 2


def test_one_look_at_a_time_and_what_a_dead_worker_left_is_closed(idp: Provider, theirs: Theirs) -> None:
    now = datetime.now(UTC)
    first = directory_pulls.begin(idp.directory, now=now)
    assert first is not None
    assert directory_pulls.begin(idp.directory, now=now) is None
    assert not look_at(idp.directory)
    later = directory_pulls.begin(idp.directory, now=now + timedelta(hours=1))
    assert later is not None
    first.refresh_from_db()
    assert (first.state, first.problem) == ("failed", directory_pulls.CUT_OFF)


def test_nothing_is_set_right_once_somebody_has_switched_that_off(idp: Provider, theirs: Theirs) -> None:
    theirs.adds("new@corp.test")
    stale = Directory.objects.select_related("pull_secret").get(id=idp.directory.id)
    stale.pull_applies = True
    assert look_at(stale)
    run = DirectoryRun.objects.get()
    assert (run.found, run.applied, run.refused) == (1, 0, 1)
    assert not User.objects.filter(email="new@corp.test").exists()


def test_the_token_goes_where_one_who_knows_it_says(idp: Provider) -> None:
    secret = Secret.objects.get()
    it_admin = User.objects.create_user("it@corp.test", duties=["it-admin"], is_staff=True)
    owner = User.objects.create_superuser("owner@corp.test")
    faults = directory_pulls.pull_faults
    assert [*faults("https://evil.test", secret, person=it_admin, changed=True)] == [
        ("pull_secret", directory_pulls.NOT_YOURS)
    ]
    assert [*faults("https://idp.test/scim/v2", secret, person=owner, changed=True)] == []
    assert [field for field, _ in faults("https://idp.test/", None, person=owner, changed=True)] == [
        "pull_url",
        "pull_secret",
    ]
