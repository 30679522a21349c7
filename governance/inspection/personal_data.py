"""Finds what belongs to a person: by checksum, by form, and by the label it stands under."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from governance.inspection import labels, personal_numbers
from governance.inspection.detector import Detector, Finder, Hit, found
from governance.inspection.findings import Kind, Severity
from governance.inspection.signals import Signal, TooManyMatches
from governance.inspection.views import View
from governance.inspection.walk import Leaf

VERSION: Final = 1
NEAR: Final = 48
"""Characters before a value in which its context stands."""
DENSE: Final = 5_000
"""Matches of what may well stand in every line of a table."""
MAX_GROUPS: Final = 500
"""Groups of digits beside each other."""
LONGEST_CARD: Final = 23
"""Nineteen digits and four separators."""
SEPARATORS: Final = re.compile(r"[ .\-/]")
DIGITS: Final = re.compile(r"[0-9]")

CARD_NUMBER: Final = "card_number"
CARD: Final = Signal("personal.card", r"[0-9](?:[ \-]?[0-9]){11,}", r"[0-9](?:[ \-]?[0-9]){11}", most=DENSE)
IBAN: Final = Signal("personal.iban", r"[A-Z]{2}[0-9]{2}[ \-.]?[A-Z0-9]{2}", caseless=True)
SSN: Final = Signal("personal.ssn", r"[0-9]{3}([\- ])[0-9]{2}([\- ])[0-9]{4}", r"[0-9]{3}[\- ][0-9]{2}[\- ][0-9]{4}")
NINO: Final = Signal(
    "personal.nino",
    r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ \-]?[0-9]{2}[ \-]?[0-9]{2}[ \-]?[0-9]{2}[ \-]?[A-D]",
)
EMAIL: Final = Signal(
    "personal.email",
    r"@(?:[\pL\pN](?:[\pL\pN-]*[\pL\pN])?\.)+(?:xn--[a-z0-9-]+|\pL{2,24})",
    r"@(?:[^\s@<>\"']{1,80}\.)[^\s\d@.]{2}",
    caseless=True,
    most=DENSE,
)
SPELT_EMAIL: Final = Signal(
    "personal.spelt_email",
    r"[a-z0-9_.+\-]{1,64} ?[\[({<] ?at ?[\])}>] ?[a-z0-9\-]{1,63}(?: ?(?:[\[({<] ?dot ?[\])}>]"
    r"|\.) ?[a-z0-9\-]{2,24}){1,3}",
    r" ?[\[({<] ?at ?[\])}>] ?[a-z0-9]",
    caseless=True,
)
IPV4: Final = Signal("personal.ipv4", r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}")
IPV6: Final = Signal(
    "personal.ipv6",
    r"[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:\.[0-9]{1,3}){0,3}",
    r"[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){3}",
    caseless=True,
)
ABROAD: Final = Signal(
    "personal.phone",
    r"(?:\+|\b00)[ ]?[1-9][0-9]{0,2}(?:[ .\-/]{0,2}\(?[0-9]{1,5}\)?){2,7}",
    r"(?:\+|\b00) ?[1-9][0-9 .\-/()]{6}",
)
AT_HOME: Final = Signal(
    "personal.phone_national",
    r"(?:1[ .\-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .\-])[2-9][0-9]{2}[ .\-][0-9]{4}(?: ?(?:x"
    r"|ext\.?) ?[0-9]{1,6})?"
    r"|0[1-9](?:[ .\-][0-9]{2}){4}|\(0[0-9]{2,5}\)[ ]?[0-9]{3,4}[ \-]?[0-9]{3,5}"
    r"|0[0-9]{2,4}[ \-/][0-9]{3,4}[ \-][0-9]{3,4}"
    r"|0[0-9]{2,4}/[0-9]{5,8}|0[1-9][0-9]{2,4} [0-9]{5,8}",
    r"[0-9]{3}\)? ?[ .\-]?[0-9]{3}[ .\-][0-9]{3}|0[1-9](?:[ .\-][0-9]{2}){4}|\(0[0-9]{2}|0[0-9]{2,4}[ \-/][0-9]{3}",
    caseless=True,
)
MEDICARE: Final = Signal(
    "personal.medicare",
    r"[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9]-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9]-?[AC-HJKMNP-RT-Y]{2}[0-9]{2}",
)
CPF: Final = Signal("personal.cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}")
CODICE_FISCALE: Final = Signal("personal.codice_fiscale", r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]")
MRZ: Final = Signal(
    "personal.mrz", r"P[A-Z<][A-Z]{3}[A-Z<]{39}\s{0,2}[A-Z0-9<]{44}", r"P[A-Z<][A-Z]{3}[A-Z]+<[A-Z<]{10}"
)

LOCAL_SIGNS: Final = frozenset("!#$%*+_~.'-")
MAX_LOCAL: Final = 64
IS_ID: Final = re.compile(
    r"(?i)(?:order|track|shipment|invoice|ref(?:erence)?|batch|serial|uuid|guid|(?:^|[^a-z])id|_id|ts|time"
    r"|stamp|isbn|imei|build|seq|sku|part"
    r"|lot|ticket|version|hash|sha|nonce|offset|cursor|epoch|run|job|commit|revision|number_of|count|size"
    r"|bytes)[\w ]{0,12}[\"']?[ .]{0,2}[:=#]?\s{0,3}[\"']?$"
)
IS_CARD: Final = re.compile(r"(?i)card|credit|debit|\bcc\b|\bpan\b|visa|master|amex|maestro|payment|charge")
IS_SSN: Final = re.compile(r"(?i)ssn|social|itin|tax|sozial")
IS_PART: Final = re.compile(
    r"(?i)(?:part|lot|batch|sku|ticket|serial|model|item|order|case|ref|invoice|build|version)\b[\w. #:]{0,12}$"
)
IS_ADDRESS: Final = re.compile(
    r"(?i)(?:^|[^a-z])ips?(?:v[46])?(?:[^a-z]|$)|_ip|addr|host|client|remote|login|logged|from=|source|src|dst"
    r"|forwarded|server|ping|connect"
    r"|network|peer|session|request|user|visit|access"
)
IS_VERSION: Final = re.compile(
    r"(?i)\bv$|versions?|\bver\b|releas|firmware|build|\boid\b|section|chapter|clause|§|upgrad|downgrad|updat"
    r"|patch|\bsdk|\blib|driver"
    r"|assembly|chrome|firefox|safari|edge|kernel|package|module|plugin|[=<>~]=|@$"
    r"|\bv?\d+\.\d+\.\d+(?:\.\d+)? (?:to|->|and)"
)
OF_A_PERSON: Final = re.compile(r"(?i)client|remote|login|user")
GOES_ON: Final = re.compile(r"\.\d|-\w|\w")
IS_PHONE: Final = re.compile(
    r"(?i)phone|mobil|\bcell|\btel|\bfax|whatsapp|\bsms|\bcall|\bdial|\bring|\bdesk|contact|reach|\btext (?:me"
    r"|us)|number is|hotline|handy|message|registered"
)
FILE_ENDS: Final = frozenset(
    [
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "js",
        "ts",
        "jsx",
        "tsx",
        "css",
        "scss",
        "py",
        "rb",
        "go",
        "rs",
        "java",
        "md",
        "txt",
        "json",
        "yaml",
        "yml",
        "toml",
        "lock",
        "html",
        "htm",
        "xml",
        "zip",
        "gz",
        "tar",
        "pdf",
        "local",
        "localhost",
        "internal",
        "lan",
        "sh",
        "exe",
        "dll",
        "so",
        "map",
        "vue",
        "test",
    ]
)
NO_ONE: Final = re.compile(r"(?i)^(?:git|hg|svn|ssh|root|localhost)$")


def _hit(rule: str, confidence: float, start: int, end: int, severity: Severity = Severity.MEDIUM) -> Hit:
    kind: Kind = "card" if rule == CARD_NUMBER else "personal"
    return Hit(rule, VERSION, kind, severity, confidence, start, end)


def _before(text: str, start: int) -> str:
    return text[max(0, start - NEAR) : start]


def _stands_alone(text: str, start: int, end: int, more: str = "") -> bool:
    """Is it no part of a longer word or number?"""
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (before.isalnum() or (before and before in f"_{more}")) and not (
        after.isalnum() or (after and after == "_")
    )


def _escaped(text: str, start: int) -> bool:
    """A letter before it may be the end of an escape: `\\n`."""
    return start > 1 and text[start - 2] == "\\" and text[start - 1] in "nrt"


def _cards(view: View) -> Iterator[Hit]:
    text = view.text
    for match in CARD.find(view.encoded):
        if not _stands_alone(text, match.start, match.end, ".") and not _escaped(text, match.start):
            continue
        context = _before(text, match.start)
        done = 0
        for start, end in _groupings(text, match.start, match.end):
            confidence = _card(text[start:end], context) if start >= done else 0.0
            if confidence:
                done = end
                yield _hit(CARD_NUMBER, confidence, start, end, Severity.HIGH)


def _card(written: str, context: str) -> float:
    """How sure it is that this is one; 0 where it is none."""
    issuer = personal_numbers.card(SEPARATORS.sub("", written)) if _is_evenly_grouped(written) else None
    if issuer is None:
        return 0.0
    if IS_CARD.search(context):
        return 0.98
    return 0.0 if IS_ID.search(context) or issuer == personal_numbers.RARE_CARDS else 0.8


def _groupings(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Neighbouring groups of digits that together are as long as a card; other numbers may stand beside them."""
    edges = [start, *(place.end() for place in SEPARATORS.finditer(text, start, end)), end + 1]
    if len(edges) > MAX_GROUPS:
        raise TooManyMatches(CARD.name)
    for first, begin in enumerate(edges[:-1]):
        for last in edges[first + 1 : first + 7][::-1]:
            if 12 <= last - 1 - begin <= LONGEST_CARD:
                yield begin, last - 1


