"""`make up` as a newcomer runs it, and a browser in front of it."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from tests.end_to_end.wire import Caller
from tests.migrated import FOREIGN, REPOSITORY, migrated_folder

START_SECONDS = 600.0
"""All migrations and the demo, beside other tests on a small machine."""
LOGIN = re.compile(r"^  (owner|IT admin|approver|person) +(\S+@\S+)  (http\S+)$", re.MULTILINE)
KEY = re.compile(r"^  (gate_ak_\w+)$", re.MULTILINE)


@dataclass
class House:
    """A running installation with the demo organisation; everything it printed is in `printed`."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    """Beside those that every house has."""
    is_migrated: bool = True
    """Begins with a database; a newcomer's has nothing."""
    origin: str = ""
    printed: str = ""
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def data_dir(self) -> Path:
        return self.folder / "var"

    @property
    def log(self) -> Path:
        return self.folder / "up.log"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        return inherited | {
            "DATA_DIR": str(self.data_dir),
            "STDIO_ALLOWED_COMMANDS": sys.executable,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PORT": self.origin.rpartition(":")[2],
            **self.settings,
        }

    @property
    def key(self) -> str:
        """The demo agent's."""
        found = KEY.search(self.printed)
        assert found, self.printed
        return str(found[1])

    def login(self, role: str) -> str:
        """The printed one-time link of the owner, the IT admin, the approver or the person."""
        return str(next(link for name, _, link in LOGIN.findall(self.printed) if name == role))

    def email(self, role: str) -> str:
        return str(next(email for name, email, _ in LOGIN.findall(self.printed) if name == role))

    def up(self) -> None:
        if self.is_migrated and not self.data_dir.exists():
            shutil.copytree(migrated_folder(), self.data_dir)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.origin = f"http://127.0.0.1:{free.getsockname()[1]}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "manage.py"), "up"],
                env=self.environment,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while "Ctrl-C stops everything." not in self.printed:
            assert time.monotonic() < deadline, self.printed
            assert self.process.poll() is None, self.printed
            time.sleep(0.1)
            self.printed = self.log.read_text(errors="replace")

    def down(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(240)

    def manage(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "manage.py"), *words],
            env=self.environment,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def caller(self, key: str = "", *, path: str = "/mcp/support") -> Caller:
        return Caller(self.origin, key or self.key, path=path)

    def one(self, query: str, *values: object) -> str:
        """The first column of the first row, an id as Django's URLs write it."""
        path = self.data_dir / "gatehouse.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
            row = database.execute(query, values).fetchone()
        assert row is not None, query
        return str(UUID(row[0])) if isinstance(row[0], str) and len(row[0]) == 32 else str(row[0])

    def id_of(self, table: str, **wanted: str) -> str:
        conditions = " AND ".join(f'"{column}" = ?' for column in wanted)
        return self.one(f'SELECT id FROM "{table}" WHERE {conditions}', *wanted.values())


@contextmanager
def at_home(house: House) -> Iterator[House]:
    try:
        house.up()
        yield house
    finally:
        house.down()
