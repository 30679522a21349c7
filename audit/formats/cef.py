"""ArcSight's Common Event Format: one line. A header of seven fields, then `key=value` pairs, each with its escapes."""

from functools import lru_cache
from typing import Any, Final

import orjson

from audit.formats.entry import Entry, Redact, SignedSize
from audit.kinds import kind_in_words

PREFIX: Final = "CEF:0|Gatehouse|Gatehouse|1.0"
HIGH, WARNING, INFO = 8, 6, 3
BAD: Final = ("refused", "failed", "denied", "quarantined", "locked", "emergency", "taken", "found")
LONGEST_MESSAGE: Final = 1023


def record(entry: Entry, *, org: str, redact: Redact | None) -> bytes:
    if entry.header is None:
        header: dict[str, Any] = {"kind": "evidence.pruned"}
    else:
        header = orjson.loads(entry.header)
        header = dict(redact(header)) if redact else header
    kind = str(header.get("kind", ""))
    pairs = {
        "rt": int(entry.at.timestamp() * 1000),
        "externalId": entry.event_id,
        "suser": header.get("person"),
        "sproc": header.get("agent") or header.get("actor"),
        "duser": header.get("actor"),
        "act": header.get("decision"),
        "outcome": header.get("outcome"),
        "requestContext": header.get("call_id"),
        **_labelled(
            "cs", tool=header.get("tool"), org=org, leafHash=entry.hash.hex(), connector=header.get("connector")
        ),
        **_labelled("cn", leafIndex=entry.index, epoch=entry.epoch),
        **_cost(header.get("details")),
        "msg": _message(header.get("details")),
    }
    return _line(kind, pairs)


def checkpoint(signed: SignedSize, *, org: str) -> bytes:
    """The note has three lines and a signature; all of it is needed to check it."""
    pairs = {
        "rt": int(signed.at.timestamp() * 1000),
        **_labelled("cs", note=signed.note, org=org),
        **_labelled("cn", logSize=signed.size),
    }
    return _line("audit.checkpoint", pairs)


def escaped_in_header(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("\r", " ")


def escaped_in_extension(text: str) -> str:
    """One search each for what is rarely there: a translation would look at every character."""
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n").replace("\r", "\\r")


def _line(kind: str, pairs: dict[str, Any]) -> bytes:
    told = " ".join(
        f"{key}={escaped_in_extension(str(value))}" for key, value in pairs.items() if value not in ("", None)
    )
    return f"{_head(kind)}|{told}".encode()


@lru_cache(maxsize=1024)
def _head(kind: str) -> str:
    return f"{PREFIX}|{escaped_in_header(kind)}|{escaped_in_header(kind_in_words(kind))}|{_severity(kind)}"


def _labelled(prefix: str, **values: Any) -> dict[str, Any]:
    """`cs1Label=tool cs1=…`: custom fields say themselves what they hold; empty ones leave their number free."""
    found: dict[str, Any] = {}
    for number, (label, value) in enumerate(values.items(), start=1):
        if value not in ("", None):
            found |= {f"{prefix}{number}Label": label, f"{prefix}{number}": value}
    return found


def _cost(details: Any) -> dict[str, Any]:
    """Apart from the message, which is cut where it is long."""
    cost = details.get("cost") if isinstance(details, dict) else None
    if not isinstance(cost, dict):
        return {}
    unit = {"flexString1Label": "currency", "flexString1": cost["currency"]} if cost.get("currency") else {}
    return {"cfp1Label": "cost", "cfp1": cost.get("amount"), **unit}


def _severity(kind: str) -> int:
    if kind.startswith("break_glass"):
        return HIGH
    return WARNING if kind.endswith(BAD) else INFO


def _message(details: Any) -> str:
    return orjson.dumps(details).decode()[:LONGEST_MESSAGE] if details else ""
