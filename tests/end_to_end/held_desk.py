"""A person who decides, in a process of her own, and calls of clients that can wait for her."""

import json
import subprocess
import sys
from typing import Any

from tests.end_to_end.installation import REPOSITORY, Installation
from tests.end_to_end.wire import META, Caller, modern_headers, modern_message

TASKS: dict[str, Any] = {"extensions": {f"{META}tasks": {}}}


class Approver:
    """See approver.py."""

    def __init__(self, house: Installation, email: str) -> None:
        own = {"PYTHONPATH": str(REPOSITORY), "DJANGO_SETTINGS_MODULE": "config.settings_gateway"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.approver", email],
            env=house.environment | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._said() == "ready"

    def decide(self, verdict: str) -> str:
        """Waits until somebody is asked; the name of the request."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{verdict}\n")
        self._process.stdin.flush()
        name = self._said()
        assert name.startswith("APR-"), self._process.poll()
        return name

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def modern_call(tool: str, arguments: dict[str, Any], capabilities: Any, **params: Any) -> dict[str, Any]:
    return modern_request("tools/call", {"name": tool, "arguments": arguments, **params}, capabilities)


def modern_request(method: str, params: dict[str, Any], capabilities: Any) -> dict[str, Any]:
    message = modern_message(method, params)
    message["params"]["_meta"] |= {f"{META}clientCapabilities": capabilities}
    return message


def post(caller: Caller, message: dict[str, Any]) -> dict[str, Any]:
    """The message that answers it, as JSON or at the end of a stream."""
    headers = modern_headers(message)
    if name := message["params"].get("taskId") or message["params"].get("uri"):
        headers["Mcp-Name"] = name
    reply = caller.post(json.dumps(message).encode(), headers)
    data = [line[6:] for line in reply.body.split(b"\n") if line.startswith(b"data: {")]
    found: dict[str, Any] = json.loads(data[-1] if data else reply.body)
    return found


def result_of(answer: dict[str, Any]) -> dict[str, Any]:
    assert "result" in answer, answer
    found: dict[str, Any] = answer["result"]
    return found
