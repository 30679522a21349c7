"""The command that hands the log to an outsider."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from audit.checkpoint import installation_signer
from audit.models import EventRow
from tests.audit.writing import record_call, seal

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _log(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_SIGNING_KEY_FILE = tmp_path / "key"
    settings.PUBLIC_URL = "https://gw.corp.example"
    record_call()
    seal(installation_signer())


def test_the_command_s_own_words_check_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("export_audit", str(tmp_path / "out"))
    *_, advice = capsys.readouterr().out.splitlines()
    assert "3 events, 3 leaves" in _[0]
    words = advice.removeprefix("Check it with: python3 ").replace("KEY", str(installation_signer().verifier)).split()
    done = subprocess.run([sys.executable, "-I", *words], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1][:5]) == (0, "sound")


def test_it_is_evidence_itself(tmp_path: Path) -> None:
    call_command("export_audit", str(tmp_path / "out"))
    told = EventRow.objects.get(kind="evidence.exported")
    assert str(tmp_path / "out").encode() in bytes(told.header)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hers").write_text("keep")
    with pytest.raises(CommandError, match="is not empty: name a new folder"):
        call_command("export_audit", str(tmp_path))
    assert (tmp_path / "hers").read_text() == "keep"