def _is_evenly_grouped(written: str) -> bool:
    groups = SEPARATORS.split(written)
    return len(groups) == 1 or (
        len(set(SEPARATORS.findall(written))) == 1 and all(3 <= len(each) <= 7 for each in groups)
    )


def _ibans(view: View) -> Iterator[Hit]:
    text = view.text
    for match in IBAN.find(view.encoded):
        if text[match.start - 1 : match.start].isalnum() and match.start and not _escaped(text, match.start):
            continue
        length = personal_numbers.IBAN_LENGTHS.get(text[match.start : match.start + 2].upper())
        if length is None:
            continue
        end = _collected(text, match.start, length)
        if (
            end
            and personal_numbers.iban(SEPARATORS.sub("", text[match.start : end]))
            and not text[end : end + 1].isalnum()
        ):
            yield _hit("iban", 0.97, match.start, end, Severity.HIGH)


def _collected(text: str, start: int, length: int) -> int | None:
    """Where so many letters and digits end, with at most one separator between them."""
    seen, position = 0, start
    while position < len(text) and seen < length:
        if text[position].isalnum() and text[position].isascii():
            seen += 1
        elif not SEPARATORS.match(text[position]) or not text[position - 1].isalnum():
            return None
        position += 1
    return position if seen == length else None


