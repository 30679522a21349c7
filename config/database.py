"""DATABASE_URL as Django's settings."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from config.env import HiddenText, wrong

IDLE_SECONDS = 10
SERVER_OPTIONS = (
    f"-c idle_in_transaction_session_timeout={IDLE_SECONDS}s -c client_connection_check_interval=500ms"
    # Our queries end after a few dozen rows, whatever the planner fears: compiling one costs more than running it.
    " -c jit=off"
)
DEAD_PEER_OPTIONS = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def from_url(url: str, *, default_file: Path) -> dict[str, Any]:
    """PostgreSQL if a URL is given, else SQLite with the write fence in `default_file`."""
    return _postgresql(url) if url else _sqlite(default_file)


def replica(url: str) -> dict[str, Any]:
    """For reading evidence; whatever the URL leads to, nothing is written there."""
    found = _postgresql(url)
    options = f"{found['OPTIONS']['options']} -c default_transaction_read_only=on"
    return {**found, "OPTIONS": {**found["OPTIONS"], "options": options}, "TEST": {"MIRROR": "default"}}


def _sqlite(file: Path) -> dict[str, Any]:
    return {
        "ENGINE": "governance.fence.sqlite",
        "NAME": str(file),
        "ATOMIC_REQUESTS": False,
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 5},
    }


def _postgresql(url: str) -> dict[str, Any]:
    """Connections end with their request: under ASGI each has its own thread, so one kept open would leak."""
    parts = urlsplit(url)
    name = unquote(parts.path.lstrip("/"))
    if not name:
        wrong("DATABASE_URL", "the URL names no database; write postgresql://user@host/name.")
    query = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or query.pop("user", "")),
        "PASSWORD": HiddenText(unquote(parts.password or query.pop("password", ""))),
        "HOST": unquote(parts.hostname or query.pop("host", "")),
        "PORT": str(parts.port or query.pop("port", "")),
        "ATOMIC_REQUESTS": False,
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            **DEAD_PEER_OPTIONS,
            **query,
            "options": f"{query.pop('options', '')} {SERVER_OPTIONS}".strip(),
        },
    }
