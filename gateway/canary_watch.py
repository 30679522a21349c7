"""What follows where a canary turns up: it is on record, and security is told at once."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from gateway import notices
from gateway.actions import act
from gateway.call import Call, SafeResult
from gateway.canary_index import RULE
from gateway.database import DatabaseThread
from gateway.models import Notice
from governance.facts import Fact, Recorder
from governance.inspection.redaction import Found
from governance.models import Canary

AGAIN_AFTER: Final = timedelta(minutes=10)
"""The same canary and the same agent are told of again only then; each time is on record."""


async def alarm_of_outcome(call: Call, outcome: object, thread: DatabaseThread) -> None:
    """Raises EvidenceUnavailable: then the answer may not leave either."""
    sent = _among(call.found)
    answered = _among(outcome.found) if isinstance(outcome, SafeResult) else set()
    if sent or answered:
        await thread.run(partial(_alarm, call.caller.agent.name, sent=sent, answered=answered))


async def alarm_of_said(call: Call, found: Iterable[Found], thread: DatabaseThread, *, is_sent: bool) -> None:
    """Raises EvidenceUnavailable: then nobody hears it."""
    if seen := _among(found):
        sent, answered = (seen, set[str]()) if is_sent else (set[str](), seen)
        await thread.run(partial(_alarm, call.caller.agent.name, sent=sent, answered=answered))


async def alarm_of_refusal(facts: Mapping[str, Any], thread: DatabaseThread) -> None:
    seen = {str(found.get("subject", "")) for found in facts.get("findings", ()) if found["rule"] == RULE}
    if seen:
        await thread.run(partial(_alarm, str(facts.get("agent", "")), sent=seen, answered=set()))


def _among(found: Iterable[Found]) -> set[str]:
    return {each.subject for each in found if each.rule == RULE}


def _alarm(agent: str, *, sent: set[str], answered: set[str]) -> None:
    def work(record: Recorder, now: datetime) -> None:
        for name in sorted(sent | answered):
            where = "what it sent" if name in sent else "what a system answered"
            record(Fact("canary.seen", f"canary:{name}", {"agent": agent, "where": where}))
            _tell(name, agent, where, now)

    act(work, by="system:gateway")


def _tell(name: str, agent: str, where: str, now: datetime) -> None:
    path = f"/admin/governance/canary/?q={name}&agent={agent}"
    recent = Notice.objects.filter(kind=Notice.Kind.CANARY, body__path=path, written_at__gt=now - AGAIN_AFTER)
    if not recent.exists():
        planted = Canary.objects.filter(name=name).values_list("planted_in", flat=True).first() or ""
        notices.canary_seen(name, agent=agent, where=where, planted_in=planted, path=path, now=now)
