"""What differs in tests: fixed keys, a folder of their own, a fast hasher, nothing outside the process.

DATABASE=postgres runs the same tests on the PostgreSQL server of TEST_DATABASE_URL.
"""

import atexit
import base64
import os
import shutil
import tempfile
from pathlib import Path

from config import env

DATA_FOLDER = Path(tempfile.mkdtemp(prefix="gatehouse-test-"))
atexit.register(shutil.rmtree, DATA_FOLDER, ignore_errors=True)

for name in (
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "DATABASE_REPLICA_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "PUBLIC_URL",
    "ALLOWED_HOSTS",
    "HOST",
    "PORT",
):
    os.environ.pop(name, None)
os.environ["DATA_DIR"] = str(DATA_FOLDER)
os.environ["SECRET_KEY"] = "a fixed key for tests, long enough for Django's checks: 0123456789"
os.environ["GATEHOUSE_KEK"] = base64.b64encode(bytes(range(32))).decode()
if env.text("DATABASE", default="sqlite", choices=("sqlite", "postgres")) == "postgres":
    if "TEST_DATABASE_URL" not in os.environ:
        env.wrong("TEST_DATABASE_URL", "it is not set; `python -m tests.services pytest ...` starts a server.")
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]

from config.settings import *  # noqa: E402, F403
from config.settings import DATABASE_URL, DATABASES, MIDDLEWARE  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Most tests count events; that refusals are recorded is shown by tests that put this back.
MIDDLEWARE = [each for each in MIDDLEWARE if each != "gateway.turned_away.RecordRefusals"]
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
CELERY_BROKER_TRANSPORT = "memory"
CELERY_BROKER_TRANSPORT_OPTIONS = {}
WHITENOISE_AUTOREFRESH = True
DATABASES["default"]["TEST"] = {"NAME": None if DATABASE_URL else str(DATA_FOLDER / "test.sqlite3")}
if DATABASE_URL:
    # A test is one transaction, which is idle for as long as the test does something else.
    DATABASES["default"]["OPTIONS"]["options"] += " -c idle_in_transaction_session_timeout=10min"
