"""Our own JSON. Unredacted, `header` stands byte for byte as it was hashed, so that whoever has the line can check
`leaf_hash` = SHA-256(0x00 || epoch as 8 bytes, big-endian || header)."""

from typing import Any

import orjson

from audit.formats.entry import Entry, Redact, SignedSize

MEDIA_TYPE = "application/json"


def record(entry: Entry, *, org: str, redact: Redact | None) -> bytes:
    """`pruned` where only the hash is left, `redacted` where the header is not what was hashed."""
    line: dict[str, Any] = {
        "org": org,
        "leaf_index": entry.index,
        "leaf_hash": entry.hash.hex(),
        "event_id": entry.event_id,
        "time": entry.at,
        "epoch": entry.epoch,
    }
    if entry.header is None:
        line["pruned"] = True
    elif redact is None:
        line["header"] = orjson.Fragment(entry.header)
    else:
        line |= {"redacted": True, "header": redact(orjson.loads(entry.header))}
    return orjson.dumps(line, option=orjson.OPT_UTC_Z)


def checkpoint(signed: SignedSize, *, org: str) -> bytes:
    """The signed note: the destination keeps it as an anchor that nobody here can change."""
    line = {"org": org, "kind": "audit.checkpoint", "size": signed.size, "time": signed.at, "note": signed.note}
    return orjson.dumps(line, option=orjson.OPT_UTC_Z)
