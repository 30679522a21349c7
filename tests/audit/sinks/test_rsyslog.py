"""Against a real rsyslog that takes TLS only, from clients with a certificate only."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from audit.sinks import syslog
from tests.audit.sinks.certificates import Authority
from tests.audit.sinks.records import record, records

RSYSLOG = shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin")
DEADLINE_SECONDS = 60
CONFIGURATION = """
global(workDirectory="{folder}"
       defaultNetstreamDriverCAFile="{folder}/ca.pem"
       defaultNetstreamDriverCertFile="{folder}/server.pem"
       defaultNetstreamDriverKeyFile="{folder}/server.key")
module(load="imtcp" streamdriver.name="gtls" streamdriver.mode="1" streamdriver.authmode="x509/certvalid")
template(name="parsed" type="list" option.json="on") {{
  constant(value="{{\\"data\\":\\"") property(name="structured-data")
  constant(value="\\",\\"kind\\":\\"") property(name="msgid")
  constant(value="\\",\\"host\\":\\"") property(name="hostname")
  constant(value="\\",\\"priority\\":\\"") property(name="pri")
  constant(value="\\",\\"message\\":\\"") property(name="msg")
  constant(value="\\"}}\\n")
}}
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{folder}/port" ruleset="keep")
ruleset(name="keep") {{ action(type="omfile" file="{folder}/received" template="parsed") }}
"""


def await_condition(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < ends_at, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[tuple[int, Authority, Path]]:
    if RSYSLOG is None:
        missing = "missing service: rsyslog with rsyslog-gnutls"
        pytest.fail(missing) if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip(missing)
    authority = Authority()
    issued = authority.issue("localhost")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "server.pem").write_bytes(issued.certificate)
    (tmp_path / "server.key").write_bytes(issued.key)
    (tmp_path / "rsyslog.conf").write_text(CONFIGURATION.format(folder=tmp_path))
    command = [RSYSLOG, "-n", "-f", tmp_path / "rsyslog.conf", "-i", tmp_path / "pid"]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        await_condition(lambda: process.poll() is not None or (tmp_path / "port").exists())
        assert process.poll() is None, (tmp_path / "output").read_text()
        await_condition(lambda: (tmp_path / "port").read_text().strip() != "")
        yield int((tmp_path / "port").read_text()), authority, tmp_path / "received"
    finally:
        process.kill()
        process.wait(30)


def test_every_event_arrives_as_one_message_that_rsyslog_understands(rsyslog: tuple[int, Authority, Path]):
    port, authority, received = rsyslog
    settings = {"host": "localhost", "port": port, "ca": authority.pem.decode(), "hostname": "gw1"}
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
