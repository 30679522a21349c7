"""Attacks on the pages, the ways in and the REST API that once worked, each as its attacker would try it."""

import base64
import json
import os
import sys
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Retry
from django.test import Client

import manage
from gateway import asked, backup, tasks
from gateway.api import throttling
from gateway.one_time_links import one_time_login_url, person_of_link
from gateway.pages import TURNS
from governance.duties import may_sign_in_as
from governance.models import Connector, Secret, User
from governance.vault import keyring, open_secret_version
from tests.gateway.calling import Api, it_admin, owner, person

__all__ = ("owner",)

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

VALUE = "sk-live-6a1f0c2b9d8e"
ELSEWHERE = "https://listener.evil.example/mcp"
OURS = "https://helpdesk.example.com/mcp"


# -- a personal token that leaked


@pytest.mark.parametrize("wish", [{"owner": True}, {"staff": True}, {"duties": ["security"]}, {"email": "evil@x.org"}])
def test_no_token_raises_anybodys_rights_or_renames_her(owner: Api, wish: dict[str, object]) -> None:
    """Renamed, she would have her password reset mailed to the thief."""
    ana = person("ana@example.com", staff=False)

    assert owner.patch(f"people/{ana.pk}", wish).status_code == 422

    ana.refresh_from_db()
    assert (ana.email, ana.is_superuser, ana.is_staff, ana.duties) == ("ana@example.com", False, False, [])


def test_no_token_makes_a_person_who_may_do_anything(owner: Api) -> None:
    assert owner.post("people", {"email": "evil@example.com", "owner": True, "staff": True}).status_code == 422

    assert not User.objects.filter(email="evil@example.com").exists()


def test_a_token_becomes_no_session_of_anybody_with_duties(owner: Api) -> None:
    """A link to sign in as its own person would turn one scope into all that she may."""
    noor, ana = person("noor@example.com", "it-admin"), person("ana@example.com", staff=False)

    for somebody in (owner.person, noor):
        assert owner.post(f"people/{somebody.pk}/one-time-login").status_code == 403
    assert owner.post(f"people/{ana.pk}/one-time-login").status_code == 201


def test_an_owners_token_sends_no_stored_secret_to_a_listener(owner: Api) -> None:
    secret = it_admin().post("secrets", {"name": "helpdesk", "value": VALUE}).json()["name"]
    Connector.objects.create(name="helpdesk", urls=[OURS], secret=Secret.objects.get(name=secret))

    response = owner.post("connectors", {"name": "listener", "urls": [ELSEWHERE], "secret": secret})

    assert response.status_code == 422
    assert not Connector.objects.filter(name="listener").exists()


# -- the value of a secret by the API


def test_a_new_value_goes_nowhere_that_its_sender_did_not_name() -> None:
    noor = it_admin()
    row = noor.post("secrets", {"name": "helpdesk", "value": VALUE}).json()
    Connector.objects.create(name="listener", urls=[ELSEWHERE], secret=Secret.objects.get(pk=row["id"]))

    for seen in ({}, {"destinations": {"helpdesk": ["https://helpdesk.example.com:443"]}}):
        refused = noor.post(f"secrets/{row['id']}/value", {"value": "next", **seen})
        assert refused.status_code == 409
        assert "https://listener.evil.example:443" in refused.json()["detail"]
    assert live_value(row["id"]) == VALUE

    told = noor.get(f"secrets/{row['id']}").json()["destinations"]
    wish = {"value": "next", "destinations": told, "even_if_refused": True}
    assert noor.post(f"secrets/{row['id']}/value", wish).status_code == 200
    assert live_value(row["id"]) == "next"


def test_there_is_no_second_door_for_a_new_value(owner: Api) -> None:
    row = owner.post("secrets", {"name": "helpdesk", "value": VALUE}).json()

    assert owner.patch(f"secrets/{row['id']}", {"value": "next"}).status_code == 422
    assert live_value(row["id"]) == VALUE


def live_value(secret_id: str) -> str:
    version = Secret.objects.get(pk=secret_id).versions.get(retired_at=None)
    return open_secret_version(version, keyring=keyring())


# -- one-time links


def test_who_runs_it_does_not_sign_in_as_an_approver() -> None:
    """What an approver decides is no permission in the table, but it is hers alone."""
    noor, lee = person("noor@example.com", "it-admin"), person("lee@example.com", "approver")

    assert not may_sign_in_as(noor, lee)
    assert may_sign_in_as(person("kim@example.com", "it-admin", "approver"), lee)


