"""Where something can be sent: hosts, addresses, phone numbers, accounts, each named in one way however it is written.

Two questions, two kinds of finding. `mention`: what does this text make known? Everything that a reader could make a
destination of. `destination`: what would be reached if this were sent? Only what is written as one.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import Final, NamedTuple

from governance.inspection import personal_numbers
from governance.inspection.detector import Detector, Hit
from governance.inspection.findings import Kind, Severity
from governance.inspection.hosts import host_of, keys_of_host, keys_of_mail, words
from governance.inspection.signals import Encoded, Signal, TooManyMatches
from governance.inspection.views import View
from governance.inspection.walk import Leaf

VERSION: Final = 1
MOST: Final = 3_000
"""Addresses of one form in one view, of at most 82,000 characters."""
MOST_NUMBERS: Final = 20_000
"""A table may hold nothing else."""
PHONE_DIGITS: Final = 9
"""The last ones, which are the same with and without the code of a country."""
AUTHORITY: Final = r"""([^\s\\/?#"'<>{}|^`]{1,512})"""
URL: Final = Signal(
    "destination.url",
    r"(?:(?:https?|hxxps?|wss?|ftps?):[\\/]{0,16}|[a-z][a-z0-9+.\-]{1,30}:[\\/]{2,16}|(?:^|[\s\"'(=<>,\[])[\\/]{2})"
    + AUTHORITY
    + r"""([\\/][^\s"'<>?#]{0,256})?""",
    r"""(?:(?:https?|hxxps?|wss?|ftps?):|(?::|^|[\s"'(=<>,\[])[\\/]{2})[\\/]{0,16}[^\s\\/?#"'<>{}|^`]""",
    caseless=True,
    most=MOST,
)
MAIL: Final = Signal(
    "destination.mail",
    r"""([^\s"'<>(),;:\[\]\\@/=?&]{1,64})@(\[[0-9a-fA-F:.]{3,45}\]|[^\s"'<>(),;:\[\]\\@/?&=#!{}|]{1,253})""",
    r"""[^\s"'<>(),;:\[\]\\@/=?&]@[^\s"'<>(),;:\]\\@/?&=#!{}|]""",
    most=MOST,
)
_SIGN: Final = r"(?:[\w\-]|[\x80-\xff])"
_DOT: Final = rf"{_SIGN}(?:\.|\xe3\x80\x82|\xef\xbc\x8e|\xef\xbd\xa1)"
_BEYOND: Final = r"(?:[\xc2-\xe1\xe3-\xf4]|\xe2[\x81-\xbf])"
"""Byte for byte: a letter that is not of ASCII, and no quotation mark or dash."""
HOST: Final = Signal(
    "destination.host",
    rf"{_DOT}[a-z](?:[a-z]|[\x80-\xff])|{_DOT}[\w\-]*{_BEYOND}|{_SIGN}\.{_SIGN}+\.{_SIGN}+\.{_SIGN}",
    caseless=True,
)
"""Tells that a name may stand there; where it does is found by other means."""
DOT: Final = re.compile(r"[.。．｡](?=\w)")
NAME: Final = re.compile(r"[\w-]{1,80}(?:[.。．｡][\w-]{1,80}){1,40}")
LONGEST_LABEL: Final = 80
DIGITS: Final = Signal(
    "destination.number",
    r"\+?\(?[0-9](?:[ .\-/()]{0,3}[0-9]){5,33}",
    r"[0-9](?:[ .\-/()]{0,3}[0-9]){5}",
    most=MOST_NUMBERS,
)
IBAN: Final = Signal(
    "destination.iban",
    r"[A-Z]{2}[0-9]{2}(?:[ \-.]?[A-Z0-9]){11,30}",
    r"[A-Z]{2}[0-9]{2}(?:[ \-.]?[A-Z0-9]){11}",
    caseless=True,
    most=MOST,
)
WALLET: Final = Signal(
    "destination.wallet",
    r"0[xX][0-9a-fA-F]{40}|bc1[a-z0-9]{25,62}|[13][1-9A-HJ-NP-Za-km-z]{25,34}",
    r"0[xX][0-9a-fA-F]{40}|bc1[a-z0-9]{25}|[13][1-9A-HJ-NP-Za-km-z]{25}",
    most=MOST,
)
CALLED: Final = re.compile(
    r"phone|mobil|\bcell|\btel|\bfax|whatsapp|signal|\bsms|\bcall|\bdial|\bring|\btext\b|a/?cc(?:oun)?t|konto|iban|"
    r"sort.?code|routing|\bbic\b|swift|wallet|card|\bpay\b|transfer|recipient|beneficiary|contact",
    re.IGNORECASE,
)
"""What makes a number one that reaches somebody."""
CALLED_WITHIN: Final = 32
RECEIVES: Final = re.compile(
    r"ur[il]|host|domain|server|endpoint|webhook|callback|link|href|src|site|origin|target|remote|proxy|address|"
    r"recipient|\bto\b|\bcc\b|bcc|dest|upstream|registry|repo|peer|email|mail",
    re.IGNORECASE,
)
"""Names of arguments that say where to."""
REACHES: Final = Signal(
    "destination.reaches",
    r"\b(?:curl|wget|nc|ncat|netcat|ssh|scp|sftp|ftp|telnet|ping|dig|nslookup|host|rsync|httpie?|aria2c|socat|openssl|"
    r"invoke-webrequest|iwr|irm|getaddrinfo|gethostbyname|connect|fetch|requests)\b",
    caseless=True,
)
"""Words beside which even a doubtful name is that of a host."""
ENDINGS: Final = words(
    "com org net edu gov mil int biz app dev io ai co tv cloud online site store shop tech xyz space website "
    "fun icu top club vip live life world today news blog media agency digital solutions services software "
    "systems network email finance bank money capital exchange trade market social chat zone link click quest "
    "buzz pro ltd gmbh academy foundation global international company business tools works host hosting page "
    "wiki ink lol wtf rocks ninja guru expert center support help care health clinic legal law consulting "
    "group team studio design art photo video games game bet casino poker cash loan credit tax ru cn uk de fr "
    "nl eu us ca au jp kr in br it es ch at se no fi dk be pl cz sk hu ro bg gr tr ua by kz il ir sa ae qa za "
    "ng ke eg ma tn mx ar cl pe uy ve nz sg hk tw th vn ph my lk pk bd np ie pt lt lv ee is lu li mc sm va rs "
    "hr si mk al ba xk ge am az md cc ws to me la gg sx st nu tk ml ga cf gq su im je ac sh vg ag bz mn fm pw "
    "onion"
)
DOUBTFUL: Final = words(
    "ac ag ai al am app ar art as at ba be by bin ca cash cc cf center ch cl click club co data date de dev "
    "do email es exchange fm game games gg group help host id im in info int io is it je la legal li life "
    "link live local lock lu ma market mc md media me mil mk ml mn my name net network new news no now nu "
    "online open page photo pl pm poker pro ps pw py rest ro rs ru run sa se services sh show si site sm so "
    "social space st store su support sx systems tax team tel to today tools top trade tv us va video vip "
    "wiki work works world ws zip zone"
)
"""Also endings of files and parts of names in programs."""
FANGS: Final = tuple(
    (re.compile(fang, re.IGNORECASE), plain)
    for fang, plain in (
        (r"\s{0,3}[\[({<]\s{0,3}(?:\.|dot|punkt|point)\s{0,3}[\])}>]\s{0,3}|\s{1,3}dot\s{1,3}", "."),
        (r"\s{0,3}[\[({<]\s{0,3}(?:@|at)\s{0,3}[\])}>]\s{0,3}|\s{1,3}at\s{1,3}(?=[\w-]{1,63}\.)", "@"),
        (r"\[:\]|\[://\]", ":"),
    )
)


class Way(NamedTuple):
    """One way to reach somebody: `keys` name it, the narrowest first. `start` and `end` are where it is written."""

    rule: str
    start: int
    end: int
    keys: tuple[str, ...]


def _look(view: View, leaf: Leaf, occurring: frozenset[str], *, kind: Kind) -> Iterator[Hit]:
    """What a text mentions is told once; what it sends to wherever it stands."""
    seen: set[tuple[str, ...]] = set()
    for way in _mentioned(view, leaf) if kind == "mention" else _reached(view, leaf):
        if kind == "destination" or way.keys not in seen:
            seen.add(way.keys)
            yield Hit(
                way.rule, VERSION, kind, Severity.HIGH, 1.0, way.start, max(way.end, way.start + 1), " ".join(way.keys)
            )


def _reached(view: View, leaf: Leaf) -> Iterator[Way]:
    ways = list(written(view.encoded))
    yield from ways
    bare = list(_bare(view.encoded, ways))
    if bare:
        name, is_reached = "" if leaf.is_key else leaf.name, any(REACHES.find(view.encoded))
        yield from (way for way in bare if is_reached or _is_meant(way, view.text, name))
    yield from _numbers(view.encoded)


def _mentioned(view: View, leaf: Leaf) -> Iterator[Way]:
    ways = list(written(view.encoded))
    yield from ways
    yield from _bare(view.encoded, ways)
    for way in _numbers(view.encoded):
        before = view.text[max(0, way.start - CALLED_WITHIN) : way.start]
        if way.rule != "to_number" or view.text[way.start] == "+" or CALLED.search(before) or CALLED.search(leaf.name):
            yield way
    if MARKED.search(view.text) is not None and (plain := _unspelt(view.text)) != view.text:
        encoded = Encoded(plain)
        for way in (*written(encoded), *_bare(encoded, ())):
            yield way._replace(start=0, end=len(view.text))


def written(encoded: Encoded) -> Iterator[Way]:
    """As addresses are written."""
    text = encoded.text
    if ":" in text or "//" in text or "\\\\" in text:
        for match in URL.find(encoded):
            (start, end), (path, path_end) = match.groups
            host = host_of(text[start:end].rstrip(").,;:!]") if text[start] != "[" else text[start:end])
            if host and ("." in host or ":" in host):
                first = match.start + (text[match.start] in " \t\r\n\"'(=<>,[")
                yield Way(
                    "to_url", first, max(end, path_end), keys_of_host(host, text[path:path_end] if path >= 0 else "")
                )
    if "@" in text:
        for match in MAIL.find(encoded):
            (start, end), (host_start, host_end) = match.groups
            if "." not in text[host_start:host_end] and encoded.is_ascii and text[host_start] != "[":
                continue
            host = host_of(text[host_start:host_end].rstrip("."))
            if "." in host and (host.rpartition(".")[2].isalpha() or "xn--" in host or text[host_start] == "["):
                yield Way("to_email", start, host_end, keys_of_mail(text[start:end], host))


def _bare(encoded: Encoded, ways: Iterable[Way]) -> Iterator[Way]:
    """Names of hosts as they stand. That of a provider of mail says nothing of whose address is meant."""
    text = encoded.text
    if "." not in text and encoded.is_ascii:
        return
    addresses = {way.end for way in ways if way.rule == "to_email" and len(way.keys) == 1}
    for start, end in _names(text):
        host = host_of(text[start:end].strip("-_"))
        ending = host.rpartition(".")[2]
        is_name = len(ending) > 1 and (ending.isalpha() or ending.startswith("xn--"))
        if host and (is_name or text.count(".", start, end) == 3) and end not in addresses:
            yield Way("to_host", start, end, keys_of_host(host, _path_after(text, end)))


def _names(text: str) -> Iterator[tuple[int, int]]:
    """Words with dots in them, from left to right. Raises TooManyMatches."""
    done = 0
    for number, dot in enumerate(DOT.finditer(text)):
        if number >= MOST:
            raise TooManyMatches("destination.host")
        start = dot.start()
        if start < done:
            continue
        least = max(done, start - LONGEST_LABEL)
        while start > least and (text[start - 1].isalnum() or text[start - 1] in "-_"):
            start -= 1
        if (name := NAME.match(text, start)) is not None:
            done = name.end()
            yield start, done


def _path_after(text: str, end: int) -> str:
    return text[end : end + 256].split(None, 1)[0] if text[end : end + 1] in ("/", "\\") else ""


def _is_meant(way: Way, text: str, name: str) -> bool:
    """Is it a host here? `readme.md` and `user.id` are none where nothing is reached."""
    ending = text[way.start : way.end].rstrip("-_").rpartition(".")[2].lower()
    after = text[way.end : way.end + 2]
    if ending.isdigit() or not ending.isascii() or (ending in ENDINGS and ending not in DOUBTFUL):
        return True
    if ending in ENDINGS and (after[:1] == "/" or (after[:1] == ":" and after[1:].isdigit())):
        return True
    is_all = way.end - way.start + len(_path_after(text, way.end)) + 8 >= len(text)
    return is_all and RECEIVES.search(name) is not None


def _numbers(encoded: Encoded) -> Iterator[Way]:
    text = encoded.text
    for match in IBAN.find(encoded):
        plain = re.sub(r"[ \-.]", "", text[match.start : match.end]).upper()
        if number := _iban(plain):
            yield Way("to_iban", match.start, match.end, (f"iban:{number}",))
    for match in WALLET.find(encoded):
        wallet = text[match.start : match.end]
        yield Way("to_wallet", match.start, match.end, (f"wallet:{wallet.lower() if wallet[0] == '0' else wallet}",))
    for match in DIGITS.find(encoded):
        digits = re.sub(r"[^0-9]", "", text[match.start : match.end])
        keys = (f"num:{digits}",) if len(digits) < PHONE_DIGITS else (f"num:{digits}", f"num:{digits[-PHONE_DIGITS:]}")
        yield Way("to_number", match.start, match.end, tuple(dict.fromkeys(keys)))


@lru_cache(2_048)
def _iban(plain: str) -> str:
    """The longest that it begins with."""
    return next((plain[:end] for end in range(len(plain), 14, -1) if personal_numbers.iban(plain[:end])), "")


MARKED: Final = re.compile(r"[\[({<]\s{0,3}(?:\.|@|:|dot|at|punkt|point)\s{0,3}[\])}>:/]|\sdot\s", re.IGNORECASE)


_BLANK: Final = r"[\s\x1c-\x1f\x80-\xff]"
SPELT: Final = Signal(
    "destination.spelt",
    rf"[\[({{<]{_BLANK}{{0,9}}(?:\.|@|:|dot|at|pun(?:k|\xe2\x84\xaa)t|point){_BLANK}{{0,9}}[\])}}>:/]|{_BLANK}dot{_BLANK}",
    caseless=True,
)
"""Wherever MARKED is."""


def _unspelt(text: str) -> str:
    """Addresses that are written for readers, not for machines: `eve [at] mail dot example`."""
    for fang, plain in FANGS:
        text = fang.sub(plain, text)
    return text


SIGNALS: Final = (URL, MAIL, HOST, DIGITS, IBAN, WALLET)
DESTINATIONS: Final = Detector(frozenset(("destination",)), SIGNALS, partial(_look, kind="destination"))
MENTIONS: Final = Detector(frozenset(("mention",)), (*SIGNALS, SPELT), partial(_look, kind="mention"))
