"""A destination of evidence as a process of its own: `python -m bench.evidence_receivers KIND LATE`.

The strict fakes of the tests where there is no real server to be had, and real ones where there is. It prints how it is
reached, as one line of JSON, and ends with its standard input. A fake answers after LATE seconds.
"""

import hmac
import json
import logging
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Producer

from tests.audit.sinks.fake_otlp import API_KEY, FakeOtlp
from tests.audit.sinks.fake_sentinel import CLIENT_ID, DCR, SECRET, STREAM, TENANT, FakeSentinel
from tests.audit.sinks.fake_splunk import TOKEN, FakeSplunk
from tests.audit.sinks.records import answer
from tests.audit.sinks.rsyslogd import rsyslogd
from tests.object_store import ACCESS_KEY, SECRET_KEY, object_store

Fake = Callable[[httpx.Request], httpx.Response]
Reached = dict[str, Any]
"""`settings` and `secret` of the sink; `port` of a fake, wherever the sink believes to send."""

WEBHOOK_KEY = "a-key-of-the-bench"
POLLS_UNTIL_INDEXED = 2
"""With Splunk's pauses that is 2.4 seconds after the last request; only where the fakes are late."""


def check_webhook(request: httpx.Request) -> httpx.Response:
    """Whether it is signed as Standard Webhooks has it, and an array."""
    told = [request.headers[f"webhook-{name}"] for name in ("id", "timestamp")]
    signed = b"%b.%b.%b" % (*(text.encode() for text in told), request.content)
    right = b64encode(hmac.digest(WEBHOOK_KEY.encode(), signed, "sha256")).decode()
    return answer(200 if request.headers["webhook-signature"] == f"v1,{right}" else 401)


@contextmanager
def served(fake: Fake, late: float, settings: dict[str, Any], secret: str) -> Iterator[Reached]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            began = time.monotonic()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            url = f"https://{self.headers['Host']}{self.path}"
            told = fake(httpx.Request("POST", url, headers=self.headers.items(), content=body))
            time.sleep(max(0.0, began + late - time.monotonic()))
            content = told.read()
            self.send_response(told.status_code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"settings": settings, "secret": secret, "port": server.server_port}
        server.shutdown()


def splunk(late: float) -> AbstractContextManager[Reached]:
    fake = FakeSplunk(polls_until_indexed=POLLS_UNTIL_INDEXED if late else 0)
    return served(fake, late, {"url": "https://splunk.corp.example:8088"}, TOKEN)


def sentinel(late: float) -> AbstractContextManager[Reached]:
    endpoint = "https://gatehouse-abcd.westeurope-1.ingest.monitor.azure.com"
    settings = {"endpoint": endpoint, "dcr": DCR, "stream": STREAM, "tenant": TENANT, "client_id": CLIENT_ID}
    return served(FakeSentinel(), late, settings, SECRET)


def otlp(late: float) -> AbstractContextManager[Reached]:
    return served(FakeOtlp(), late, {"url": "https://collector.corp.example:4318"}, API_KEY)


def webhook(late: float) -> AbstractContextManager[Reached]:
    return served(check_webhook, late, {"url": "https://soc.corp.example/hook"}, WEBHOOK_KEY)


@contextmanager
def kafka(_: float) -> Iterator[Reached]:
    """librdkafka's own cluster, in this process."""
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 2, "log_level": 0})
    brokers = cluster.list_topics(timeout=30).brokers.values()
    told = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    yield {"settings": {"brokers": told, "topic": "audit", "security": "plaintext"}, "secret": ""}
    del cluster


@contextmanager
def s3(_: float) -> Iterator[Reached]:
    with object_store() as store:
        settings = {"bucket": store.locked_bucket("evidence"), "endpoint": store.url, "lock": "governance"}
        yield {"settings": settings, "secret": f"{ACCESS_KEY}:{SECRET_KEY}"}


@contextmanager
def syslog(_: float) -> Iterator[Reached]:
    with tempfile.TemporaryDirectory(prefix="gatehouse-rsyslog-") as folder, rsyslogd(Path(folder)) as found:
        settings = {"host": "localhost", "port": found.port, "ca": found.authority.pem.decode()}
        yield {"settings": settings, "secret": found.authority.issue("gw1").both}


RECEIVERS: dict[str, Callable[[float], AbstractContextManager[Reached]]] = {
    "splunk": splunk,
    "sentinel": sentinel,
    "s3": s3,
    "kafka": kafka,
    "syslog": syslog,
    "otlp": otlp,
    "webhook": webhook,
}
FAKES = ("splunk", "sentinel", "otlp", "webhook")

if __name__ == "__main__":
    logging.disable()
    kind, late = sys.argv[1:]
    with RECEIVERS[kind](float(late)) as reached:
        print(json.dumps(reached), flush=True)
        sys.stdin.read()
