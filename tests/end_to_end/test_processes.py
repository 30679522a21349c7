"""One port, two kinds of processes behind it: calls do not pay for the pages and do not fall with them."""

import base64
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests import cast
from tests.end_to_end.conftest import Helpdesk
from tests.end_to_end.installation import REPOSITORY, Installation, is_ready
from tests.end_to_end.wire import Caller

PAGE_LIBRARIES = (
    "django.contrib.admin",
    "unfold",
    "rest_framework",
    "allauth",
    "drf_spectacular",
    "celery",
    "whitenoise",
)
ON_DEMAND = ("opentelemetry",)
GATEWAY_MEGABYTES = 150
START_SECONDS = 180.0
WHAT_IS_LOADED = """
import sys
import config.asgi
print(*sorted({name for name in sys.modules}))
"""


def resident_megabytes(pid: int) -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


class Serving:
    """`manage.py serve --only gateway` in a process of its own."""

    def __init__(self, house: Installation) -> None:
        self.house = house
        self.log = house.folder / "gateway-serve.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "manage.py"), "serve", "--only", "gateway", "--processes", "2"],
                env=house.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.url = f"http://127.0.0.1:{house.environment['PORT']}"
        wait_for(lambda: is_ready(self.url), self.log)

    def pids(self, module: str) -> list[int]:
        """The running children that run this module."""
        found = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
        rows = [line.split(None, 2) for line in found.splitlines()[1:]]
        return [int(pid) for pid, parent, args in rows if int(parent) == self.process.pid and module in args]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=20, follow_redirects=True)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def wait_for(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.05)


@pytest.fixture
def serving(installation: Installation, helpdesk: Helpdesk, unused_tcp_port: int) -> Iterator[Serving]:
    installation.apply(cast.support_desk(helpdesk.url), HELPDESK_TOKEN=helpdesk.token)
    installation.configure(PORT=str(unused_tcp_port))
    served = Serving(installation)
    yield served
    served.process.kill()
    served.process.wait()


def test_pages_and_calls_share_a_port_and_calls_outlive_the_pages(serving: Serving):
    wait_for(lambda: serving.get("/admin/").status_code == 200, serving.log)
    static = serving.get("/static/gatehouse/console.css")
    assert (static.status_code, static.headers["content-type"]) == (200, 'text/css; charset="utf-8"')
    assert "max-age=" in static.headers["cache-control"]
    assert serving.get("/.well-known/oauth-protected-resource/mcp/support").json()["resource"].endswith("/mcp/support")
    assert serving.get("/readyz").json()["parts"]["pages"] == "ok"
    (pages,) = serving.pids("gateway.pages_server")
    gateways = serving.pids("gateway.http_server")
    assert len(gateways) == 2
    os.kill(pages, signal.SIGKILL)
    with closing(Caller(serving.url, serving.house.issue_key(cast.TRIAGE_BOT), path="/mcp/support")) as agent:
        assert not agent.call("kb_search", query="refund").result.get("isError")
    wait_for(lambda: serving.get("/admin/").status_code == 200, serving.log)
    assert serving.pids("gateway.pages_server") != [pages]
    assert serving.pids("gateway.http_server") == gateways
    for pid in gateways:
        assert resident_megabytes(pid) < GATEWAY_MEGABYTES
    assert serving.stop() == 0
    assert "Traceback" not in serving.log.read_text()


def test_the_socket_of_the_pages_is_ours_alone_and_goes_with_them(serving: Serving):
    (pages,) = serving.pids("gateway.pages_server")
    argv = Path(f"/proc/{pages}/cmdline").read_bytes().split(b"\0")
    path = Path(argv[-2].decode())
    wait_for(path.exists, serving.log)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert serving.stop() == 0
    assert not path.parent.exists()


def test_a_gateway_loads_nothing_of_the_pages(installation: Installation):
    loaded = subprocess.run(
        [sys.executable, "-c", WHAT_IS_LOADED],
        env=installation.environment
        | {"PYTHONPATH": str(REPOSITORY), "DJANGO_SETTINGS_MODULE": "config.settings_gateway"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    assert "gateway.pipeline" in loaded
    assert not [name for name in loaded if name.startswith((*PAGE_LIBRARIES, *ON_DEMAND, "gateway.console"))]


def test_a_gateway_without_pages_serves_calls_and_says_so_to_browsers(installation: Installation):
    url = installation.start_gateway()
    assert httpx.get(f"{url}/admin/").status_code == 503
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_screen_is_only_for_somebody_signed_in(installation: Installation):
    url = installation.start_gateway(pages=True)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
        "Origin": url,
    }
    assert httpx.get(f"{url}/admin/", timeout=20, follow_redirects=True).status_code == 200
    assert httpx.get(f"{url}/ws/anything/", headers=headers, timeout=20).status_code == 403
    assert "Traceback" not in installation.log()
