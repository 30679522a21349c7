"""The installation's own keys, for those who bring none: made once in DATA_DIR, for the owner only."""

import base64
import os
import secrets
from pathlib import Path

from config import env

SECRET_KEY_FILE = "secret.key"  # noqa: S105 - a file name
KEK_FILE = "kek.key"
AUDIT_SIGNING_KEY_FILE = "audit-signing.key"


def data_dir() -> Path:
    return env.place("DATA_DIR", default=Path(__file__).resolve().parent.parent / "var")


def ensure_keys(folder: Path) -> None:
    """Writes what neither the environment nor the folder has. An existing key is never replaced."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not env.secret("SECRET_KEY"):
            write_once(folder / SECRET_KEY_FILE, secrets.token_urlsafe(64))
        if not env.secret("GATEHOUSE_KEK"):
            write_once(folder / KEK_FILE, base64.b64encode(secrets.token_bytes(env.KEY_BYTES)).decode())
    except OSError as error:
        env.wrong(
            "DATA_DIR",
            f"cannot write keys to {folder} ({error.strerror}); name a folder that can be written.",
        )


def write_once(path: Path, value: str) -> None:
    """Whole or not at all, also when two processes start at once: the first to link its file wins."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(value + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
