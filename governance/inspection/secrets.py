"""Finds credentials: by the formats of their vendors, by their structure, and by the names they stand under."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from typing import Final

from governance.inspection import assignments, checksums, plausible
from governance.inspection.detector import Detector, Finder, Hit, found
from governance.inspection.disguised_codes import CODES
from governance.inspection.disguises import DISGUISES
from governance.inspection.findings import Severity
from governance.inspection.secret_formats import FORMATS, Format
from governance.inspection.signals import Match, Signal
from governance.inspection.views import View
from governance.inspection.walk import Leaf

VERSION: Final = 1
CERTAIN: Final = 0.99
LIKELY: Final = 0.9
DOUBTFUL: Final = 0.6
MAX_KEY: Final = 16_000
"""Characters of a PEM block."""
MAX_HEADERS: Final = 600
"""Characters before its body."""
BEGIN: Final = Signal(
    "secret.pem", r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[23]:"
)
BODY: Final = re.compile(r"[A-Za-z0-9+/=]{16}")
BODY_RUN: Final = re.compile(r"(?:[A-Za-z0-9+/=\s]|\\[nr]|[A-Za-z-]{2,20}: [^\n]{0,80}\n)*")
END: Final = Signal(
    "secret.pem_end", r"-----END (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----|Private-MAC: ?[0-9a-f]+"
)
KEY_BODY: Final = Signal(
    "secret.pem_body",
    r"MII[A-Za-z0-9+/]{3,5}IBADANBgkqhkiG9w0BAQEFAASC|MII[A-Za-z0-9+/]{3,5}IBAAKC[A-Za-z0-9+/]{24}"
    r"|M[A-Za-z0-9+/]{3,5}AgEAM[A-Za-z0-9+/]{2,3}GByqGSM49AgEG|MC4CAQAwBQYDK2V[wu]BCIEI"
    r"|b3BlbnNzaC1rZXktdjEAAAAA",
)
"""As the usual private keys begin in base64: algorithms and lengths that each has."""
LINES: Final = re.compile(r"[A-Za-z0-9+/]*(?:(?:\r?\n|\\n)[A-Za-z0-9+/]{16,})*(?:(?:\r?\n|\\n)[A-Za-z0-9+/]+)?={0,2}")
JOSE: Final = Signal(
    "secret.jwt",
    r"ey[A-Za-z0-9_\-]{8,}\.(?:ey[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{0,}|[A-Za-z0-9_\-]*(?:\.[A-Za-z0-9_\-]{8,}){3})",
    r"ey[A-Za-z0-9_\-]{8}[A-Za-z0-9_\-]*\.",
)
URL: Final = Signal(
    "secret.url",
    r"[A-Za-z][A-Za-z0-9+.\-]*://([^\s:/@\"'<>`]*):([^\s/\"'<>`]+)@([A-Za-z0-9\[$\{%][^\s\"'<>`\\)\],;]*)",
    r"://[^\s:/@\"'<>`]*:[^\s\"'<>`]+@",
)
TOKEN_USER: Final = Signal(
    "secret.url_token", r"https?://([A-Za-z0-9_\-]{20,200})@([A-Za-z0-9.\-]+)", r"https?://[A-Za-z0-9_\-]{20,200}@"
)
DATABASES: Final = frozenset(
    [
        "postgres",
        "postgresql",
        "mysql",
        "mariadb",
        "mongodb",
        "redis",
        "rediss",
        "amqp",
        "amqps",
        "mssql",
        "sqlserver",
        "oracle",
        "clickhouse",
        "cockroachdb",
        "couchbase",
        "cassandra",
        "neo4j",
        "bolt",
        "snowflake",
        "kafka",
        "nats",
        "ldap",
        "ldaps",
        "jdbc",
        "odbc",
        "memcached",
        "influxdb",
        "elasticsearch",
        "vertica",
        "db2",
        "firebird",
    ]
)
PASSWORDS_OF_EXAMPLES: Final = frozenset(
    [
        "password",
        "pass",
        "pwd",
        "passwd",
        "secret",
        "pw",
        "user",
        "username",
        "changeme",
        "example",
        "xxx",
        "xxxx",
        "xxxxx",
        "test",
        "mypassword",
        "yourpassword",
        "my-password",
        "your-password",
        "1234",
        "12345",
        "123456",
        "p4ssw0rd",
        "hunter2",
        "admin",
        "root",
        "guest",
        "postgres",
        "mysql",
        "redis",
    ]
)
TEMPLATE: Final = re.compile(r"[${}<>*]|\.\.\.|%\(|^%[sd]$|^:|^\[")


def _look(view: View, leaf: Leaf, occurring: frozenset[str]) -> Iterator[Hit]:
    yield from found(view, occurring, FINDERS)
    if leaf.name and view.parent is None:
        yield from assignments.named(leaf)


def _formatted(each: Format, view: View) -> Iterator[Hit]:
    goes_on = re.compile(f"[{each.after}]") if each.after else None
    for match in each.signal.find(view.encoded):
        text = view.text
        token = text[match.start : match.end]
        if len(token) > each.most or (match.start and _glued(text, match.start)):
            continue
        if goes_on and goes_on.match(text, match.end):
            continue
        if (confidence := _confidence(each, token)) >= DOUBTFUL:
            yield Hit(each.rule, VERSION, "secret", each.severity, confidence, match.start, match.end)


def _glued(text: str, start: int) -> bool:
    """Does it only go on a word, a number or a run of base64? What follows an escape begins anew."""
    before = text[start - 1]
    if not before.isascii() or not (before.isalnum() or before == "+") or not text[start].isalnum():
        return False
    return not (before in "nrt" and start > 1 and text[start - 2] == "\\")


def _confidence(each: Format, token: str) -> float:
    if plausible.is_filler(token[4:]):
        return 0.0
    if len(set(token[-16:])) <= 2:
        return DOUBTFUL
    if each.check is None:
        return LIKELY + 0.05
    return CERTAIN if each.check(token) else LIKELY


def _private_keys(view: View) -> Iterator[Hit]:
    ends = [match.end for match in END.find(view.encoded)]
    done = 0
    for match in BEGIN.find(view.encoded):
        if match.start < done:
            continue
        end = _end_of_key(view.text, match, ends)
        if end is not None:
            done = end
            yield Hit("private_key", VERSION, "secret", Severity.CRITICAL, CERTAIN, match.start, end)


def _bodies(view: View) -> Iterator[Hit]:
    """Of private keys without the lines around them."""
    for match in KEY_BODY.find(view.encoded):
        if "PRIVATE KEY" in view.text[max(0, match.start - MAX_HEADERS) : match.start]:
            continue
        run = LINES.match(view.text, match.end, match.end + MAX_KEY)
        end = run.end() if run else match.end
        yield Hit("private_key", VERSION, "secret", Severity.CRITICAL, LIKELY, match.start, end)


def _end_of_key(text: str, begin: Match, ends: list[int]) -> int | None:
    """None where no key follows: texts about keys show the first line alone."""
    following = bisect_left(ends, begin.end)
    end = ends[following] if following < len(ends) else None
    if end is None or end - begin.end > MAX_KEY:
        end = _body_end(text, begin.end, min(len(text), begin.end + MAX_KEY))
    return end if BODY.search(text, begin.end, min(end, begin.end + MAX_HEADERS)) else None


def _body_end(text: str, start: int, last: int) -> int:
    run = BODY_RUN.match(text, start, last)
    return run.end() if run else start


def _jwts(view: View) -> Iterator[Hit]:
    for match in JOSE.find(view.encoded):
        token = view.text[match.start : match.end]
        if checksums.is_jose(token):
            yield Hit("jwt", VERSION, "secret", Severity.HIGH, CERTAIN, match.start, match.end)


def _urls(view: View) -> Iterator[Hit]:
    for match in URL.find(view.encoded):
        user, password, host = (view.text[start:end] for start, end in match.groups)
        scheme = view.text[match.start : match.end].partition("://")[0].lower()
        if not _is_password_in_url(user, password, host):
            continue
        start, end = match.start, match.groups[2][1]
        if scheme.partition("+")[0].rpartition(":")[2] not in DATABASES:
            end = match.groups[2][0] + len(re.split(r"[/?#]", host, maxsplit=1)[0])
        elif view.text[max(0, start - 5) : start] == "jdbc:":
            start -= 5
        yield Hit("url_credentials", VERSION, "secret", Severity.HIGH, LIKELY, start, end)


def _is_password_in_url(user: str, password: str, host: str) -> bool:
    if len(user) > 120 or len(password) > 500 or password == user:
        return False
    if TEMPLATE.search(password) or TEMPLATE.search(user[:1]) or TEMPLATE.search(host[:1]):
        return False
    if password.lower() in PASSWORDS_OF_EXAMPLES or plausible.PLACEHOLDER.search(password):
        return False
    return not plausible.FILLED.search(password) and not (password.isdigit() and len(password) < 6)


def _url_tokens(view: View) -> Iterator[Hit]:
    for match in TOKEN_USER.find(view.encoded):
        start, end = match.groups[0]
        is_public = ".sentry." in view.text[slice(*match.groups[1])]
        if not is_public and plausible.is_token(view.text[start:end]):
            yield Hit("url_token", VERSION, "secret", Severity.HIGH, LIKELY, start, end)


FINDERS: Final[tuple[tuple[Signal, Finder], ...]] = (
    *((each.signal, partial(_formatted, each)) for each in FORMATS),
    (BEGIN, _private_keys),
    (KEY_BODY, _bodies),
    (JOSE, _jwts),
    (URL, _urls),
    (TOKEN_USER, _url_tokens),
    *((each.signal, each.look) for each in (*DISGUISES, *CODES)),
    (assignments.SIGNAL, assignments.assigned),
    (assignments.SIGNAL, assignments.in_columns),
    (assignments.OPTION, assignments.signed_in),
    (assignments.COMMAND, assignments.given),
)
SECRETS: Final = Detector(
    kinds=frozenset(("secret",)),
    signals=tuple(dict.fromkeys(signal for signal, _ in FINDERS)),
    look=_look,
    by_name=assignments.is_telling,
)
