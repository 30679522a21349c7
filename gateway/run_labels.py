"""What the runs of agents have met: data classes, untrusted content, or that a reaction holds the rest of the run.

Written in the commit of an outcome, before the agent sees the result; an intent that was decided under labels compares
them once more in its own commit.
"""

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from django.db.models import Q

from gateway.call import Call, SafeResult
from gateway.commit.entry import Run
from gateway.database import DatabaseThread
from gateway.models import RunLabel
from governance.inspection.findings import NAMED, Findings

UNTRUSTED: Final = "untrusted"
FLAGGED: Final = "flagged"
"""Instructions were found in a result, or it could not be looked at for them; whatever became of it."""
HELD: Final = "held"
"""Of all the agent does until the hold ends: no new session gets out of it."""
FOUND: Final = {FLAGGED: NAMED["injection"], "secret": NAMED["secret"], "personal_data": NAMED["personal_data"]}
"""Label -> the kinds of finding that bring it."""
NONE: Final[frozenset[str]] = frozenset()
FLOOR: Final = timedelta(minutes=30)
"""So long an agent keeps what it met, whatever run it says it is in."""
REFRESHED_EVERY: Final = timedelta(minutes=1)
"""A label that was met again is written again only then."""
REACH: Final = FLOOR + REFRESHED_EVERY
KEPT_FOR: Final = timedelta(days=2)
MOST_REMEMBERED: Final = 10_000


class RunLabels:
    """One of each process; all methods run on the event loop."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._remembered: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()

    async def of(self, agent_id: str, session: str) -> frozenset[str]:
        """Of this run, and of all the agent did lately. Raises EvidenceUnavailable."""
        run = run_of(session)
        found = await self._thread.run(lambda: labels_of(agent_id, run, datetime.now(UTC)))
        self._remembered[agent_id, run] = found
        self._remembered.move_to_end((agent_id, run))
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return found

    def guessed(self, agent_id: str, session: str) -> frozenset[str] | None:
        """What they were when somebody here looked last. Others may have added some since and some may have run out: it
        is for what is compared once more, in the commit of an intent, and for no refusal."""
        return self._remembered.get((agent_id, run_of(session)))

    def forget(self, agent_id: str, session: str) -> None:
        """The guess was wrong."""
        self._remembered.pop((agent_id, run_of(session)), None)

    async def add(self, agent_id: str, session: str, labels: frozenset[str]) -> None:
        """For what is no outcome, e.g. a reaction. Raises EvidenceUnavailable."""
        await self._thread.run(lambda: add_labels(agent_id, run_of(session), labels, datetime.now(UTC)))


def run_of(session: str) -> str:
    """How rows name a run; agents choose what it is called."""
    return sha256(session.encode()).hexdigest() if session else ""


def met_by(call: Call, safe: SafeResult | None = None) -> Run | None:
    """What the run of this call has met once its result is seen, by what its tool is and what was found."""
    variables = call.tool.variables
    classes, is_untrusted = variables.get("data_classes"), variables.get("untrusted")
    found = safe.labels if safe is not None else NONE
    mentions = safe.mentions if safe is not None else None
    if not classes and not is_untrusted and not found and mentions is None:
        return None
    labels = found.union(map(str, classes or ()), (UNTRUSTED,) if is_untrusted else ())
    return Run(call.caller.agent.id, run_of(call.frame.session_id), labels, mentions=mentions)


def labels_found(found: Findings) -> frozenset[str]:
    """What is found in a result labels the run, whether a rule flags, masks or withholds it."""
    if not found:
        return NONE
    kinds = {finding.kind for finding in found}
    labels = {label for label, of in FOUND.items() if not of.isdisjoint(kinds)}
    labels.update(finding.rule for finding in found if finding.kind == "data_class")
    return frozenset(labels | ({FLAGGED} if "injection" in found.unseen() else set()))


def labels_of(agent_id: str, run: str, now: datetime) -> frozenset[str]:
    of_run = Q(session=run) if run else Q(pk__in=())
    rows = RunLabel.objects.filter(of_run | Q(at__gt=now - REACH) | Q(label=HELD), agent_id=agent_id)
    return frozenset(rows.values_list("label", flat=True))


def add_labels(agent_id: str, run: str, labels: frozenset[str], now: datetime) -> None:
    rows = [RunLabel(agent_id=agent_id, session=run, label=label, at=now) for label in sorted(labels)]
    RunLabel.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["agent_id", "session", "label"], update_fields=["at"]
    )


def forget_labels(now: datetime) -> None:
    """Holds end by what their reaction says."""
    RunLabel.objects.filter(at__lt=now - KEPT_FOR).exclude(label=HELD).delete()
