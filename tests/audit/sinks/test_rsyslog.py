"""Against a real rsyslog that takes TLS only, from clients with a certificate only."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from audit.sinks import syslog
from tests.audit.sinks.records import record, records
from tests.audit.sinks.rsyslogd import Rsyslog, rsyslogd
from tests.services import Unavailable

DEADLINE_SECONDS = 60


def await_condition(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < ends_at, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[Rsyslog]:
    try:
        with rsyslogd(tmp_path) as found:
            yield found
    except Unavailable as missing:
        told = f"missing service: {missing}"
        pytest.fail(told) if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip(told)


def test_every_event_arrives_as_one_message_that_rsyslog_understands(rsyslog: Rsyslog):
    authority, received = rsyslog.authority, rsyslog.received
    settings = {"host": "localhost", "port": rsyslog.port, "ca": authority.pem.decode(), "hostname": "gw1"}
    sink = syslog.Syslog(syslog.Settings.of(settings), authority.issue("gw1").both, lambda *_: ["127.0.0.1"])

    sink.send(records(300))
    sink.send([record(300, note="x" * 20_000), record(301)])

    await_condition(lambda: received.exists() and received.read_bytes().count(b"\n") >= 302)
    messages = [orjson.loads(line) for line in received.read_bytes().splitlines()]
    assert len(messages) == 302
    assert {(message["kind"], message["host"], message["priority"]) for message in messages} == {
        ("EVENT", "gw1", "110")
    }
    for index, message in enumerate(messages):
        assert f'org="acme" event_id="{record(index).event_id}" idx="{index}"' in message["data"]
        assert orjson.loads(message["message"])["leaf_index"] == index
    assert 'cut_from="' in messages[300]["data"]