@pytest.mark.parametrize("rights", [{"duties": ["security"]}, {"is_superuser": True}, {"is_staff": True}])
def test_a_link_made_before_somebody_got_duties_does_not_open_them(rights: dict[str, object]) -> None:
    """IT makes links for people without duties; it must not keep one until an owner has given her some."""
    ana = person("ana@example.com", staff=False)
    token = one_time_login_url(ana).rpartition("/")[2]
    assert person_of_link(token) == ana

    User.objects.filter(pk=ana.pk).update(**rights)

    assert person_of_link(token) is None


# -- nuisances


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("people", [None]),
        ("credentials", [None, None]),
        ("tallies", ["0001-01-01T00:00:00+23:59", "1"]),
        ("personal-tokens", ["9999-12-31T23:59:59-23:59", "00000000-0000-0000-0000-000000000000"]),
    ],
)
def test_a_forged_cursor_is_refused_and_breaks_nothing(owner: Api, path: str, key: list[object]) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")

    assert owner.get(f"{path}?cursor={cursor}").status_code == 400


def test_a_neighbour_who_guesses_locks_nobody_else_out(owner: Api) -> None:
    """Behind one address there may be a whole office; tokens are too long to be guessed at any speed."""
    stranger = Client(raise_request_exception=False)
    answers = [
        stranger.get("/api/v1/people", headers={"Authorization": "Bearer guess"}).status_code
        for _ in range(2 * throttling.FAILURES_PER_ADDRESS + 1)
    ]

    assert 429 in answers, "also where a minute ends between them"
    assert owner.get("people").status_code == 200


def test_signing_in_leads_to_no_other_port_or_host() -> None:
    ana = person("ana@example.com", staff=False)
    ana.set_password("correct horse battery")
    ana.save()

    for away in ("http://localhost/", "//localhost/", "http://127.0.0.1/x", "//evil.example", "/\\evil.example"):
        typed = {"login": ana.email, "password": "correct horse battery"}
        answer = Client().post(f"/account/login/?next={away}", typed)
        assert (answer.status_code, answer["Location"]) == (302, "/me/")


def test_no_other_user_of_the_machine_reads_what_we_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database holds the keys of sessions; the folder it lies in may be older than we are, and open."""
    seen: list[int] = []
    monkeypatch.setattr(manage, "execute_from_command_line", lambda argv: seen.append(os.umask(0o077)))
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])
    before = os.umask(0o022)
    try:
        manage.main()
    finally:
        os.umask(before)

    assert seen == [0o077]


def test_slow_upstreams_do_not_take_all_turns_of_the_pages() -> None:
    with ExitStack() as trials:
        for number in range(asked.AT_ONCE):
            trials.enter_context(asked.only_one(str(number)))
        with pytest.raises(asked.AlreadyRunning), asked.only_one("one more"):
            pass
    with asked.only_one("later"):
        assert asked.AT_ONCE < TURNS


@pytest.mark.parametrize("link", ["database", "manifest.json", "/etc/passwd", "../../etc/passwd"])
def test_a_crafted_backup_is_refused_in_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any, link: str
) -> None:
    """Links that lead out of the archive, or round in circles."""
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(backup, "_has_tables", lambda: False)
    with tarfile.open(tmp_path / "crafted.tgz", "w:gz") as tar:
        for name in (backup.MANIFEST, backup.DUMP):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)

    with pytest.raises(backup.BackupFailed):
        backup.restore(tmp_path / "crafted.tgz", by="test")


def test_a_manifest_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(backup.BackupFailed):
        backup._parse(b"[" * 200_000)


def test_slow_upstreams_do_not_take_all_threads_of_the_worker() -> None:
    """Else planned offboardings and the recovery of calls would wait behind them."""
    with tasks.QUESTIONS, tasks.QUESTIONS, pytest.raises(Retry):
        tasks.discover_connector("helpdesk", "test")


def test_a_script_does_not_fill_the_queue_with_one_question(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tasks.discover_connector, "delay", lambda name, by: asked.append(name))
    noor = it_admin()
    helpdesk = Connector.objects.create(name="helpdesk", urls=[OURS])

    with django_capture_on_commit_callbacks(execute=True):
        answers = [noor.post(f"connectors/{helpdesk.pk}/discover").status_code for _ in range(3)]

    assert (answers, asked) == ([202, 202, 202], ["helpdesk"])