def _ssns(view: View) -> Iterator[Hit]:
    text = view.text
    for match in SSN.find(view.encoded):
        first, second = (text[slice(*group)] for group in match.groups)
        context = _before(text, match.start)
        labelled = IS_SSN.search(context) is not None
        if (
            first != second
            or text[match.start - 1 : match.start] in ("-", ".", "/")
            or text[match.end : match.end + 1] == "-"
        ):
            continue
        if (
            not _stands_alone(text, match.start, match.end)
            or not (labelled or first == "-")
            or (IS_PART.search(context) and not labelled)
        ):
            continue
        if personal_numbers.ssn(re.sub("[- ]", "", text[match.start : match.end]), labelled=labelled):
            yield _hit("us_ssn", 0.98 if labelled else 0.75, match.start, match.end, Severity.HIGH)


def _ninos(view: View) -> Iterator[Hit]:
    for match in NINO.find(view.encoded):
        written = view.text[match.start : match.end]
        if not _stands_alone(view.text, match.start, match.end) or not personal_numbers.nino(written):
            continue
        is_named = (
            re.search(r"(?i)nino|\bni\b|national insurance|insurance", _before(view.text, match.start)) is not None
        )
        yield _hit("uk_nino", 0.97 if is_named else 0.75, match.start, match.end, Severity.HIGH)


