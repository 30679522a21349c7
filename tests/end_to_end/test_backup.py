"""The drill: back up while calls run, lose the database, restore, look, and serve again."""

import json
import tarfile
import threading
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.cast import NIGHT_BOT, NOOR, TRIAGE_BOT, support_desk
from tests.end_to_end.conftest import Helpdesk
from tests.end_to_end.installation import CommandFailed, Installation
from tests.end_to_end.wire import Caller

OWNER = "oona@example.com"


@pytest.fixture
def house(installation: Installation, helpdesk: Helpdesk) -> Installation:
    installation.apply(support_desk(helpdesk.url), HELPDESK_TOKEN=helpdesk.token)
    return installation


def call(house: Installation, key: str) -> str:
    """Text of a call's answer, or the status that refused it."""
    client = Caller(house.url, key)
    try:
        reply = client.call("helpdesk__kb_search", query="refund")
        return reply.text if reply.status == 200 else str(reply.status)
    finally:
        client.close()


@pytest.mark.databases("sqlite", "postgres")
def test_a_backup_taken_while_serving_brings_everything_back_frozen(house: Installation) -> None:
    key, later = house.issue_key(TRIAGE_BOT), house.issue(NIGHT_BOT)
    house.answer("issue_key", "--person", NOOR, "--scope", "read")
    house.start_gateway()
    expected, answers, stop = call(house, key), list[str](), threading.Event()

    def keep_calling() -> None:
        while not stop.is_set():
            answers.append(call(house, key))

    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        made = house.manage("backup", "house.tar.gz").stdout
    finally:
        stop.set()
        caller.join()
    assert set(answers) == {expected}
    assert "leaves of evidence" in made
    assert (house.folder / "house.tar.gz").stat().st_mode & 0o777 == 0o600
    house.manage("revoke_key", later["key_id"])
    house.stop_gateway()
    house.lose_the_database()

    restored = house.manage("restore", "house.tar.gz").stdout
    assert "Everything is frozen" in restored
    assert "cannot be opened" not in restored
    assert house.sql("SELECT count(*) FROM governance_personaltoken WHERE revoked_at IS NULL") == [(0,)]
    house.start_gateway()
    assert "frozen" in call(house, key).lower()
    assert "frozen" in call(house, later["key"]).lower(), "what was revoked after the backup must not work by itself"
    house.manage("revoke_key", later["key_id"])
    house.manage("unfreeze", "--everything")
    assert call(house, key) == expected
    assert call(house, later["key"]) == "401"
    house.manage("verify_audit")


def test_a_database_older_than_what_was_signed_serves_nobody_until_somebody_confirms_it(house: Installation) -> None:
    """Whatever put it there: no command of ours was asked."""
    key = house.issue_key(TRIAGE_BOT)
    note = f"gw.corp.example/audit\n{10**6}\n{b64encode(bytes(32)).decode()}\n\n"
    (house.data_dir / "audit-signing.key.newest").write_text(note)
    house.start_gateway()
    assert "frozen" in call(house, key).lower()
    assert "older" in get_json(f"{house.url}/readyz")["parts"]["evidence"]
    with pytest.raises(CommandFailed, match="the duty Security or an owner"):
        house.manage("unfreeze", "--everything", "--actor", NOOR)
    assert "frozen" in call(house, key).lower()
    house.manage("create_owner", OWNER)
    house.manage("unfreeze", "--everything", "--actor", OWNER)
    assert "frozen" not in call(house, key).lower()
    [lifted] = house.events("freeze.lifted")
    assert lifted["actor"] == f"person:{OWNER}"


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


@pytest.mark.databases("sqlite", "postgres")
def test_what_is_no_backup_or_would_overwrite_is_refused(house: Installation, tmp_path: Path) -> None:
    house.manage("backup", "house.tar.gz")
    assert "exists" in house.manage("backup", "house.tar.gz", expect=1).stderr
    assert "not empty" in house.manage("restore", "house.tar.gz", expect=1).stderr
    house.lose_the_database()
    (house.folder / "letter.tar.gz").write_bytes(b"dear restore,")
    assert "cannot be read" in house.manage("restore", "letter.tar.gz", expect=1).stderr
    damage(house.folder / "house.tar.gz", house.folder / "damaged.tar.gz", tmp_path)
    assert "damaged" in house.manage("restore", "damaged.tar.gz", expect=1).stderr
    house.manage("restore", "house.tar.gz")


def damage(backup: Path, target: Path, workplace: Path) -> None:
    """The same manifest over a dump in which one byte differs."""
    with tarfile.open(backup) as tar:
        tar.extractall(workplace, filter="data")
    dump = workplace / "database"
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    assert json.loads((workplace / "manifest.json").read_text())["format"] == "gatehouse-backup/v1"
    with tarfile.open(target, "w:gz") as tar:
        tar.add(workplace / "manifest.json", "manifest.json")
        tar.add(dump, "database")


def test_secrets_under_a_lost_key_are_named(house: Installation, helpdesk: Helpdesk) -> None:
    house.manage("backup", "house.tar.gz")
    house.lose_the_database()
    (house.data_dir / "kek.key").unlink()
    house.manage("make_keys")
    assert "cannot be opened; set GATEHOUSE_KEK_PREVIOUS" in house.manage("restore", "house.tar.gz").stdout
