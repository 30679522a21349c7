"""A local MCP server on the standard library alone, which behaves as its arguments say: the first is the era (`modern`,
`legacy`, `silent_probe`: legacy without an answer to what it does not know), the others are bad habits."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

ERA, *HABITS = sys.argv[1:] or ["modern"]
CAPABILITIES = {"tools": {"listChanged": True}, "resources": {"subscribe": True, "listChanged": True}}
TOOLS = (
    *("echo", "environment", "pid", "die", "huge", "slow", "detach", "ask", "log", "eat", "change", "seen"),
    "declared",
)
RESULTS = {
    "tools/list": {"tools": [{"name": name} for name in TOOLS], "resultType": "complete"},
    "resources/list": {"resources": [{"uri": "file:///handbook/leave.md", "name": "leave", "title": "Taking leave"}]},
    "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "file:///handbook/{page}", "name": "page"}]},
    "resources/subscribe": {},
    "resources/unsubscribe": {},
}
if ERA == "modern":
    RESULTS["server/discover"] = {
        "supportedVersions": ["2026-07-28"],
        "capabilities": CAPABILITIES,
        "resultType": "complete",
    }
else:
    RESULTS["initialize"] = {
        "protocolVersion": "2024-11-05",
        "capabilities": CAPABILITIES,
        "serverInfo": {"name": "local", "version": "1"},
    }
SEEN: list[str] = []
DECLARED: list[Any] = []
CANCELLED: dict[int, threading.Event] = {}
ANSWERS: dict[str, dict[str, Any]] = {}
ANSWERED = threading.Condition()
WRITING = threading.Lock()
DAEMON = """
import os, time
if os.fork():
    os._exit(0)
os.setsid()
print(os.getpid(), flush=True)
os.close(1)
time.sleep(600)
"""


def say(**message: Any) -> None:
    line = json.dumps({"jsonrpc": "2.0", **message}) + "\n"
    with WRITING:
        os.write(1, line.encode()) if len(line) < 4096 else _write_all(line.encode())


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def text(value: object) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": str(value)}], "resultType": "complete"}


def slow(message: dict[str, Any]) -> None:
    request_id = message["id"]
    token = message["params"].get("_meta", {}).get("progressToken")
    if token is not None:
        for step in (1, 2):
            say(method="notifications/progress", params={"progressToken": token, "progress": step})
    event = CANCELLED.setdefault(request_id, threading.Event())
    if not event.wait(message["params"]["arguments"].get("seconds", 30)):
        say(id=request_id, result=text("late"))


def ask(message: dict[str, Any]) -> None:
    question = f"q{message['id']}"
    say(id=question, method="elicitation/create", params={"message": "Who?", "requestedSchema": {}})
    with ANSWERED:
        ANSWERED.wait_for(lambda: question in ANSWERS, timeout=10)
    say(id=message["id"], result=text(json.dumps(ANSWERS.get(question))))


def detach() -> int:
    """A daemon of its own session, as far away from us as a process gets."""
    made = subprocess.run([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, check=True)
    return int(made.stdout)


def call(message: dict[str, Any]) -> None:
    name, arguments = message["params"]["name"], message["params"].get("arguments", {})
    if name in ("slow", "ask"):
        threading.Thread(target={"slow": slow, "ask": ask}[name], args=(message,), daemon=True).start()
        return
    if name == "die":
        print("last words: " + os.environ.get("TOKEN", "none"), file=sys.stderr, flush=True)
        os._exit(7)
    if name == "eat":
        eaten = [bytearray(1024 * 1024) for _ in range(arguments["mb"])]
        say(id=message["id"], result=text(len(eaten)))
        return
    if name == "log":
        say(method="notifications/message", params={"level": "info", "data": "logged"})
    if name == "change":
        say(method="notifications/tools/list_changed", params={})
        say(method="notifications/resources/updated", params={"uri": "file:///a"})
    results = {
        "echo": lambda: arguments,
        "environment": lambda: json.dumps(dict(os.environ)),
        "pid": os.getpid,
        "huge": lambda: "x" * arguments["size"],
        "detach": detach,
        "seen": lambda: json.dumps(SEEN),
        "declared": lambda: json.dumps(DECLARED),
    }
    say(id=message["id"], result=text(results.get(name, lambda: "done")()))


def answer(message: dict[str, Any]) -> None:
    method, request_id = message.get("method"), message.get("id")
    SEEN.append(str(method))
    if method == "initialize":
        DECLARED.append(message["params"]["capabilities"])
    if method is None:
        with ANSWERED:
            ANSWERS[message["id"]] = message
            ANSWERED.notify_all()
    elif method == "tools/call":
        call(message)
    elif method == "notifications/cancelled":
        CANCELLED.setdefault(message["params"]["requestId"], threading.Event()).set()
    elif method in RESULTS:
        say(id=request_id, result=RESULTS[method])
    elif request_id is not None and method != "subscriptions/listen" and ERA != "silent_probe":
        say(id=request_id, error={"code": -32601, "message": "no such method"})


def crash() -> None:
    print("no configuration: " + os.environ.get("TOKEN", ""), file=sys.stderr, flush=True)
    sys.exit(3)


def mute() -> None:
    time.sleep(600)


def greet() -> None:
    print("Welcome to the server!\n{not json}\n[1]", flush=True)


def chatter() -> None:
    while True:
        print("blah", flush=True)


def endless() -> None:
    while True:
        os.write(1, b"x" * 65536)


def strays() -> None:
    threading.Thread(target=_stray, daemon=True).start()


def stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def shout() -> None:
    for number in range(20_000):
        print(f"line {number} " + os.environ.get("TOKEN", ""), file=sys.stderr)
    sys.stderr.flush()


def _stray() -> None:
    while True:
        say(method="notifications/message", params={"level": "info", "data": "noise"})


for habit in HABITS:
    globals()[habit]()
for line in sys.stdin:
    answer(json.loads(line))
if "stubborn" in HABITS:
    time.sleep(600)
