"""A real OpenID provider for the tests: canaille, on loopback, in an environment of its own.

Its versions of the SCIM libraries are older than ours, so it is installed apart, once for all worktrees, from
canaille.lock. `python -m tests.canaille` does that; tests only look whether it was done.
"""

import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.services import Unavailable, free_port, private_folder

HERE = Path(__file__).resolve().parent
LOCK = HERE / "canaille.lock"
PASSWORD = "correct horse battery staple"
SECRET = "what-canaille-and-the-client-share"
CLIENT = "gatehouse"


def home() -> Path:
    """Another lock file is another environment."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "gatehouse" / "canaille" / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]


def python() -> Path:
    return home() / "bin" / "python"


def is_installed() -> bool:
    return (home() / "installed").exists()


def install() -> None:
    """Hash by hash; a half-made one is made anew."""
    if is_installed():
        return
    venv.create(home(), with_pip=False, clear=True, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python()), "install", "--quiet", "--no-input"]
    subprocess.run([*pip, "--disable-pip-version-check", "--require-hashes", "-r", str(LOCK)], check=True)
    (home() / "installed").touch()


@dataclass
class Canaille:
    """A running provider. People sign in there with their user name and PASSWORD."""

    issuer: str
    _process: subprocess.Popen[str]
    _log: Path

    def put_user(self, user_name: str, *, email: str, groups: tuple[str, ...] = (), name: str = "") -> str:
        """Makes or changes somebody, and returns her id; what she is not named to be in any more she leaves."""
        names = {"formatted_name": name or user_name, "family_name": (name or user_name).rpartition(" ")[2]}
        told = self._do("put_user", user_name=user_name, emails=[email], password=PASSWORD, groups=groups, **names)
        return str(told["id"])

    def lock_user(self, user_name: str) -> None:
        """Out everywhere: she cannot sign in, and SCIM says that she is inactive."""
        self._do("lock_user", user_name=user_name)

    def unlock_user(self, user_name: str) -> None:
        self._do("unlock_user", user_name=user_name)

    def delete_user(self, user_name: str) -> None:
        self._do("delete_user", user_name=user_name)

    def put_client(
        self, *redirect_uris: str, client_id: str = CLIENT, home: str = "http://127.0.0.1/", **values: Any
    ) -> None:
        """`home` on this machine is trusted: nobody is asked for consent. SCIM is pushed to it."""
        known = {
            "client_name": client_id,
            "client_uri": home,
            "client_secret": SECRET,
            "redirect_uris": list(redirect_uris),
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "id_token_signed_response_alg": "RS256",
            "scope": ["openid", "profile", "email", "groups"],
        }
        self._do("put_client", client_id=client_id, **known | values)

    def issue_token(self, token: str, *, client_id: str = CLIENT) -> None:
        """The bearer that SCIM is pushed with; without it canaille invents one."""
        self._do("issue_token", client_id=client_id, token=token)

    def _do(self, act: str, **details: Any) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"act": act, **details}) + "\n")
        self._process.stdin.flush()
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        told: dict[str, Any] = json.loads(line) if line else {"error": "it is gone"}
        if "error" in told:
            raise RuntimeError(f"canaille: {told['error']}\n{self._log.read_text()[-3000:]}")
        return told


@contextmanager
def running(*, pushes_scim: bool = False) -> Iterator[Canaille]:
    """Raises Unavailable where it was never installed."""
    if not is_installed():
        raise Unavailable("canaille is not installed; `python -m tests.canaille` does that")
    port = free_port()
    with private_folder("gatehouse-canaille-") as folder, (folder / "log").open("w") as log:
        process = _start(folder, log)
        try:
            provider = Canaille(f"http://127.0.0.1:{port}", process, folder / "log")
            _configure(provider, folder, port, pushes_scim=pushes_scim)
            yield provider
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe
                pipe.close()


def _start(folder: Path, log: IO[str]) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "AUTHLIB_INSECURE_TRANSPORT": "1"}
    return subprocess.Popen(
        [str(python()), "-P", str(HERE / "canaille_server.py")],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )


def _configure(provider: Canaille, folder: Path, port: int, *, pushes_scim: bool) -> None:
    settings = {
        "SECRET_KEY": "a fixed key for tests",
        "SERVER_NAME": f"127.0.0.1:{port}",
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {"JAVASCRIPT": False, "HTMX": False, "CAPTCHA_ENABLED": False, "SMTP": None},
        "CANAILLE_SQL": {
            "DATABASE_URI": f"sqlite:///{folder}/canaille.sqlite",
            "PASSWORD_HASH_PARAMS": {"pbkdf2_sha512__rounds": 1000},
        },
        "CANAILLE_SCIM": {"ENABLE_CLIENT": pushes_scim},
    }
    stdin = provider._process.stdin
    assert stdin
    stdin.write(json.dumps({"settings": settings, "port": port}) + "\n")
    stdin.flush()
    provider._heard()


if __name__ == "__main__":
    install()
