"""The command an auditor types."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from audit.checkpoint import installation_signer
from audit.record import record
from gateway.management.commands.verify_audit import Command
from tests.audit.writing import event, execute, lower_guards, record_call, seal

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _log(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_SIGNING_KEY_FILE = tmp_path / "key"
    settings.PUBLIC_URL = "https://gw.corp.example"
    record_call()
    seal(installation_signer())
    record(event())


def run(**options: Any) -> tuple[int, str]:
    """(exit code, what it printed)"""
    output = StringIO()
    try:
        call_command(Command(stdout=output), **options)
    except SystemExit as ended:
        return int(str(ended.code)), output.getvalue()
    return 0, output.getvalue()


def test_a_sound_log_ends_with_the_figure_and_tells_what_was_not_checked() -> None:
    code, output = run()
    assert code == 0
    assert output.splitlines()[-1] == "sound: 4 events, 3 leaves, checkpoint 3"
    assert "No anchor outside this installation" in output
    assert "1 events wait" in output


def test_a_damaged_log_fails_and_names_the_leaf() -> None:
    lower_guards("audit_event")
    execute("UPDATE audit_event SET actor = 'nobody' WHERE kind = 'call.outcome'")
    code, output = run()
    assert code == 1
    assert "leaf 1: not what its header says: actor" in output
    assert output.splitlines()[-1] == "NOT SOUND: 1 problems, first bad leaf 1; 4 events, 3 leaves, checkpoint 3"


def test_json_is_one_object() -> None:
    code, output = run(json=True)
    report = json.loads(output)
    assert (code, report["sound"], report["leaves"], report["problems"]) == (0, True, 3, [])
    assert report["figure"].startswith("sound: ")


def test_a_key_that_cannot_be_used_is_one_line(settings: Settings) -> None:
    settings.AUDIT_SIGNING_KEY_FILE.write_text("torn")
    with pytest.raises(CommandError, match="does not hold an audit signing key"):
        run()
