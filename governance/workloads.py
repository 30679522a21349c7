"""Which workloads of a platform are an agent: what its tokens have to say of them, and what would let in too many.

A rule names claims and what each must be, exactly or with `*` for any text. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

MOST_CLAIMS: Final = 12
MOST_STARS: Final = 2
LONGEST_NAME: Final = 100
LONGEST_PATTERN: Final = 300
GITHUB: Final = "https://token.actions.githubusercontent.com"
ABOUT_THE_TOKEN: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
"""Checked for every token; they say nothing of who the workload is."""
_NAME = re.compile(r"[A-Za-z0-9_.:/-]+\Z", re.ASCII)


def claim_faults(issuer: str, claims: Any) -> Iterator[str]:
    """What stands against a rule, in words; nothing, if it may be saved."""
    if not isinstance(claims, Mapping) or not 0 < len(claims) <= MOST_CLAIMS:
        yield f"name 1 to {MOST_CLAIMS} claims"
        return
    for name, pattern in claims.items():
        yield from _faults_of(name, pattern)
    if not any(_says_which(issuer, name, pattern) for name, pattern in claims.items()):
        yield _which(issuer)


def _faults_of(name: Any, pattern: Any) -> Iterator[str]:
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not _NAME.match(name):
        yield "a claim's name has letters, digits and _ . : / - only"
    elif name in ABOUT_THE_TOKEN:
        yield f"{name} is about the token, not about the workload"
    elif not isinstance(pattern, str) or not 0 < len(pattern) <= LONGEST_PATTERN or not pattern.isprintable():
        yield f"write what {name} must be, in 1 to {LONGEST_PATTERN} characters"
    elif pattern.count("*") > MOST_STARS:
        yield f"at most {MOST_STARS} * in {name}"
    elif not pattern.strip("*"):
        yield f"{name} may be anything then; say what it must be, or leave it out"
    elif "?" in pattern or "[" in pattern:
        yield f"only * stands for other text in {name}"


def _says_which(issuer: str, name: str, pattern: Any) -> bool:
    """Whether this claim alone picks out workloads of one place, rather than of everybody on the platform."""
    if not isinstance(pattern, str):
        return False
    fixed, star, _ = pattern.partition("*")
    if issuer.rstrip("/") == GITHUB:
        return _says_which_repository(name, fixed, is_whole=not star)
    return name == "sub" and (not star or len(re.findall(r"[^:/]+[:/]", fixed)) >= 2)


def _says_which_repository(name: str, fixed: str, *, is_whole: bool) -> bool:
    """`repo:octo/app:...`: up to the second colon it is fixed, or a fork called octo/app-of-mine would match."""
    if name == "sub":
        return fixed.startswith("repo:") and fixed.count(":") >= 2 and "/" in fixed.split(":")[1]
    if name == "repository":
        return is_whole and fixed.count("/") == 1 and not fixed.startswith("/") and not fixed.endswith("/")
    return name == "repository_id" and is_whole


def _which(issuer: str) -> str:
    if issuer.rstrip("/") == GITHUB:
        return (
            "it would be the agent for everybody on GitHub: name the repository (repository: octo/app), its "
            "repository_id, or a sub that begins with repo:octo/app:"
        )
    return (
        "it would be the agent for everybody on the platform: name the sub, whole, or fixed up to its second part "
        "(system:serviceaccount:payments:*)"
    )


def matches(rule: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    """Every claim of the rule is there, as text, and as the rule says. An empty rule matches nothing."""
    return bool(rule) and all(_is_as_said(pattern, claims.get(name)) for name, pattern in rule.items())


def _is_as_said(pattern: Any, found: Any) -> bool:
    if not isinstance(pattern, str) or not isinstance(found, str):
        return False
    return found == pattern if "*" not in pattern else _fits(pattern.split("*"), found)


def _fits(pieces: list[str], text: str) -> bool:
    """In one pass, so that no text takes longer than its length."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True


def in_words(claims: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {pattern}" for name, pattern in sorted(claims.items()))