def _emails(view: View) -> Iterator[Hit]:
    text = view.text
    for match in EMAIL.find(view.encoded):
        start = _local_start(text, match.start)
        local = text[start : match.start]
        if local and not _is_login(text, start, match.end, local):
            yield _hit("email", 0.95, start, match.end)


def _local_start(text: str, at: int) -> int:
    """Where the part before the @ begins."""
    start, first = at, max(0, at - MAX_LOCAL)
    while start > first and (text[start - 1].isalnum() or text[start - 1] in LOCAL_SIGNS):
        start -= 1
    while start < at and text[start] in ".'-":
        start += 1
    return start


def _is_login(text: str, start: int, end: int, local: str) -> bool:
    """Is it a login at a host, a package at a version, a name in a URL?"""
    before, after = text[max(0, start - 80) : start], text[end : end + 2]
    if NO_ONE.match(local) or text[:end].rpartition(".")[2].lower() in FILE_ENDS:
        return True
    if re.search(r"[a-z][a-z0-9+.-]*://[^\s\"'<>?]*$", before, re.IGNORECASE) or before.endswith(("@", "/")):
        return True
    if re.search(r"(?i)message-id\W{0,5}$|\b(?:ssh|scp|sftp|rsync)\s[^\n]{0,60}$", before):
        return True
    return after[:1] == "@" or (after[:1] == ":" and (after[1:] in ("/", "~") or after[1:].isalnum()))


def _spelt_emails(view: View) -> Iterator[Hit]:
    for match in SPELT_EMAIL.find(view.encoded):
        yield _hit("email", 0.7, match.start, match.end)


def _ipv4s(view: View) -> Iterator[Hit]:
    text = view.text
    for match in IPV4.find(view.encoded):
        if text[match.start - 1 : match.start] in (".", "-") or GOES_ON.match(text, match.end):
            continue
        if match.start and text[match.start - 1].isalnum() and not _escaped(text, match.start):
            continue
        if _is_somebodys(text[match.start : match.end], _before(text, match.start)):
            yield _hit("ip_address", 0.8, match.start, match.end, Severity.LOW)


def _is_somebodys(written: str, context: str) -> bool:
    if sum(int(octet) > 30 for octet in written.split(".")) < 2 and not IS_ADDRESS.search(context):
        return False
    address = personal_numbers.address(written)
    if address is None or address.is_loopback or address.is_unspecified or address.is_link_local:
        return False
    if not address.is_global and not address.is_multicast and not OF_A_PERSON.search(context):
        return False
    return _last(IS_VERSION, context) <= _last(IS_ADDRESS, context)


def _last(pattern: re.Pattern[str], text: str) -> int:
    return max((found.start() for found in pattern.finditer(text)), default=-1)


def _ipv6s(view: View) -> Iterator[Hit]:
    text = view.text
    for match in IPV6.find(view.encoded):
        start, end = match.start, match.end
        if text[start - 1 : start].isalnum() or text[end : end + 1].isalnum() or text[end : end + 1] == ":":
            continue
        written = text[start:end]
        address = personal_numbers.address(written)
        if (
            not isinstance(address, IPv6Address)
            or address.is_loopback
            or address.is_link_local
            or address.is_unspecified
        ):
            continue
        if sum(each.isalnum() for each in written) >= 6 and DIGITS.search(written) and written.count(":") >= 3:
            yield _hit("ip_address", 0.85, start, end, Severity.LOW)


