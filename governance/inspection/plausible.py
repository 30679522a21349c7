"""Is this string a secret, or does it only stand where one would?"""

import base64
import math
import re
from collections import Counter
from itertools import pairwise
from typing import Final

PLACEHOLDER: Final = re.compile(
    r"""(?ix)
    example | placeholder | change[-_ ]?me | redacted | masked | removed | hidden | dummy | sample
        | replace[-_ ]?(?:me|with|this)
    | insert[-_ ] | \byour[-_ ]? | [-_]your[-_] | \bmy[-_]?(?:secret|password|token|api|key)\b
        | not[-_ ]?a[-_ ]?(?:real|secret)
    | fill[-_ ]?(?:me|in) | todo | lorem | to[-_ ]be[-_ ] | _here$ | -here$ | foobar | deadbeef{1,9}$
        | s(?:ome|uper)[-_]?secret$
    """
)
NO_VALUE: Final = frozenset(
    [
        "none",
        "null",
        "nil",
        "true",
        "false",
        "undefined",
        "empty",
        "unset",
        "default",
        "required",
        "optional",
        "string",
        "str",
        "bytes",
        "text",
        "secret",
        "password",
        "passwd",
        "token",
        "pass",
        "user",
        "username",
        "value",
        "key",
        "apikey",
        "api_key",
        "test",
        "testing",
        "admin",
        "root",
        "guest",
        "login",
        "bearer",
        "basic",
        "yes",
        "no",
        "on",
        "off",
        "any",
        "changeit",
        "letmein",
        "hunter2",
        "s3cr3t",
        "p4ssw0rd",
        "p@ssw0rd",
        "secret123",
        "password123",
        "pwd",
        "n/a",
        "na",
        "tbd",
        "unknown",
        "encrypted",
        "enabled",
        "disabled",
        "never",
        "always",
    ]
)
REFERENCE: Final = re.compile(
    r"""(?ix)
    ^(?: \$\{ | \$\( | \$[A-Z_] | \{\{ | \{% | %\( | %[A-Z_]+% | <[^>]*>? | \[[^\]]*\]?$ | \{[\w.:]*\}$
        | @[\w.]+\( | !\w | \#\{ | &\w+;
       | vault: |  arn: | ssm: | secretsmanager | projects/ | keyring | kms: | enc[:\[(] | sops | sealed:
        | secret:// | env[:.(]
       | file: | /run/ | /etc/ | /var/ | /home/ | /usr/ | \./ | \.\./ | ~/ | [a-z]:\\
        | [a-z][a-z0-9+.\-]{1,20}:// | ref\+ | aws: | gcp: | azurekv
       | os\. | process\. | settings\. | config[.\[] | self\. | this\. | secrets\. | vars\. | env\b | getenv
        | System\. | import\.meta
       | credentials\( | data\. | var\. | local\. | module\. | Rails\. | ENV\[ | await\b | new\b | lambda\b
        | func | return\b )
    | ^[A-Za-z_]?[\w.]*\(.*   # a call
    | ^[A-Za-z_]\w*\[["']?\w*["']?\]?$
    | ^[a-z_]\w*(?:\.[a-z_]\w*)+$   # an attribute
    """
)
FILLED: Final = re.compile(r"(?i)^[x*.•#_\-?0~]+$|x{6,}|\*{4,}|\.{3}|•{3,}|…|#{6,}|_{6,}|0{12,}")
UUID: Final = re.compile(r"(?i)^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$")
HEX: Final = re.compile(r"^(?:[0-9a-f]+|[0-9A-F]+)$")
WORDS: Final = re.compile(r"^[A-Z]?[a-z]*(?:[-_. :/][A-Z]?[a-z]*)*$|^[A-Z]+(?:[-_. ][A-Z]+)*$")
NUMBER: Final = re.compile(r"^[\d.,:/ +-]+$")
DATE: Final = re.compile(r"^\d{4}-\d\d-\d\d")
VERSIONED: Final = re.compile(r"^[a-z]+(?:[-_./][a-z]+)*[-_./]?\d{1,4}(?:[.\-_]\d{1,4})*$")
"""`gpt-4`, `cl100k_base`, `bcrypt12`: names with a number."""


SEPARATED: Final = re.compile(r"[a-z]+[-_.]")
GIBBERISH: Final = re.compile(r"(?i)[bcdfghjklmnpqrstvwxz]{6}")
"""No word has so many consonants."""


def entropy(text: str) -> float:
    """Shannon's, in bits a character."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())


def is_stand_in(value: str) -> bool:
    """Does it stand for a secret without being one: a placeholder, a reference, a piece of code?"""
    low = value.lower()
    return (
        low in NO_VALUE
        or REFERENCE.match(value) is not None
        or PLACEHOLDER.search(value) is not None
        or FILLED.search(value) is not None
    )


def is_filler(body: str) -> bool:
    """Does the random part of a vendor's token only fill its place?"""
    low = body.lower()
    if FILLED.search(body) or (len(set(low)) <= 2 and low[:1] in "x0*1"):
        return True
    return len(set(PLACEHOLDER.sub("", low))) < 12 and PLACEHOLDER.search(body) is not None


def is_encoded_text(value: str) -> bool:
    """Is it base64 of words, as cursors are?"""
    return len(decoded(value)) > 8


def decoded(value: str) -> str:
    """What a value is the base64 of; empty if that is no plain text."""
    try:
        plain = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return ""
    return plain.decode() if plain.isascii() and plain.decode().isprintable() else ""


def is_password(value: str) -> bool:
    """Would a person or a generator set it, and would nobody write it as a word?"""
    if len(value) < 6 or len(value) > 256 or is_stand_in(value) or DATE.match(value):
        return False
    if len(value) >= 10 and value.isalpha() and GIBBERISH.search(value):
        return True
    if is_word_like(value) or NUMBER.match(value) or (VERSIONED.match(value) and len(SEPARATED.findall(value)) < 4):
        return False
    return _kinds(value) >= 2 and len(set(value)) >= 5


def is_token(value: str) -> bool:
    """Is it long and mixed enough for a key made by a machine?"""
    if len(value) < 12 or len(value) > 2048 or " " in value or is_stand_in(value) or DATE.match(value):
        return False
    if is_word_like(value) or NUMBER.match(value) or VERSIONED.match(value):
        return False
    if HEX.match(value):
        return len(value) >= 16 and len(set(value)) >= 7
    return entropy(value) >= (3.0 if len(value) >= 16 else 2.8) and any(
        each.isdigit() for each in value + _mixed(value)
    )


def is_word_like(value: str) -> bool:
    return WORDS.match(value) is not None or (value.isalpha() and _turns(value) <= len(value) // 6)


def _turns(value: str) -> int:
    """How often a capital follows a small letter, as at each word in camelCase."""
    return sum(a.islower() and b.isupper() for a, b in pairwise(value))


def _mixed(value: str) -> str:
    """Counts as a digit: long, in both cases, and turning between them too often for words."""
    return "1" if len(value) >= 20 and _turns(value) >= len(value) // 8 else ""


def _kinds(value: str) -> int:
    """How many of: lower, upper, digits, signs."""
    return (
        any(each.islower() for each in value)
        + any(each.isupper() for each in value)
        + any(each.isdigit() for each in value)
        + any(not each.isalnum() for each in value)
    )
