"""Values under the name of a secret: `DB_PASSWORD=...`, `"apiKey": "..."`, `the token is ...`, headers, options."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from governance.inspection import columns, plausible
from governance.inspection.detector import Hit
from governance.inspection.findings import Severity
from governance.inspection.signals import Match, Signal
from governance.inspection.views import View
from governance.inspection.walk import Leaf

VERSION: Final = 1
WORDS: Final = (
    r"passw(?:or)?d|passwort|passphrase|passcode|pwd|secret|token|api[_\- ]?key|apikey|access[_\- ]?key|auth[_\- ]?key"
    r"|credential|private[_\- ]?key|(?:signing|encryption|master|account|storage|license|shared|service|app)[_\- ]?key"
    r"|(?:subscription|webhook|session)[_\- ]?key|_pass|pass_|\bpass|_pw\b|\bpw\b|authorization|authenticate|cookie"
    r"|x-api|api-token|client_key|identified by|\bbearer\b|\bbasic\b|_auth\b|connection[_\- ]?string|webhook|salt|otp"
    r"|\bpin\b|\bkey\b|_key|[a-z]key|\bauth\b|bindpw|rootpw|\bssws\b|contrase..?a|mot de passe|senha|wachtwoord"
    r"|пароль|密码"
)
SIGNAL: Final = Signal("secret.assigned", rf"(?:{WORDS})", caseless=True)
WORD: Final = re.compile(f"(?:{WORDS})", re.IGNORECASE)
NAME: Final = re.compile(r"[\w.\-]{0,60}")
MAX_NAME: Final = 60
LONG: Final = 64
"""A value of so many characters has no further names in it."""
ASSIGNS: Final = re.compile(
    r"""\\{0,3}["'`\])]{0,2}(?:\s{0,3}[,{]?\s{0,40}["']?(?:value|default)["']?\s{0,3}[:=]\s{0,3}
          |\s{0,8}(?::=|=>|->|==|=|:)\s{0,8}
          |\s{1,3}(?:is|was|to|will\ be)(?:\s(?:now|changed|set|reset|updated))?(?:\sto)?\s{0,2}:?\s{0,3}|>
          |\s(?:for|of|on)\ [\w\ .\-]{1,30}:\s{1,3}|,\s{0,2}(?=["']))
        (?:(?P<kind>bearer|basic|token|apikey|sswp|ssws|digest)\s{1,3})?""",
    re.VERBOSE | re.IGNORECASE,
)
SAYS: Final = re.compile(r"[\s\\\"'`\])]*(?:is|was|to|will|for|of|on)\b", re.IGNORECASE)
"""Joins a name and a value in prose."""
BARE: Final = re.compile(r"\s(?P<kind>bearer|basic|ssws)\s{1,3}|\s{1,3}(?=[\"'])|\s{1,2}")
VALUE: Final = re.compile(
    r"""(?:(?:[bru]|f)?\\{0,3}"((?:[^"\\\n]|\\(?!n|"))[^"\n]{0,700}?)\\{0,3}"
        | \\{0,3}'([^'\n]{1,700}?)\\{0,3}' | `([^`\n]{1,700})`
        | ([^\s"'`<>]{1,700}))""",
    re.VERBOSE,
)
TRAILING: Final = ".,;:!?)]}\\"
PASSWORD_NAME: Final = re.compile(
    r"(?i)pass(?!ed|es|ing|ive|enger|age|port|through|_count|rate)|pwd|passwort|passcode|identified"
    r"|(?:^|[_-])pw$|(?:bind|root)pw|secret|_auth$|pin$|otp|contrase|mot de passe|senha|wachtwoord|пароль|密码"
)
STRONG_NAME: Final = re.compile(
    r"(?i)secret|api[_\- ]?key|apikey|token|access[_\- ]?key|auth|private[_\- ]?key|credential"
    r"|(?:signing|encryption|master|account|storage|license|shared|service|app|subscription)[_\- ]?key"
    r"|(?:webhook|session|_client)[_\- ]?key|connection|cookie|x-api|bearer|salt|webhook"
)
NOT_SECRET: Final = re.compile(
    r"""(?ix)
    public | publishable | site[_-]?key | (?:^|[_.-])pub(?:[_.-]|$) | pk_ | key[_-]?id | keyid | kid$ | key[_-]?name
        | secret[_-]?(?:name|id$|ref|path|arn|version|type|manager|store)
    | token[_-]?(?:type|count|uri|url|limit|expir|name|endpoint|usage|budget|lifetime|ttl|id$|address|length
        |info|symbol|s?$) (?<!token)
    | (?:max|min|num|total|prompt|completion|input|output|cached|reasoning|next|page|continuation|sync
        |pagination|stop|special|pad|eos|bos)[_-]?(?:\w{0,12}[_-])?tokens?
    | tokens$ | tokeni[sz] | primary | foreign | partition | sort[_-]?key | cache[_-]?key | idempotency
        | row[_-]?key | object[_-]?key | s3[_-]?key | issue[_-]?key
    | project[_-]?key | unique | key[_-]?(?:vault|ring|size|length|usage|type|alg|spec|press|board|word|code
        |path|file|up|down|map|set|s$)
    | (?:pass|pwd|password|secret|token|key|credential|auth)s?[_-]?(?:hash|policy|reset|field|file|path|url
        |uri|hint|length|min|max|strength|expir|changed|updated|created|last|required|enabled|env|var|prompt
        |label|input|salt_rounds|scanning|provider|method|type|mode|header|status|param|algorithm|server
        |endpoint|domain)
    | (?:has|is|use|no|require|enable|disable|forgot|reset|show|hide|need|missing|invalid|wrong
        |expired)[_-]?(?:a[_-])?(?:pass|pwd|token|secret|key) | csrf_?(?:header|cookie)[_-]?name
    | integrity | checksum | digest | sha\d | etag | commit | trace | span | request | fingerprint
        | signature[_-]?(?:alg|version) | ssh[_-]?key$ | author(?!i) | monkey | donkey | turkey | hockey
        | whiskey | jockey | keyboard | compass | bypass | passenger | passive
    """
)
AWS_SECRET: Final = re.compile(r"(?i)aws.{0,20}secret.{0,20}key|secret_?access_?key")
COOKIE: Final = re.compile(r"(?i)(?:sess|sid|auth|token|jwt|remember)[\w.\-]{0,30}=([^\s;,\"']{12,4000})")
MAX_COOKIES: Final = 8_000
"""Characters of a header, each of which is looked at once."""
COMMAND: Final = Signal(
    "secret.command",
    r"(?:sshpass|docker login|podman login|mysql|mysqldump|mysqladmin|mongosh?|redis-cli|ldapsearch)(?: [^\n|;&]*?)?"
    r" -[paw] ?[\"']?([^\s\"'-][^\s\"']{5,})",
    r"(?:sshpass|docker login|podman login|mysql|mysqldump|mysqladmin|mongosh?|redis-cli|ldapsearch) ",
)
OPTION: Final = Signal(
    "secret.option",
    r"""(?:--user|\s-u)[ =]["']?[\w.@\-]{1,60}:([^\s"'@:]{6,})""",
    r"""(?:--user|\s-u)[ =]["']?[\w.@\-]{1,60}:""",
)


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    value: str
    start: int
    end: int
    scheme: str
    is_quoted: bool
    is_loose: bool
    """Is it joined to its name by a word or a space only?"""


class _Meaning(NamedTuple):
    """What a name says of its value."""

    a_secret: bool
    an_aws_secret: bool
    a_password: bool
    a_key: bool


@lru_cache(1_024)
def _meaning(name: str) -> _Meaning:
    """Texts name the same things again and again."""
    return _Meaning(
        NOT_SECRET.search(name) is None,
        AWS_SECRET.search(name) is not None,
        PASSWORD_NAME.search(name) is not None,
        STRONG_NAME.search(name) is not None,
    )


def assigned(view: View) -> Iterator[Hit]:
    text = view.text
    resume = cookies_until = 0
    for word in SIGNAL.find(view.encoded):
        if word.start < resume:
            continue
        start, end = _name(text, word)
        resume = end
        if end >= cookies_until and "cookie" in text[start:end].lower():
            header = text[end : end + MAX_COOKIES].partition("\n")[0]
            cookies_until = end + len(header)
            yield from _cookies(header, end)
        found = _value(text, text[start:end], end) if end - start <= MAX_NAME else None
        if found is None:
            continue
        if not found.is_quoted and len(found.value) >= (3 * LONG if "://" in found.value[:LONG] else LONG):
            resume = found.end
        for hit in _judged(found):
            resume = max(resume, hit.end)
            yield hit


def _cookies(header: str, start: int) -> Iterator[Hit]:
    """Those that hold a session."""
    for cookie in COOKIE.finditer(header):
        if plausible.is_token(cookie.group(1)):
            yield _hit("session_cookie", 0.85, start + cookie.start(1), start + cookie.end(1))


def in_columns(view: View) -> Iterator[Hit]:
    """Cells under a header that is the name of a secret."""
    for cell in columns.cells(view, SIGNAL):
        if WORD.search(cell.name):
            yield from _judged(_Named(cell.name, cell.text, cell.start, cell.end, "", False, False))


def given(view: View) -> Iterator[Hit]:
    """`docker login -p ...`, `mysql -p...`"""
    for option in COMMAND.find(view.encoded):
        start, end = option.groups[0]
        if plausible.is_password(view.text[start:end]):
            yield _hit("named_password", 0.8, start, end)


def signed_in(view: View) -> Iterator[Hit]:
    """`curl -u name:password`"""
    for option in OPTION.find(view.encoded):
        start, end = option.groups[0]
        if plausible.is_password(view.text[start:end]):
            yield _hit("named_password", 0.8, start, end)


@lru_cache(maxsize=4096)
def is_telling(name: str) -> bool:
    """Is it the name of a secret?"""
    return WORD.search(name) is not None


def named(leaf: Leaf) -> Iterator[Hit]:
    """The whole of a leaf whose key is the name of a secret."""
    if leaf.is_key or not is_telling(leaf.name) or not 6 <= len(leaf.text) <= 4096:
        return
    scheme, _, rest = leaf.text.partition(" ")
    is_header = scheme.lower() in ("bearer", "basic", "token") and bool(rest)
    value = rest if is_header else leaf.text
    start = len(leaf.text) - len(value)
    yield from _judged(
        _Named(leaf.name, value, start, len(leaf.text), scheme.lower() if is_header else "", True, False)
    )


def _name(text: str, word: Match) -> tuple[int, int]:
    """The whole identifier that the word is part of."""
    start, end = word.start, word.end
    first = max(0, start - MAX_NAME)
    while start > first and (text[start - 1].isalnum() or text[start - 1] in "_.-"):
        start -= 1
    tail = NAME.match(text, end)
    return start, tail.end() if tail else end


def _value(text: str, name: str, end: int) -> _Named | None:
    joined = ASSIGNS.match(text, end)
    is_loose = (joined is None or SAYS.match(joined.group()) is not None) and name.lower() != "identified by"
    if joined is None:
        joined = BARE.match(text, end)
    if joined is None:
        return None
    found = VALUE.match(text, joined.end())
    if found is None or found.lastindex is None:
        return None
    start, last = found.span(found.lastindex)
    value = text[start:last]
    is_quoted = found.lastindex != 4
    if not is_quoted:
        value = _unquoted(value)
    scheme = (joined.groupdict().get("kind") or "").lower() or (
        name.lower() if name.lower() in ("bearer", "basic", "ssws") else ""
    )
    if is_quoted and not scheme and (prefix := re.match(r"(?i)(bearer|basic|token|apikey|ssws)\s+", value)):
        scheme, value, start = prefix.group(1).lower(), value[prefix.end() :], start + prefix.end()
    return _Named(name, value, start, start + len(value), scheme, is_quoted, is_loose)


def _unquoted(value: str) -> str:
    """Without what ends a sentence, an argument, an element or a parameter."""
    for stop in ("</", "\\n", "\\r", "\\t", '\\"', "&", "$ "):
        value = value.partition(stop)[0] or value
    if ";" in value and "=" in value:
        value = value.partition(";")[0]
    if "," in value and ("=" in value.partition(",")[2] or ":" in value.partition(",")[2]):
        value = value.partition(",")[0]
    if "(" not in (closed := value.partition(")")[0]):
        value = closed or value
    opened = value.count("("), value.count("[")
    while (
        value and value[-1] in TRAILING and not ((value[-1] == ")" and opened[0]) or (value[-1] == "]" and opened[1]))
    ):
        value = value[:-1]
    return value


def _judged(found: _Named) -> Iterator[Hit]:
    name, value = found.name.strip(".-_"), found.value
    if "cookie" in name.lower():
        return
    if found.scheme:
        yield from _header(found)
        return
    means = _meaning(name) if len(name) <= MAX_NAME else _meaning.__wrapped__(name)
    if not means.a_secret or (means.an_aws_secret and len(value) != 40):
        return
    if means.a_password and _is_password(found):
        yield _hit("named_password", 0.8 if found.is_loose else 0.9, found.start, found.end)
    elif means.a_key and _is_key(found):
        yield _hit("named_token", 0.9, found.start, found.end)
    elif not found.is_loose and _is_odd(found):
        yield _hit("named_key", 0.7, found.start, found.end)


def _header(found: _Named) -> Iterator[Hit]:
    value = found.value.rstrip("*_")
    if found.scheme == "basic":
        is_real = plausible.is_encoded_text(value) and ":" in plausible.decoded(value)
    else:
        is_real = len(value) >= 16 and plausible.is_token(value)
    if is_real:
        yield _hit("authorization_header", 0.95, found.start, found.start + len(value))


def _is_password(found: _Named) -> bool:
    value = found.value
    if found.is_loose:
        return (
            not found.is_quoted and len(value) >= 8 and plausible.is_password(value) and any(e.isdigit() for e in value)
        )
    if " " in value.strip():
        return (
            found.is_quoted
            and len(value) <= 60
            and any(e.isdigit() for e in value)
            and plausible.is_password(value.replace(" ", ""))
        )
    return plausible.is_password(value)


def _is_key(found: _Named) -> bool:
    if found.is_loose and (len(found.value) < 16 or not any(each.isdigit() for each in found.value)):
        return False
    return plausible.is_token(found.value)


def _is_odd(found: _Named) -> bool:
    """For a name that says no more than `key`."""
    value = found.value
    return (
        len(value) >= 20 and _is_key(found) and plausible.entropy(value) > 3.2 and not plausible.is_encoded_text(value)
    )


def _hit(rule: str, confidence: float, start: int, end: int) -> Hit:
    return Hit(rule, VERSION, "secret", Severity.HIGH, confidence, start, end)