def _phones_abroad(view: View) -> Iterator[Hit]:
    text = view.text
    for match in ABROAD.find(view.encoded):
        end = match.end
        written = text[match.start : end]
        digits = re.sub(r"\D", "", written)
        context = _before(text, match.start)
        if written[0] == "0" and not IS_PHONE.search(context):
            continue
        if not 8 <= len(digits) <= 16 or text[end : end + 1].isalnum() or text[match.start - 1 : match.start].isalnum():
            continue
        if re.search(r"[\d)][eE]?$", text[max(0, match.start - 1) : match.start]) or re.search(
            r"(?i)utc|gmt", context[-8:]
        ):
            continue
        yield _hit("phone", 0.9, match.start, end)


def _phones_at_home(view: View) -> Iterator[Hit]:
    text = view.text
    for match in AT_HOME.find(view.encoded):
        if not _stands_alone(text, match.start, match.end, "-./+") or re.match(
            r"[-./]\d", text[match.end : match.end + 2]
        ):
            continue
        context = _before(text, match.start)
        is_named = IS_PHONE.search(context) is not None
        if not is_named and (
            IS_ID.search(context)
            or IS_VERSION.search(context)
            or (
                text[match.start] == "0"
                and "." not in text[match.start : match.end]
                and not _is_french(text[match.start : match.end])
            )
        ):
            continue
        if re.match(r" ?[0-9]", text[match.end : match.end + 2]) and not is_named:
            continue
        yield _hit("phone", 0.92 if is_named else 0.7, match.start, match.end)


def _is_french(written: str) -> bool:
    return re.fullmatch(r"0[1-9](?:[ .\-][0-9]{2}){4}", written) is not None


@dataclass(frozen=True, slots=True)
class _Plain:
    """A form that is enough by itself, with its check."""

    rule: str
    signal: Signal
    check: personal_numbers.Check
    confidence: float

    def find(self, view: View) -> Iterator[Hit]:
        for match in self.signal.find(view.encoded):
            written = re.sub(r"[.\- ]", "", view.text[match.start : match.end])
            if _stands_alone(view.text, match.start, match.end, "-.") and self.check(written):
                yield _hit(self.rule, self.confidence, match.start, match.end, Severity.HIGH)


PLAIN: Final = (
    _Plain("us_medicare", MEDICARE, lambda written: True, 0.8),
    _Plain("brazil_cpf", CPF, personal_numbers.cpf, 0.9),
    _Plain("codice_fiscale", CODICE_FISCALE, lambda written: True, 0.85),
    _Plain("passport_mrz", MRZ, lambda written: True, 0.95),
)
FINDERS: Final[tuple[tuple[Signal, Finder], ...]] = (
    (CARD, _cards),
    (IBAN, _ibans),
    (SSN, _ssns),
    (NINO, _ninos),
    (EMAIL, _emails),
    (SPELT_EMAIL, _spelt_emails),
    (IPV4, _ipv4s),
    (IPV6, _ipv6s),
    (ABROAD, _phones_abroad),
    (AT_HOME, _phones_at_home),
    *((plain.signal, plain.find) for plain in PLAIN),
    (labels.SIGNAL, labels.labelled),
)


def _look(view: View, leaf: Leaf, occurring: frozenset[str]) -> Iterator[Hit]:
    yield from found(view, occurring, FINDERS)
    if view.parent is None:
        if leaf.name and not leaf.is_key:
            yield from labels.named(leaf)
        if labels.SIGNAL.name in occurring:
            yield from labels.in_columns(view)


PERSONAL_DATA: Final = Detector(
    kinds=frozenset(("personal", "card")),
    signals=tuple(signal for signal, _ in FINDERS),
    look=_look,
    by_name=labels.is_label,
)
