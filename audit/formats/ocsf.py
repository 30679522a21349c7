"""OCSF 1.8: API Activity for calls, Authentication for sign-ins, User Access Management for what people and agents may,
Detection Finding for what a human should look at, Entity Management for the rest. What OCSF has no place for stands
under `unmapped`, with the leaf's index and hash."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from audit.formats.entry import Entry, Redact, SignedSize
from audit.kinds import CALL_KINDS, LISTED_KINDS, TALK_KINDS, kind_in_words

VERSION: Final = "1.8.0"
PRODUCT: Final = {"name": "Gatehouse", "vendor_name": "Gatehouse"}
OTHER: Final = 99
CHECKPOINT: Final = "audit.checkpoint"
"""No kind of the log: a statement about it."""


@dataclass(frozen=True, slots=True)
class OcsfClass:
    """`acts` maps the end of a kind to OCSF's own number for it; anything else is 99 by its own name."""

    uid: int
    category: int
    acts: dict[str, int]


API_ACTIVITY: Final = OcsfClass(6003, 6, dict.fromkeys(("listed",), 2))
AUTHENTICATION: Final = OcsfClass(3002, 3, {"signed_in": 1, "sign_in_failed": 1, "used": 1, "signed_out": 2})
USER_ACCESS: Final = OcsfClass(
    3005, 3, {"given": 1, "published": 1, "taken": 1, "staged": 1, "revoked": 2, "withdrawn": 2, "taken_back": 2}
)
FINDING: Final = OcsfClass(2004, 2, dict.fromkeys(("found", "quarantined", "refused", "refused_again", "received"), 1))
ENTITY: Final = OcsfClass(
    3004,
    3,
    {"created": 1, "changed": 3, "retired": 4, "revoked": 4, "ended": 4, "approved": 3, "applied": 3, "replaced": 3},
)

API_KINDS: Final = frozenset((*CALL_KINDS, *TALK_KINDS, *LISTED_KINDS, "resource.watched", "approvals.listed"))
AUTHENTICATION_KINDS: Final = frozenset(
    ("person.signed_in", "person.signed_out", "person.sign_in_failed", "break_glass_account.used")
)
USER_ACCESS_SUBJECTS: Final = frozenset(("role", "bundle", "grant", "break_glass", "authorization", "authorizations"))
FINDING_KINDS: Final = frozenset(
    (
        "zombies.found",
        "tool.quarantined",
        "strangers.refused",
        "act.refused",
        "calls.refused_again",
        "security_event.received",
    )
)
SEVERE: Final = frozenset(("break_glass", "break_glass_account", "rotation", "freeze"))


def record(entry: Entry, *, org: str, redact: Redact | None) -> bytes:
    if entry.header is None:
        header: dict[str, Any] = {"kind": "evidence.pruned", "id": str(entry.event_id)}
    else:
        header = orjson.loads(entry.header)
        header = dict(redact(header)) if redact else header
    kind = str(header.get("kind", ""))
    of = class_of(kind)
    event = {**_common(of, kind, entry.at, org), **_outcome(header), **_body(of, kind, header)}
    event["metadata"] |= {"uid": str(entry.event_id), "sequence": entry.index}
    event["unmapped"] = {
        "leaf_index": entry.index,
        "leaf_hash": entry.hash.hex(),
        "epoch": entry.epoch,
        **{name: value for name, value in header.items() if value not in ("", None, {}) and name not in ("id", "at")},
    }
    return orjson.dumps(event)


def checkpoint(signed: SignedSize, *, org: str) -> bytes:
    told = _body(ENTITY, CHECKPOINT, {"actor": "system:sequencer"})
    event = {**_common(ENTITY, CHECKPOINT, signed.at, org), **told}
    event["unmapped"] = {"kind": CHECKPOINT, "size": signed.size, "note": signed.note}
    return orjson.dumps(event)


def class_of(kind: str) -> OcsfClass:
    if kind in API_KINDS:
        return API_ACTIVITY
    if kind in AUTHENTICATION_KINDS:
        return AUTHENTICATION
    if kind in FINDING_KINDS:
        return FINDING
    return USER_ACCESS if kind.partition(".")[0] in USER_ACCESS_SUBJECTS else ENTITY


def _common(of: OcsfClass, kind: str, at: datetime, org: str) -> dict[str, Any]:
    activity = of.acts.get(kind.partition(".")[2], OTHER)
    named = {"activity_name": kind_in_words(kind)} if activity == OTHER else {}
    return {
        "category_uid": of.category,
        "class_uid": of.uid,
        "type_uid": of.uid * 100 + activity,
        "activity_id": activity,
        **named,
        "time": int(at.timestamp() * 1000),
        "severity_id": 4 if kind.partition(".")[0] in SEVERE or of is FINDING else 1,
        "message": kind_in_words(kind),
        "metadata": {
            "version": VERSION,
            "product": PRODUCT,
            "log_name": "audit",
            "event_code": kind,
            "tenant_uid": org or "gatehouse",
        },
    }


def _outcome(header: dict[str, Any]) -> dict[str, Any]:
    """1 success, 2 failure; nothing is said of what has no outcome."""
    told = str(header.get("outcome") or "")
    failed = str(header.get("kind", "")).endswith(("failed", "refused", "denied"))
    if not told and not failed:
        return {}
    is_good = told in ("ok", "input_required") and not failed
    status = {"status_id": 1, "status": "Success"} if is_good else {"status_id": 2, "status": "Failure"}
    code = told or str(header.get("decision") or "")
    return {**status, **({"status_code": code} if code else {})}


def _body(of: OcsfClass, kind: str, header: dict[str, Any]) -> dict[str, Any]:
    subject = _subject(kind, header)
    if of is API_ACTIVITY:
        return {"actor": _actor(header), "api": _api(kind, header), "src_endpoint": _source(header)}
    if of is AUTHENTICATION:
        return {"user": _user(header), "service": {"name": "Gatehouse"}, "actor": _actor(header)}
    if of is USER_ACCESS:
        return {"user": _user(header), "privileges": [subject], "actor": _actor(header)}
    if of is FINDING:
        uid = str(header.get("id") or subject)
        return {"finding_info": {"uid": uid, "title": kind_in_words(kind)}}
    return {"entity": {"name": subject, "type": kind.partition(".")[0]}, "actor": _actor(header)}


def _api(kind: str, header: dict[str, Any]) -> dict[str, Any]:
    service = str(header.get("connector") or "")
    return {
        "operation": str(header.get("tool") or kind),
        **({"service": {"name": service}} if service else {}),
        **({"request": {"uid": str(header["call_id"])}} if header.get("call_id") else {}),
    }


def _actor(header: dict[str, Any]) -> dict[str, Any]:
    agent, person = str(header.get("agent") or ""), str(header.get("person") or "")
    name = agent or str(header.get("actor") or "") or "unknown"
    return {"app_name": name, **({"user": {"name": person, "uid": person}} if person else {})}


def _user(header: dict[str, Any]) -> dict[str, Any]:
    name = str(header.get("person") or header.get("agent") or header.get("actor") or "unknown")
    return {"name": name, "uid": name}


def _source(header: dict[str, Any]) -> dict[str, Any]:
    details = header.get("details")
    found = details.get("ip") or details.get("source_ip") if isinstance(details, dict) else None
    return {"ip": found} if isinstance(found, str) and found else {"svc_name": "gatehouse"}


def _subject(kind: str, header: dict[str, Any]) -> str:
    details = header.get("details")
    told = details.get("subject") if isinstance(details, dict) else None
    return str(told or header.get("connector") or header.get("agent") or kind)
