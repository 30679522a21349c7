"""A real rsyslog that takes TLS only, from clients with a certificate only, and writes what came into a file."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.audit.sinks.certificates import Authority
from tests.services import Unavailable, wait_until

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


@dataclass(frozen=True, slots=True)
class Rsyslog:
    port: int
    authority: Authority
    received: Path


@contextmanager
def rsyslogd(folder: Path) -> Iterator[Rsyslog]:
    binary = shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        raise Unavailable("rsyslog with rsyslog-gnutls")
    authority = Authority()
    issued = authority.issue("localhost")
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "server.pem").write_bytes(issued.certificate)
    (folder / "server.key").write_bytes(issued.key)
    (folder / "rsyslog.conf").write_text(CONFIGURATION.format(folder=folder))
    command = [binary, "-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid"]
    log, port = folder / "output", folder / "port"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: port.exists() and bool(port.read_text().strip()), process, log)
        yield Rsyslog(int(port.read_text()), authority, folder / "received")
    finally:
        process.kill()
        process.wait(30)
