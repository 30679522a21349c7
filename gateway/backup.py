"""The whole database as one file, and back. Keys are never in it: without them it opens no secret.

A backup is a tar of `manifest.json` and one dump: SQLite's own copy, or pg_dump's custom format. It is taken while the
gateway serves and is one consistent state. What was revoked after it is unknown to it, so a restored installation
starts frozen.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Max
from django.db.models.functions import Coalesce

from audit.models import Checkpoint, Leaf
from gateway.actions import act
from gateway.models import GatewayProcess
from governance import freezes
from governance.facts import Fact, Recorder
from governance.freezes import FreezeTarget
from governance.models import Anchor, Epoch, PayloadKey, PersonalToken, SecretVersion, SubjectKey
from governance.vault import Keyring, keyring

FORMAT = "gatehouse-backup/v1"
MANIFEST = "manifest.json"
DUMP = "database"
LONGEST_MANIFEST_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
PAGES_AT_ONCE = 2000
WHY_FROZEN = "Restored from a backup of {}: what was revoked later is live again. Revoke it once more, then unfreeze."


class BackupFailed(Exception):
    """The message says what failed and what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a backup. `key_ids` name the key-encryption keys that its secrets need."""

    database: str
    made_at: str
    epoch: int
    leaves: int
    checkpoint: str
    migrations: tuple[str, ...]
    key_ids: tuple[str, ...]
    sha256: str
    format: str = FORMAT


@dataclass(frozen=True, slots=True)
class Restored:
    manifest: Manifest
    missing_key_ids: tuple[str, ...]


def back_up(target: Path, *, by: str) -> Manifest:
    """Writes `target` whole or not at all, readable by its owner only. Raises BackupFailed."""
    if target.exists():
        raise BackupFailed(f"{target} exists; name a new file.")
    with _workplace(target.absolute().parent) as folder:
        dump = folder / DUMP
        _dump(dump)
        manifest = _manifest(dump)
        archive = folder / "archive"
        _pack(archive, manifest, dump)
        try:
            os.link(archive, target)
        except OSError as error:
            raise BackupFailed(f"cannot write {target} ({error.strerror}).") from error
    details = {"made_at": manifest.made_at, "leaves": manifest.leaves, "sha256": manifest.sha256}
    act(lambda record, now: record(Fact("backup.made", "installation", details)), by=by)
    return manifest


def restore(source: Path, *, by: str) -> Restored:
    """Fills an empty database from a backup, brings it up to date, and freezes everything. Raises BackupFailed."""
    if _has_tables():
        raise BackupFailed("the database is not empty; restore into a new DATA_DIR or a new, empty database.")
    with _workplace(Path(settings.DATA_DIR)) as folder:
        manifest = _unpack(source, folder)
        if manifest.database != connection.vendor:
            raise BackupFailed(f"this is a backup of {manifest.database}, DATABASE_URL names {connection.vendor}.")
        connection.close()
        _load(folder / DUMP)
    call_command("migrate", verbosity=0, interactive=False)
    return act(lambda record, now: _settle(manifest, by=by, record=record, now=now), by=by)


def _settle(manifest: Manifest, *, by: str, record: Recorder, now: datetime) -> Restored:
    """Nothing of the old installation runs any more; no web session, personal token or call goes on where it was. The
    worker asks every anchor first whether this database is older than what it keeps."""
    GatewayProcess.objects.filter(ended_at=None).update(ended_at=now)
    PersonalToken.objects.filter(revoked_at=None).update(revoked_at=now, revoked_by=by)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_session")
    Anchor.objects.update(kept_at=None, wanted_at=now)
    reason = WHY_FROZEN.format(manifest.made_at)
    freezes.freeze(FreezeTarget(), by=by, record=record, now=now, ends_at=None, reason=reason)
    record(Fact("backup.restored", "installation", {"made_at": manifest.made_at, "leaves": manifest.leaves}))
    return Restored(manifest, tuple(_missing(manifest.key_ids, keyring())))


def _missing(key_ids: tuple[str, ...], keys: Keyring) -> list[str]:
    return [key_id for key_id in key_ids if not keys.knows(key_id)]


def _workplace(folder: Path) -> Any:
    """Beside the target, so that linking into place never copies."""
    try:
        return _PrivateFolder(dir=folder, prefix=".gatehouse-backup-")
    except OSError as error:
        raise BackupFailed(f"cannot write to {folder} ({error.strerror}).") from error


class _PrivateFolder(tempfile.TemporaryDirectory[str]):
    def __enter__(self) -> Path:  # type: ignore[override]
        return Path(super().__enter__())


def _manifest(dump: Path) -> Manifest:
    """Read after the dump, so its figures may be a little ahead of it; only `sha256` is a promise."""
    checkpoint = Checkpoint.objects.order_by("-size").first()
    applied = MigrationRecorder(connection).applied_migrations()
    models = (SecretVersion, PayloadKey, SubjectKey)
    key_ids = {key for model in models for key in model.objects.values_list("key_id", flat=True).distinct()} - {""}
    return Manifest(
        database=connection.vendor,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        epoch=Epoch.objects.values_list("number", flat=True).get(id=1),
        leaves=Leaf.objects.aggregate(leaves=Coalesce(Max("index") + 1, 0))["leaves"],
        checkpoint=checkpoint.note if checkpoint else "",
        migrations=tuple(sorted(f"{app}.{name}" for app, name in applied)),
        key_ids=tuple(sorted(key_ids)),
        sha256=_digest(dump),
    )


def _pack(archive: Path, manifest: Manifest, dump: Path) -> None:
    described = archive.with_name(MANIFEST)
    described.write_text(json.dumps(asdict(manifest), indent=2))
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
            tar.add(described, MANIFEST)
            tar.add(dump, DUMP)
        file.flush()
        os.fsync(file.fileno())


def _unpack(source: Path, folder: Path) -> Manifest:
    """Takes the two members by name and nothing else: a crafted archive writes nowhere else."""
    try:
        with tarfile.open(source, "r:gz") as tar:
            manifest = _parse(_member(tar, MANIFEST).read(LONGEST_MANIFEST_BYTES))
            with (folder / DUMP).open("wb") as file:
                shutil.copyfileobj(_member(tar, DUMP), file, CHUNK_BYTES)
    except (OSError, tarfile.TarError, EOFError, RecursionError) as error:
        raise BackupFailed(f"{source} cannot be read as a backup ({error}).") from error
    if _digest(folder / DUMP) != manifest.sha256:
        raise BackupFailed(f"{source} is damaged: its dump is not the one that its manifest names.")
    return manifest


def _member(tar: tarfile.TarFile, name: str) -> Any:
    try:
        member = tar.extractfile(name)
    except KeyError:
        member = None
    if member is None:
        raise BackupFailed(f"this is no backup of Gatehouse: it holds no {name}.")
    return member


def _parse(text: bytes) -> Manifest:
    try:
        found: Mapping[str, Any] = json.loads(text)
        lists = {key: tuple(found[key]) for key in ("migrations", "key_ids")}
        manifest = Manifest(**{**found, **lists})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BackupFailed("its manifest.json is not what this version writes.") from error
    if manifest.format != FORMAT:
        raise BackupFailed(f"it is of format {manifest.format}; this version reads {FORMAT}.")
    return manifest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_tables() -> bool:
    return bool(connection.introspection.table_names())


def _dump(target: Path) -> None:
    if connection.vendor == "postgresql":
        _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
        return
    with (
        closing(sqlite3.connect(f"file:{settings.DATABASES['default']['NAME']}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy, pages=PAGES_AT_ONCE, sleep=0.01)


def _load(dump: Path) -> None:
    if connection.vendor == "postgresql":
        name = connection.settings_dict["NAME"]
        _run("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={name}", str(dump))
        return
    with closing(sqlite3.connect(dump)) as copy:
        if copy.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise BackupFailed("the copy of the database is damaged.")
    name = settings.DATABASES["default"]["NAME"]
    for leftover in (f"{name}-wal", f"{name}-shm"):
        Path(leftover).unlink(missing_ok=True)
    os.replace(dump, name)


def _run(program: str, *words: str) -> None:
    """The password goes by the environment: what stands in argv, everybody on the machine can read."""
    try:
        done = subprocess.run(
            [program, "--no-password", *words],
            env={**os.environ, **_connection_environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise BackupFailed(f"{program} was not found; install PostgreSQL's client programs.") from None
    if done.returncode:
        raise BackupFailed(f"{program} failed: {done.stderr.strip()[-500:]}")


def _connection_environment() -> dict[str, str]:
    names = {"NAME": "PGDATABASE", "USER": "PGUSER", "PASSWORD": "PGPASSWORD", "HOST": "PGHOST", "PORT": "PGPORT"}
    found = {variable: str(connection.settings_dict[name]) for name, variable in names.items()}
    options = connection.settings_dict["OPTIONS"]
    found |= {"PGSSLMODE": str(options.get("sslmode", "")), "PGSSLROOTCERT": str(options.get("sslrootcert", ""))}
    found |= {"PGSSLCERT": str(options.get("sslcert", "")), "PGSSLKEY": str(options.get("sslkey", ""))}
    return {variable: value for variable, value in found.items() if value}
