"""Where tokens are kept between starts: one file for each endpoint and client, for its owner's eyes only.

Several programs of one person start several bridges. A refresh token is good for one time, so whoever renews holds the
file's lock meanwhile and looks first whether another one has done so.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 64 * 1024
LOCK_SECONDS = 60.0
LOCK_PAUSE = 0.1


class Locked(Exception):
    """Another bridge has been renewing for too long."""


@dataclass(frozen=True)
class Tokens:
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_at: float

    def lasts(self, seconds: float) -> bool:
        return self.expires_at - seconds > time.time()


class TokenFile:
    def __init__(self, folder: Path, *, url: str, client_id: str) -> None:
        name = hashlib.sha256(f"{url} {client_id}".encode()).hexdigest()[:32]
        self._folder = folder
        self._path = folder / f"{name}.json"
        self._lock_path = folder / f"{name}.lock"

    def read(self) -> Tokens | None:
        """None for what is not there, or no tokens."""
        try:
            with self._path.open("rb") as file:
                kept = json.loads(file.read(LIMIT))
            return Tokens(str(kept["access"]), str(kept["refresh"]), float(kept["expires_at"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def write(self, tokens: Tokens) -> None:
        """Whole or not at all, and never readable for others, not even for a moment."""
        new = self._path.with_suffix(f".{os.getpid()}")
        content = json.dumps({"access": tokens.access, "refresh": tokens.refresh, "expires_at": tokens.expires_at})
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def forget(self) -> None:
        with suppress(OSError):
            self._path.unlink()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Alone among all bridges. Raises Locked."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + LOCK_SECONDS
            while not _locked(descriptor):
                if time.monotonic() > deadline:
                    raise Locked
                time.sleep(LOCK_PAUSE)
            yield
        finally:
            os.close(descriptor)


def folder_of(environment: Mapping[str, str]) -> Path:
    """Where programs of this person keep what they need to remember."""
    named = environment.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME", "")
    return (Path(named) if named else Path.home() / ".config") / "gatehouse-bridge"


if sys.platform == "win32":
    import msvcrt

    def _locked(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
