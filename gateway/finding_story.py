"""What a record says of content, in words: what was found, what was done about it, which real values went along."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.hostile_text import visible

MOST_TOLD: Final = 20
OF_KIND: Final = {
    "secret": "a secret",
    "personal": "personal data",
    "card": "a payment card",
    "injection": "an injected instruction",
    "suspicion": "what may be an injected instruction",
    "unicode": "hidden or deceptive text",
    "destination": "a destination from untrusted text",
    "link": "a link to a new host",
    "data_class": "data of a class",
    "external": "what a detector looks for",
    "anomaly": "something unusual for the agent",
    "limit": "something that could not be looked at",
}
"""By kind of finding."""


def found_in(details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(What, by which rule and where) for each finding of a record; the rest as a number."""
    findings = _mappings(details.get("findings"))
    for each in findings[:MOST_TOLD]:
        kind = str(each.get("kind", ""))
        yield f"Found: {OF_KIND.get(kind, visible(kind))}", _place(each)
    if len(findings) > MOST_TOLD:
        yield "And", f"{len(findings) - MOST_TOLD} more places"


def put_in(details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(What, which token where) for each real value that went along in place of a token."""
    values = _mappings(details.get("restored"))
    for each in values[:MOST_TOLD]:
        yield (
            f"Put in: {_text(each, 'kind')}",
            f"for {_text(each, 'token')} at {_text(each, 'path')} by {_text(each, 'rule')}",
        )
    if len(values) > MOST_TOLD:
        yield "And", f"{len(values) - MOST_TOLD} more places"


def rules_in(details: Mapping[str, Any], name: str) -> str:
    """Keys of rules, as a list for people."""
    keys = details.get(name)
    return visible(", ".join(map(str, keys))) if isinstance(keys, list) else ""


def _place(finding: Mapping[str, Any]) -> str:
    rule, path = _text(finding, "rule"), _text(finding, "path")
    where = f" at {path}" if path else ""
    times = f" ({_text(finding, 'count')} times)" if finding.get("count", 1) != 1 else ""
    whose = f", {_text(finding, 'subject')}" if finding.get("subject") else ""
    excepted = f"; excepted by {_text(finding, 'exception')}" if finding.get("exception") else ""
    return f"{rule}{where}{times}{whose}{excepted}"


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(of: Mapping[str, Any], name: str) -> str:
    return visible(str(of.get(name, "")))
