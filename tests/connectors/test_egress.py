import asyncio
import datetime
import socket
import ssl
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors import http1
from connectors.base import UpstreamFailure
from connectors.egress import Egress, judged_addresses
from connectors.http1 import Answer, Connection
from tests.connectors.conftest import LOOPBACK
from tests.connectors.servers import ScriptedServer, Turn, eventually, listening


class NameServer:
    """A resolver under the test's control; every look-up is noted."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] = addresses
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if not self.addresses:
            raise OSError("no such host")
        return self.addresses


async def read_all(answer: Answer) -> tuple[int, bytes]:
    pieces = []
    while (piece := await answer.chunk()) is not None:
        pieces.append(piece)
    return answer.status, b"".join(pieces)


async def fetch(egress: Egress, url: str, *, timeout_seconds: float = 3.0) -> tuple[int, bytes]:
    return await egress.send("POST", url, headers=(), body=b"{}", timeout_seconds=timeout_seconds, read=read_all)


async def refused(egress: Egress, url: str) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        await fetch(egress, url)
    return caught.value


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "100.127.255.255",
        "0.0.0.0", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
        "192.88.99.1", "168.63.129.16",
        "[::]", "[::1]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]", "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]", "[2001::1]", "[2001:db8::1]", "[100::1]", "[3fff::1]", "[5f00::1]",
        "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.1", "127.0.1", "１２７.0.0.1", "localhost",
    ],
)  # fmt: skip
async def test_addresses_inside_are_refused_however_they_are_spelled(host: str) -> None:
    failure = await refused(Egress(), f"http://{host}/mcp")
    assert (failure.code, failure.reached) == ("address_refused", False)


@pytest.mark.parametrize("addresses", [("10.0.0.5",), ("93.184.216.34", "127.0.0.1"), ("::ffff:10.0.0.5",)])
async def test_a_name_is_refused_when_any_of_its_addresses_is_inside(addresses: tuple[str, ...]) -> None:
    failure = await refused(Egress(resolve=NameServer(*addresses)), "http://innocent.example/mcp")
    assert (failure.code, failure.reached) == ("address_refused", False)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_public_addresses_pass_the_guard(address: str) -> None:
    assert [str(judged) for judged in judged_addresses([address], allowed_networks=())] == [address]


def test_an_allowed_network_opens_itself_and_nothing_beside_it() -> None:
    allowed = (ip_network("10.1.0.0/16"),)
    judged = judged_addresses(["10.1.2.3", "::ffff:10.1.2.3"], allowed_networks=allowed)
    assert [str(address) for address in judged] == ["10.1.2.3", "10.1.2.3"]
    with pytest.raises(UpstreamFailure):
        judged_addresses(["10.2.0.1"], allowed_networks=allowed)


@pytest.mark.parametrize(
    "url",
    ["ftp://a/", "file:///etc/passwd", "http://", "http:///x", "http://u:p@a/", "http://a/#f", "http://a/ b",
     "a",
     "http://a:99999/", "http://a\r\nX: y/", "http://[::1/", "//a/", "http://a/ü", "gopher://a/"],
)  # fmt: skip
async def test_only_plain_http_urls_are_taken(url: str) -> None:
    names = NameServer("127.0.0.1")
    failure = await refused(Egress(allowed_networks=LOOPBACK, resolve=names), url)
    assert (failure.code, failure.reached, names.asked) == ("bad_url", False, [])


async def test_the_judged_address_is_the_one_connected_to(upstream: ScriptedServer) -> None:
    names = NameServer("127.0.0.1")
    egress = Egress(allowed_networks=LOOPBACK, resolve=names)
    url = upstream.url.replace("127.0.0.1", "up.invalid")
    for _ in range(3):
        assert (await fetch(egress, url))[0] == 202
    assert names.asked == ["up.invalid"]
    assert {seen.headers["host"] for seen in upstream.requests} == {url.split("/")[2]}
    assert upstream.connections == 1


async def test_rebinding_to_an_inside_address_is_noticed_and_idle_connections_are_left(
    upstream: ScriptedServer,
) -> None:
    names = NameServer("127.0.0.1")
    egress = Egress(allowed_networks=LOOPBACK, resolve=names, address_ttl_seconds=0.0)
    url = upstream.url.replace("127.0.0.1", "up.invalid")
    await fetch(egress, url)
    names.addresses = ["169.254.169.254"]
    assert (await refused(egress, url)).code == "address_refused"
    await eventually(lambda: upstream.cut_connections == 1)
    assert len(upstream.requests) == 1


async def test_a_connection_to_an_address_that_is_gone_is_not_used_again(upstream: ScriptedServer) -> None:
    names = NameServer("127.0.0.1")
    egress = Egress(allowed_networks=(*LOOPBACK, ip_network("::1/128")), resolve=names, address_ttl_seconds=0.0)
    url = upstream.url.replace("127.0.0.1", "up.invalid")
    await fetch(egress, url)
    names.addresses = ["::1"]
    assert (await refused(egress, url)).code == "connect_failed"
    assert len(upstream.requests) == 1


async def test_the_next_address_is_tried_when_one_does_not_connect(upstream: ScriptedServer) -> None:
    egress = Egress(allowed_networks=LOOPBACK, resolve=NameServer("127.0.0.2", "127.0.0.1"))
    assert (await fetch(egress, upstream.url.replace("127.0.0.1", "up.invalid")))[0] == 202


@pytest.mark.parametrize("addresses", [(), ("not an address",)])
async def test_a_name_without_addresses_was_surely_not_reached(addresses: tuple[str, ...]) -> None:
    failure = await refused(Egress(resolve=NameServer(*addresses)), "http://nowhere.example/")
    assert (failure.code, failure.reached) == ("connect_failed", False)


async def test_proxies_from_the_environment_are_ignored(
    upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await fetch(Egress(allowed_networks=LOOPBACK), upstream.url))[0] == 202


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "\u4e2d"])
async def test_a_header_that_would_split_the_request_is_refused_unsent(upstream: ScriptedServer, value: str) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        await Egress(allowed_networks=LOOPBACK).send(
            "POST",
            upstream.url,
            headers=[("Authorization", value)],
            body=b"",
            timeout_seconds=1,
            read=read_all,
        )
    assert (caught.value.code, caught.value.reached, upstream.requests) == ("bad_request", False, [])
    assert value not in str(caught.value)


async def test_connections_are_kept_alive_and_a_closed_one_is_replaced(upstream: ScriptedServer) -> None:
    async def answer_and_close(turn: Turn) -> None:
        await turn.respond(b"{}")
        turn.writer.close()

    upstream.scripts["response"] = answer_and_close
    egress = Egress(allowed_networks=LOOPBACK)
    for _ in range(20):
        assert await fetch(egress, upstream.url) == (200, b"{}")
    assert len(upstream.requests) == 20


async def test_a_request_on_a_connection_that_dies_under_it_is_not_repeated(upstream: ScriptedServer) -> None:
    async def answer_once(turn: Turn) -> None:
        if len(upstream.requests) > 1:
            turn.reset()
        else:
            await turn.respond(b"{}")

    upstream.scripts["response"] = answer_once
    egress = Egress(allowed_networks=LOOPBACK)
    await fetch(egress, upstream.url)
    failure = await refused(egress, upstream.url)
    assert (failure.code, failure.reached, len(upstream.requests)) == ("reset", True, 2)


async def test_nothing_is_sent_on_a_connection_that_was_closed_before() -> None:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, connection = await loop.create_connection(lambda: Connection(loop, address=None), sock=ours)
    theirs.close()
    await eventually(transport.is_closing)
    await asyncio.sleep(0.01)
    with pytest.raises(UpstreamFailure) as caught:
        async with asyncio.timeout(30):
            await connection.send(b"POST / HTTP/1.1\r\n\r\n")
    assert (caught.value.code, caught.value.reached) == ("connect_failed", False)


async def test_bytes_nobody_asked_for_end_the_connection(upstream: ScriptedServer) -> None:
    async def answer_twice(turn: Turn) -> None:
        await turn.respond(b"{}")
        await asyncio.sleep(0.01)
        await turn.respond(b'{"forged": true}')

    upstream.scripts["response"] = answer_twice
    egress = Egress(allowed_networks=LOOPBACK)
    for _ in range(3):
        assert await fetch(egress, upstream.url) == (200, b"{}")
        await asyncio.sleep(0.02)
    assert upstream.connections == 3


async def test_a_cancelled_exchange_closes_its_connection_at_once(upstream: ScriptedServer) -> None:
    async def never(turn: Turn) -> None:
        await turn.reader.readexactly(1)

    upstream.scripts["response"] = never
    task = asyncio.create_task(fetch(Egress(allowed_networks=LOOPBACK), upstream.url))
    await eventually(lambda: len(upstream.requests) == 1)
    task.cancel()
    await eventually(lambda: upstream.cut_connections == 1, within_seconds=0.9 * http1.DRAIN_SECONDS)


async def test_who_waits_for_a_connection_in_vain_has_sent_nothing_and_takes_none_away(
    upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(turn: Turn) -> None:
        await turn.reader.readexactly(1)

    monkeypatch.setattr("connectors.egress.CONNECTIONS_PER_ORIGIN", 1)
    upstream.scripts["response"] = never
    egress = Egress(allowed_networks=LOOPBACK)
    first = asyncio.create_task(fetch(egress, upstream.url))
    await eventually(lambda: len(upstream.requests) == 1)
    with pytest.raises(UpstreamFailure) as caught:
        await fetch(egress, upstream.url, timeout_seconds=0.05)
    assert (caught.value.code, caught.value.reached, len(upstream.requests)) == ("timeout", False, 1)
    del upstream.scripts["response"]
    third = asyncio.create_task(fetch(egress, upstream.url))
    first.cancel()
    assert (await third)[0] == 202


async def test_a_large_answer_read_slowly_is_held_back_not_piled_up(upstream: ScriptedServer) -> None:
    size = 8 * 1024 * 1024

    async def large(turn: Turn) -> None:
        await turn.respond(b"x" * size)

    async def slowly(answer: Answer) -> tuple[int, int]:
        total = largest = 0
        while (piece := await answer.chunk()) is not None:
            total, largest = total + len(piece), max(largest, len(piece))
            for _ in range(100):
                await asyncio.sleep(0)
        return total, largest

    upstream.scripts["response"] = large
    total, largest = await Egress(allowed_networks=LOOPBACK).send(
        "POST", upstream.url, headers=(), body=b"", timeout_seconds=10, read=slowly
    )
    assert total == size
    assert largest <= 1024 * 1024


def certificate_for(name: str, folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_certificates_are_verified_for_the_name_while_the_address_is_pinned(tmp_path: Path) -> None:
    scripted = ScriptedServer()
    presented = certificate_for("up.invalid", tmp_path)
    trust = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    names = NameServer("127.0.0.1")
    trusting = Egress(allowed_networks=LOOPBACK, resolve=names, trust=trust)
    async with listening(scripted.serve, tls=presented) as port:
        assert (await fetch(trusting, f"https://up.invalid:{port}/"))[0] == 202
        wrong_name = await refused(trusting, f"https://other.invalid:{port}/")
        untrusted = await refused(Egress(allowed_networks=LOOPBACK, resolve=names), f"https://up.invalid:{port}/")
        for failure in (wrong_name, untrusted):
            assert (failure.code, failure.reached) == ("connect_failed", False)
        assert len(scripted.requests) == 1
        trusting.close()
