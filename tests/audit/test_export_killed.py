"""The exporting process is killed in the middle, more than once: every leaf arrives, in order, some of them twice."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

LEAVES = 201
DEADLINE_SECONDS = 120.0


def test_a_killed_export_goes_on_where_the_destination_last_said_yes(tmp_path: Path) -> None:
    settings = {
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "log.sqlite3")}},
        "AUDIT_SIGNING_KEY_FILE": str(tmp_path / "key"),
        "PUBLIC_URL": "https://gw.corp.example",
    }
    environment = {**os.environ, "SEALING": json.dumps(settings)}
    arrived = tmp_path / "arrived"
    arrived.touch()

    def begin(*verb: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.audit.sealing", *verb]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    assert begin("migrate").wait(DEADLINE_SECONDS) == 0
    assert begin("write", str(LEAVES - 1)).wait(DEADLINE_SECONDS) == 0
    sequencer = begin("seal")
    assert sequencer.wait(DEADLINE_SECONDS) == 0
    for lines in (20, 90):
        exporter = begin("export", str(arrived))
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(arrived.read_text().split()) < lines and time.monotonic() < deadline:
            time.sleep(0.005)
        exporter.kill()
        exporter.wait()
    assert begin("export", str(arrived)).wait(DEADLINE_SECONDS) == 0
    told = [int(line) for line in arrived.read_text().split()]
    assert list(dict.fromkeys(told)) == list(range(LEAVES))
