"""The key: from the environment or a file, never from the command line, which every program of the machine can read."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

from gatehouse_bridge.address import BadSetting
from gatehouse_bridge.saying import say

VARIABLE = "GATEHOUSE_KEY"
FILE_VARIABLE = "GATEHOUSE_KEY_FILE"
_KEY = re.compile(r"[A-Za-z0-9._~+/-]{8,512}=*")
_FILE_LIMIT = 4096


class Key:
    """`renew` is asked for when the gateway did not take it; true where there is another one to try."""

    def __init__(self, value: str) -> None:
        self._value = checked(value, VARIABLE)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def current(self) -> str:
        return self._value

    def at_hand(self) -> str:
        """Without asking anybody; empty where that cannot be."""
        return self._value

    def renew(self, refused: str) -> bool:
        return self._value != refused


class KeyFile(Key):
    """Read again when its key is refused, so that a rotated key needs no restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        super().__init__(self._read())

    def renew(self, refused: str) -> bool:
        with self._turn:
            if self._value == refused:
                try:
                    self._value = checked(self._read(), str(self._path))
                except BadSetting:
                    return False
            return self._value != refused

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                    say(f"others may read {self._path}; chmod 600 it.")
                return file.read(_FILE_LIMIT).decode("utf-8", "replace").strip()
        except OSError as error:
            raise BadSetting(f"The key file {self._path} cannot be read: {error.strerror}.") from None


def checked(value: str, where: str) -> str:
    """Raises BadSetting, which does not repeat the value."""
    if not _KEY.fullmatch(value):
        raise BadSetting(f"{where} does not hold a key.")
    return value


def key_of(environment: Mapping[str, str], path: str = "") -> Key | None:
    """The file that was named, else the variable. Raises BadSetting."""
    path = path or environment.get(FILE_VARIABLE, "")
    if path:
        return KeyFile(Path(path).expanduser())
    value = environment.get(VARIABLE, "")
    return Key(value) if value else None
