"""One call, to see whether a target serves."""

import http.client
import json
from urllib.parse import urlsplit

PROBE = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "probe"}}}


def is_answering(origin: str, path: str, token: str) -> bool:
    """Does it answer one call rightly?"""
    address = urlsplit(origin)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request("POST", path, json.dumps(PROBE), headers)
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return bool(answer.get("result", {}).get("content") == [{"type": "text", "text": "probe"}])
