"""The settings as a process sees them: each test starts one."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config.database import from_url, replica
from config.keys import KEK_FILE, SECRET_KEY_FILE, ensure_keys

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "DATABASE_REPLICA_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "GATEHOUSE_KEK",
    "PUBLIC_URL",
    "DJANGO_SETTINGS_MODULE",
    "DATABASE",
)


def python(code: str, *, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean | {"DATA_DIR": str(folder)} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    ensure_keys(tmp_path)
    return tmp_path


def test_keys_are_made_once_and_for_us_only(folder: Path):
    before = [(folder / name).read_text() for name in (SECRET_KEY_FILE, KEK_FILE)]
    ensure_keys(folder)
    assert before == [(folder / name).read_text() for name in (SECRET_KEY_FILE, KEK_FILE)]
    assert sorted(path.name for path in folder.iterdir()) == [KEK_FILE, SECRET_KEY_FILE]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "short"),
        ("GATEHOUSE_KEK", "not-a-key"),
        ("PORT", "eighty"),
        ("PUBLIC_URL", "gatehouse.example.com"),
        ("DATABASE_URL", "mysql://root:hunter2@db/x"),
        ("DATABASE_URL", "postgresql://root:hunter2@db"),
        ("DATABASE_REPLICA_URL", "postgresql://reader:hunter2@replica/gatehouse"),
        ("DATABASE_OWNER_URL", "postgresql://owner:hunter2@db/gatehouse"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_value_stops_the_start_with_one_line_that_names_it(folder: Path, name: str, value: str):
    started = python("import config.settings", folder=folder, **{name: value})
    assert started.returncode == 1
    assert started.stdout == ""
    assert started.stderr.startswith(f"{name}: ")
    assert started.stderr.count("\n") == 1
    assert "hunter2" not in started.stderr


def test_missing_keys_stop_the_start(tmp_path: Path):
    started = python("import config.settings", folder=tmp_path)
    assert started.stderr.startswith("SECRET_KEY: it is not set")


def test_a_public_https_address_makes_cookies_secure(folder: Path):
    code = (
        "import json; from config import settings as s;"
        "print(json.dumps([s.SESSION_COOKIE_SECURE, s.SECURE_SSL_REDIRECT, s.ALLOWED_HOSTS[0], s.DEBUG]))"
    )
    https = python(code, folder=folder, PUBLIC_URL="https://gate.example.com")
    http = python(code, folder=folder)
    assert json.loads(https.stdout) == [True, True, "gate.example.com", False]
    assert json.loads(http.stdout) == [False, False, "127.0.0.1", False]


def test_settings_show_no_secret(folder: Path):
    secret, kek = ((folder / name).read_text().strip() for name in (SECRET_KEY_FILE, KEK_FILE))
    shown = python(
        "from config import settings; print(vars(settings))",
        folder=folder,
        DATABASE_URL="postgresql://u:hunter2@db/x",
        REDIS_URL="redis://:hunter3@cache/0",
    ).stdout
    assert "INSTALLED_APPS" in shown
    for value in (secret, kek, "hunter2"):
        assert value not in shown


def test_a_database_url_becomes_settings(tmp_path: Path):
    url = "postgresql://ana:p%40ss@db.example.com:5433/gate?sslmode=require"
    database = from_url(url, default_file=tmp_path / "x")
    assert (database["USER"], database["PASSWORD"], database["NAME"]) == ("ana", "p@ss", "gate")
    assert (database["HOST"], database["PORT"]) == ("db.example.com", "5433")
    assert database["OPTIONS"]["sslmode"] == "require"
    assert "idle_in_transaction_session_timeout=10s" in database["OPTIONS"]["options"]


def test_a_socket_and_own_server_options_are_kept(tmp_path: Path):
    url = "postgresql:///gate?host=/run/postgresql&options=-c%20work_mem%3D8MB"
    database = from_url(url, default_file=tmp_path / "x")
    assert database["HOST"] == "/run/postgresql"
    assert database["OPTIONS"]["options"].startswith("-c work_mem=8MB -c idle")
    assert "host" not in database["OPTIONS"]


def test_a_replica_is_read_only_whatever_its_url_leads_to():
    options = replica("postgresql://reader@replica/gatehouse")["OPTIONS"]["options"]
    assert "default_transaction_read_only=on" in options


def test_texts_are_inspected_without_an_installation(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "manage.py", "inspect"],
        env=clean | {"DATA_DIR": str(tmp_path / "none")},
        input='{"id": 7, "task": "secrets", "text": "token ghp_16C7e42F292c6912E7710c838347Ae178B4a"}\n',
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    verdict = json.loads(done.stdout)
    assert (verdict["id"], verdict["flagged"]) == (7, True)
    assert not (tmp_path / "none").exists()
