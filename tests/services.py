"""Real PostgreSQL and Redis for the tests: named by the environment, or started privately for the run.

`python -m tests.services [--durable] COMMAND...` runs a command with TEST_DATABASE_URL and TEST_REDIS_URL set, so that
several test processes share the same servers.

Tests kill processes and crash servers, and none of them pulls the plug of the machine: what was written is with the
kernel by then, so PostgreSQL does not wait for the disk. Where it is measured it does: `--durable`.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests import migrated

POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
}
FORGETFUL = {"fsync": "off", "full_page_writes": "off"}
DURABLE = "--durable"
START_SECONDS = 60.0
UNPRIVILEGED = ("postgres", "nobody")


class Unavailable(Exception):
    """Neither named by the environment nor installed here."""


@contextmanager
def postgres(*, is_durable: bool = False) -> Iterator[str]:
    """The URL of a server on which databases may be created."""
    if named := os.environ.get("TEST_DATABASE_URL"):
        yield named
        return
    with private_postgres(is_durable=is_durable) as url:
        yield url


@contextmanager
def private_postgres(*, is_durable: bool = False) -> Iterator[str]:
    """A server that nobody else uses, for what is counted for the whole of one."""
    binaries = postgres_binaries()
    with private_folder("gatehouse-postgres-") as folder:
        yield from _run_postgres(binaries, folder, POSTGRES_SETTINGS | ({} if is_durable else FORGETFUL))


@contextmanager
def redis() -> Iterator[str]:
    if named := os.environ.get("TEST_REDIS_URL"):
        yield named
        return
    binary = shutil.which("redis-server")
    if binary is None:
        raise Unavailable("no TEST_REDIS_URL and no redis-server here")
    port = free_port()
    with private_folder("gatehouse-redis-") as folder:
        argv = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        with running(argv, folder=folder, ready=lambda: answers(("127.0.0.1", port))):
            yield f"redis://127.0.0.1:{port}/0"


def postgres_binaries() -> Path:
    """Debian keeps initdb off PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = [found for pattern in POSTGRES_FOLDERS for found in Path("/").glob(f"{pattern[1:]}/initdb")]
    if not folders:
        raise Unavailable("no TEST_DATABASE_URL and no PostgreSQL server here")
    return max(folders, key=lambda path: path.stat().st_mtime).parent


def _run_postgres(binaries: Path, folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    data = folder / "data"
    init = [
        str(binaries / "initdb"),
        "-D",
        str(data),
        "-U",
        "gatehouse",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "-N",
    ]
    subprocess.run(unprivileged(init), check=True, capture_output=True, cwd=folder, timeout=60)
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    argv = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), *words]
    url = f"postgresql://gatehouse@/postgres?host={folder}"
    with running(argv, folder=folder, ready=lambda: lets_in(url)):
        yield url


@contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """Short, since a socket's path may not exceed 100 bytes; owned by whoever runs the server."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    if os.geteuid() == 0:
        account = unprivileged_account()
        os.chown(folder, account.pw_uid, account.pw_gid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(argv: Sequence[str], *, folder: Path, ready: Callable[[], bool]) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            unprivileged(argv), cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(ready, process, log)
        yield
    finally:
        process.send_signal(2)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def answers(address: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0


def lets_in(url: str) -> bool:
    """It answers some time before that."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def unprivileged(argv: Sequence[str]) -> list[str]:
    """initdb and postgres refuse to run as root."""
    if os.geteuid() != 0:
        return list(argv)
    account = unprivileged_account()
    identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return ["setpriv", *identity, "--pdeathsig", "INT", *argv]


def unprivileged_account() -> pwd.struct_passwd:
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return next(accounts[name] for name in UNPRIVILEGED if name in accounts)


def main(command: list[str]) -> int:
    is_durable = command[:1] == [DURABLE]
    offers: dict[str, AbstractContextManager[str]] = {
        "TEST_DATABASE_URL": postgres(is_durable=is_durable),
        "TEST_REDIS_URL": redis(),
    }
    with ExitStack() as stack:
        stack.enter_context(migrated.shared())
        for name, service in offers.items():
            try:
                os.environ[name] = stack.enter_context(service)
            except Unavailable as missing:
                print(f"missing service: {missing}", file=sys.stderr)
                if os.environ.get("REQUIRE_SERVICES") == "1":
                    return 1
        return subprocess.run(command[is_durable:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
