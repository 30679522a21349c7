"""The receipt: what was found, done and proven, as a fixed text that is signed.

Its first edition is issued when the withdrawal is in force everywhere; another follows when the worker has done what
was left for later. Each has its digest in evidence, names the one it replaces, and is signed with the key of the log:
whoever was handed one can check it without us (`manage.py verify_receipt`).
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from django.db.models import F, Q, QuerySet

from audit.checkpoint import BadKey, BadNote, Verifier, installation_signer
from audit.event import AuditEvent
from audit.record import record
from gateway.actions import act
from gateway.enforcement import Enforcement
from gateway.offboarding_proof import Check
from governance import offboarding as verbs
from governance.models import Offboarding, OffboardingStep
from governance.offboarding import Plan
from governance.offboarding_findings import LEFT_KINDS
from governance.offboarding_steps import unfinished

logger = logging.getLogger(__name__)

FIRST_CALLS = 50
TITLE = "gatehouse offboarding receipt"
State = Offboarding.State


def issue(offboarding: Offboarding, seen: Enforcement, check: Check, *, verdict: str, by: str) -> bool:
    """The next edition, with its evidence. False if somebody else was quicker."""
    now = datetime.now(UTC)
    receipt = receipt_of(offboarding, seen, check, issued_at=now)
    text = orjson.dumps(receipt, option=orjson.OPT_SORT_KEYS).decode()
    digest = hashlib.sha256(text.encode()).hexdigest()
    signature = _signed(str(offboarding.id), receipt["edition"], digest)

    def settle(_: Any, now: datetime) -> bool:
        event = _told(offboarding, receipt, digest, verdict=verdict, by=by, now=now)
        same = Offboarding.objects.filter(id=offboarding.id, state=offboarding.state, edition=offboarding.edition)
        moved = same.update(
            state=verdict,
            enforcement=seen.as_json(),
            finished_at=offboarding.finished_at if offboarding.state == verdict else now,
            checked=check.as_json(),
            receipt=text,
            receipt_digest=digest,
            receipt_event=event.id,
            edition=receipt["edition"],
            issued_at=receipt["issued_at"],
            signature=signature,
        )
        if moved:
            record(event)
        return bool(moved)

    return act(settle, by=by)


def receipt_of(offboarding: Offboarding, seen: Enforcement, check: Check, *, issued_at: datetime) -> dict[str, Any]:
    assert offboarding.withdrawn_at is not None
    plan = Plan.from_json(offboarding.plan)
    items = list(items_as_they_stand(offboarding))
    return {
        "offboarding": str(offboarding.id),
        "edition": offboarding.edition + 1,
        "issued_at": issued_at.isoformat(),
        "replaces": offboarding.receipt_digest or None,
        "person": offboarding.person.email,
        "name": offboarding.person.name,
        "by": offboarding.created_by,
        "reason": offboarding.reason,
        "at": offboarding.withdrawn_at.isoformat(),
        "undo_until": offboarding.undo_until.isoformat() if offboarding.undo_until else None,
        "successor": plan.otherwise or None,
        "plan": offboarding.plan,
        "counts": dict(Counter(item["kind"] for item in items)),
        "left": sum(bool(item.get("todo")) for item in items),
        "items": items,
        "enforcement": seen.as_json(),
        "check": check.as_json(),
    }


def items_as_they_stand(offboarding: Offboarding) -> Iterable[dict[str, Any]]:
    """What was found, each with action, result, time, what remains until a human has done what, as far as that is."""
    steps = {(step.kind, step.subject_id): step for step in offboarding.steps.select_related("owner")}
    at = offboarding.withdrawn_at.isoformat() if offboarding.withdrawn_at else ""
    for found in offboarding.items:
        item = {"risk": "", **found}
        step = steps.get((item.get("step", ""), item["id"]))
        if step is not None:
            yield item | _standing(step)
        else:
            yield item | {"result": "told" if item["kind"] in LEFT_KINDS else "done", "at": at}


def _standing(step: OffboardingStep) -> dict[str, Any]:
    if step.state in (OffboardingStep.State.DONE, OffboardingStep.State.VOID):
        at = step.done_at.isoformat() if step.done_at else ""
        return {"result": step.result or "done", "at": at, "todo": "", "risk": ""}
    todo = step.todo or ("" if step.state == OffboardingStep.State.WAITING else "look at it")
    owner = f", {step.owner.email}" if step.owner else ""
    due = f", by {step.due_at:%Y-%m-%d}" if step.due_at else ""
    result = "under way" if step.state == OffboardingStep.State.WAITING else "left to a human"
    return {"result": result, "at": step.created_at.isoformat(), "todo": f"{todo}{owner}{due}" if todo else ""}


def with_news() -> list[Offboarding]:
    """Those of which a step ended after the receipt was issued, and with which the worker is not busy any more."""
    rows = Offboarding.objects.filter(
        Q(steps__done_at__gt=F("issued_at")) | Q(steps__state="manual", steps__next_try_at__gt=F("issued_at")),
        state__in=(State.ENFORCED, State.INCOMPLETE),
    )
    now = datetime.now(UTC)
    found = rows.distinct().select_related("person").order_by("created_at")
    return [row for row in found if not unfinished(row.steps.all(), now)]


def _told(
    offboarding: Offboarding, receipt: Mapping[str, Any], digest: str, *, verdict: str, by: str, now: datetime
) -> AuditEvent:
    """Bounded, whatever she owned: the digest binds the whole receipt, which the offboarding's row keeps."""
    enforcement = receipt["enforcement"]
    calls = enforcement["calls"]
    details = {
        "subject": f"person:{receipt['person']}",
        "receipt_sha256": digest,
        **{key: receipt[key] for key in ("offboarding", "edition", "replaces", "at", "successor", "counts", "left")},
        "check": receipt["check"],
        "items": receipt["items"][: verbs.FIRST_ITEMS],
        "enforcement": {**enforcement, "calls": calls[:FIRST_CALLS], "calls_in_all": len(calls)},
    }
    kind = "offboarding.completed" if enforcement["complete"] else "offboarding.incomplete"
    if verdict == offboarding.state:
        kind = "offboarding.receipt"
    return AuditEvent(kind=kind, at=now, actor=by, person=receipt["person"], details=details)


