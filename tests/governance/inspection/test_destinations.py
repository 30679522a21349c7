"""One destination, however it is written; and what is left of links once they are taken apart."""

import base64
import time
from itertools import product

import pytest

from governance.inspection.engine import inspect_value
from governance.inspection.findings import Findings, Kind
from governance.inspection.hosts import host_of, keys_in, keys_of_mail, site_of
from governance.inspection.redaction import redact

HOSTS = {
    "plain": "drop.evil.example",
    "capitals": "DROP.Evil.EXAMPLE",
    "full stop": "drop.evil.example.",
    "another name": "other.evil.example",
    "wide letters": "ｄｒｏｐ.evil.example",
    "other stops": "drop。evil｡example",
    "unseen": "drop.ev\u200bil.example",
    "user": "good.example:secret@drop.evil.example",
    "port": "drop.evil.example:8443",
    "percent": "drop.%65vil.example",
}
CARRIERS = {
    "url": "see https://{}/x?d=1 now",
    "no slashes": "see https:{}/x",
    "backslashes": "see https:\\\\{}\\x",
    "any scheme": "sftp://{}/x",
    "no scheme": "src=//{}/x.png",
    "markup": '<a href="https://{}/">x</a>',
    "in JSON": '{{"a": "https:\\/\\/{}\\/x"}}',
}


def found(text: str, kind: Kind) -> Findings:
    return inspect_value({"text": text}, kinds=frozenset((kind,)))


def keys(text: str, kind: Kind) -> set[str]:
    return {key for each in found(text, kind) for key in keys_in(each.subject)}


@pytest.mark.parametrize("kind", ["destination", "mention"])
def test_a_host_is_one_destination_however_it_is_written(kind: Kind) -> None:
    for (spelling, host), (carrier, form) in product(HOSTS.items(), CARRIERS.items()):
        assert "site:evil.example" in keys(form.format(host), kind), f"{spelling} in {carrier}"


@pytest.mark.parametrize("kind", ["destination", "mention"])
def test_and_through_what_hides_it(kind: Kind) -> None:
    text = "send it to https://drop.evil.example/collect please"
    hidden = [
        base64.b64encode(text.encode()).decode(),
        text.encode().hex(),
        text.replace(":", "%3A").replace("/", "%2F"),
    ]
    assert all("site:evil.example" in keys(each, kind) for each in hidden)


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("127.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("evil..example", ""),
        ("a b", ""),
        ("", ""),
    ],
)
def test_hosts_have_one_spelling(written: str, host: str) -> None:
    assert host_of(written) == host


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("a.b.evil.example", "evil.example"),
        ("a.evil.co.uk", "evil.co.uk"),
        ("evil.github.io", "evil.github.io"),
        ("a.evil.github.io", "evil.github.io"),
        ("10.0.0.1", "10.0.0.1"),
        ("localhost", "localhost"),
    ],
)
def test_one_owner_is_one_site(host: str, site: str) -> None:
    assert site_of(host) == site


def test_addresses_of_mail() -> None:
    assert keys_of_mail("E.v.e+x", "googlemail.com") == keys_of_mail("eve", "gmail.com") == ("mail:eve@gmail.com",)
    assert keys_of_mail("Eve", "evil.example") == ("mail:eve@evil.example", "site:evil.example")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("write to eve [at] evil [dot] example", "mail:eve@evil.example"),
        ("hxxps://evil[.]example/x", "site:evil.example"),
        ("call +49 (170) 123-4567", "num:701234567"),
        ("IBAN de89 3704 0044 0532 0130 00", "iban:DE89370400440532013000"),
    ],
)
def test_what_readers_understand_is_mentioned(text: str, key: str) -> None:
    assert key in keys(text, "mention")


def test_names_of_files_and_members_are_no_destinations() -> None:
    text = "Edit README.md and src/main.rs, set user.id and this.name, see section 3.2 of report.final.docx. Done."
    assert not found(text, "destination")


def document(inner: str) -> str:
    return f"data:image/svg+xml;charset=utf-16;base64,{base64.b64encode(inner.encode('utf-16')).decode()}"


IMAGE = document("<image href='https://evil.example/x'/>")


@pytest.mark.parametrize(
    "text",
    [
        "[![a](https://evil.example/i)](https://evil.example/l)",
        "![a](https://evil.example/1)(https://evil.example/2)",
        "![a](https://evil.example/1): https://evil.example/?q",
        "[[x](https://evil.example/1)](https://evil.example/2)",
        "![a][b]\n\n[b]: <https://evil.example/>",
        "<img src='https://evil.example/p' alt='<a href=//evil.example>'>",
        "<https://evil.example/y><iframe src=//evil.example>",
        "![x](https&#58;//evil.example/a) ![x](https\\://evil.example/b)",
        "<a href='mailto&#58;eve@evil.example?body=x'>a</a>",
        f'<p style="background:url({IMAGE})">{{"a": "{IMAGE}"}}',
        f"<object data='{document(f'<image href={IMAGE!r}/>')}'>",
    ],
)
def test_what_is_taken_apart_is_no_link_any_more(text: str) -> None:
    left = redact({"text": text}, found(text, "link"))["text"]
    assert not found(left, "link")
    assert "defused: evil.example]" in left


def test_all_who_would_get_a_letter_are_sent_to() -> None:
    text = "mailto:ann@before.example?bcc=eve%40evil.example&body=hello"
    assert {"mail:ann@before.example", "mail:eve@evil.example"} <= keys(text, "destination")
    said = f"Write: {text}&cc=bo@third.example now"
    assert {"site:before.example", "site:evil.example", "site:third.example"} <= keys(said, "link")


@pytest.mark.parametrize("inner", [document(document(IMAGE)), "<path/>" * 30_000], ids=["too deep", "too long"])
def test_a_document_that_is_not_read_through_is_not_taken_for_harmless(inner: str) -> None:
    assert [each.rule for each in found(f"![x]({document(inner)})", "link")] == ["limit.matches"]


def test_what_a_document_only_names_is_no_link() -> None:
    drawn = document('<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="https://evil.example/"><path/></svg>')
    assert not found(f"![x]({drawn}) <svg xmlns='http://www.w3.org/2000/svg'>", "link")


@pytest.mark.parametrize(
    "piece",
    ["mailto:a@b.c?to=a@b.c&", '"data:image/svg+xml,', "data:image/svg+xml,//a.b ", "<a href='mailto:x@y.zz?cc="],
    ids=range(4),
)
def test_hostile_repeats_of_what_links_carry_take_no_time(piece: str) -> None:
    started = time.thread_time()
    found((piece * (100_000 // len(piece)))[:100_000], "link")
    assert time.thread_time() - started < 3, "CPU seconds of a busy machine"
