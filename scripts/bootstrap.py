"""Makes .venv and installs a lock file into it, with nothing but Python's standard library.

Debian ships Python without `ensurepip` (package python3-venv) and often without pip. Then pip's own wheel is
taken from the configured package index, checked against the index's hash, and installs itself.
"""

import configparser
import hashlib
import importlib.util
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.request
import venv
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
DEFAULT_INDEX = "https://pypi.org/simple"
PIP_WHEEL = re.compile(r"pip-(\d+(?:\.\d+)*)-py3-none-any\.whl")
LINK = re.compile(r'<a\s[^>]*?href="([^"]+)"')


def main(lock: str) -> None:
    if not PYTHON.exists() or not has_pip():
        make_environment()
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    print(f"Installing {lock} into .venv ...", flush=True)
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / lock)], check=True)


def has_pip() -> bool:
    return subprocess.run([str(PYTHON), "-c", "import pip"], check=False, capture_output=True).returncode == 0


def make_environment() -> None:
    print(f"Making .venv with Python {sys.version.split()[0]} ...", flush=True)
    if importlib.util.find_spec("ensurepip"):
        venv.create(VENV, with_pip=True, clear=True, symlinks=True)
        return
    venv.create(VENV, with_pip=False, clear=True, symlinks=True)
    with tempfile.TemporaryDirectory() as folder:
        wheel = download_pip(Path(folder))
        install = [str(PYTHON), f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel)]
        subprocess.run(install, check=True)


def download_pip(folder: Path) -> Path:
    """The newest pip of the index, as a checked wheel in `folder`."""
    page = f"{index_url().rstrip('/')}/pip/"
    url, name = newest_wheel(page, fetch(page).decode())
    address, fragment = urldefrag(url)
    wheel = folder / name
    wheel.write_bytes(fetch(address))
    algorithm, _, expected = fragment.partition("=")
    if algorithm != "sha256" or hashlib.sha256(wheel.read_bytes()).hexdigest() != expected:
        sys.exit(f"{page} gave a pip that does not match its own hash; install python3-venv instead.")
    return wheel


def newest_wheel(page: str, html: str) -> tuple[str, str]:
    """Address (with its hash) and file name."""
    found = []
    for link in LINK.findall(html):
        url = urljoin(page, unescape(link))
        name = unquote(urldefrag(url).url).rsplit("/", 1)[-1]
        if match := PIP_WHEEL.fullmatch(name):
            found.append((tuple(map(int, match[1].split("."))), url, name))
    if not found:
        sys.exit(f"{page} offers no pip; install python3-venv, or set PIP_INDEX_URL to an index that has it.")
    return max(found)[1:]


def fetch(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "text/html", "User-Agent": "gatehouse-bootstrap"})
    context = ssl.create_default_context(cafile=configured("cert"))
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            return bytes(response.read())
    except OSError as error:
        sys.exit(f"Cannot fetch pip from the package index ({error}); install python3-venv, or set PIP_INDEX_URL.")


def index_url() -> str:
    return configured("index-url") or DEFAULT_INDEX


def configured(option: str) -> str | None:
    """What pip itself would use: PIP_* in the environment, else its configuration files."""
    if value := os.environ.get(f"PIP_{option.upper().replace('-', '_')}"):
        return value
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(configuration_files())
    return next((parser[name][option] for name in ("install", "global") if parser.has_option(name, option)), None)


def configuration_files() -> Iterator[Path]:
    """The later ones win."""
    yield Path("/etc/pip.conf")
    yield Path("/etc/xdg/pip/pip.conf")
    yield Path.home() / "Library" / "Application Support" / "pip" / "pip.conf"
    yield Path.home() / ".pip" / "pip.conf"
    yield Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "pip" / "pip.conf"
    if named := os.environ.get("PIP_CONFIG_FILE"):
        yield Path(named)


if __name__ == "__main__":
    main(sys.argv[1])