# -- the signature


def statement_of(offboarding: str, edition: int, digest: str, *, log: str) -> str:
    """What is signed. Its lines are no checkpoint's: nobody can show one for the other."""
    return f"{TITLE}\n{log}\noffboarding {offboarding}\nedition {edition}\nsha256 {digest}\n"


def sign_unsigned() -> int:
    """For receipts that were issued while the key could not be read."""
    rows = Offboarding.objects.filter(signature="").exclude(receipt_digest="")
    return sum(_sign(row) for row in rows.only("id", "edition", "receipt_digest")[:50])


def _sign(row: Offboarding) -> bool:
    signature = _signed(str(row.id), row.edition, row.receipt_digest)
    same: QuerySet[Offboarding] = Offboarding.objects.filter(id=row.id, receipt_digest=row.receipt_digest)
    return bool(signature and same.update(signature=signature))


def _signed(offboarding: str, edition: int, digest: str) -> str:
    """Empty where the key cannot be read just now: the withdrawal does not wait for it."""
    try:
        signer = installation_signer()
    except (OSError, BadKey):
        logger.exception("the receipt is not signed yet")
        return ""
    return signer.sign_statement(statement_of(offboarding, edition, digest, log=signer.name))


def verify_receipt(receipt: bytes, note: str, verifier: Verifier) -> dict[str, Any]:
    """The receipt, if this key signed exactly these bytes. Raises BadNote."""
    signed = verifier.open_statement(note)
    try:
        told = orjson.loads(receipt)
        expected = statement_of(
            told["offboarding"], told["edition"], hashlib.sha256(receipt).hexdigest(), log=verifier.name
        )
    except (ValueError, TypeError, KeyError):
        raise BadNote("this is no offboarding receipt") from None
    if signed != expected:
        raise BadNote("the signature is of another receipt, or of another edition, or the receipt was changed")
    return dict(told)
