"""What holds where detection misses: what a run learned from untrusted text is no place to send anything to.

Costs nothing while no rule names these findings.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from gateway.call import Call, Intent, SafeResult
from gateway.commit.entry import Mentions, Reach
from gateway.inspecting import kinds_of
from gateway.ports import Ports
from gateway.run_destinations import MORE, digest_of
from gateway.run_labels import FLAGGED, UNTRUSTED
from gateway.values import changed
from governance.inspection.findings import Finding, Findings, Kind, limit
from governance.inspection.hosts import keys_in
from governance.inspection.skim import Skim
from governance.snapshot import Snapshot, Tool

DESTINATION: Final = "untrusted_destination"
LINK: Final = "untrusted_link"
TAINTING: Final = frozenset((UNTRUSTED, FLAGGED))
"""Labels of a run that has met untrusted text."""
MOST_REACHED: Final = 10_000
MOST_MENTIONED: Final = 1_000
"""Of one result."""
MOST_LOOKED_AT: Final = 50_000
SCREENED: Final = "screened"
MENTION: Final[frozenset[Kind]] = frozenset(("mention",))


def follows(snapshot: Snapshot) -> bool:
    """Whether it matters what runs learn of destinations."""
    return snapshot.looks_for(DESTINATION) or snapshot.looks_for(LINK)


def skim_of(value: Any, names: frozenset[str], snapshot: Snapshot) -> Skim:
    """For all that is asked of a value of which rules want to know `names`."""
    kinds = kinds_of(names)
    return Skim(value, kinds | MENTION if follows(snapshot) else kinds)


async def ways_out(call: Call, sent: Iterable[Any], ports: Ports, *, skim: Skim | None = None) -> Findings:
    """The destinations in any of `sent`."""
    size = len(call.recorded_arguments)
    each_looked = [await _looked(text, "destination", size, ports, skim) for text in sent]
    return Findings(tuple([each for looked in each_looked for each in looked]))


async def reached(call: Call, looked: Findings, found: Findings, ports: Ports) -> tuple[Findings, Reach | None]:
    """And with those destinations that the run knows from untrusted text; and what that was found by."""
    if not looked:
        return found, None
    ways = _of_kind(looked, "destination", call.caller.snapshot, ports)
    others = [*found, *_unseen(looked, DESTINATION)]
    if not ways:
        return _with(found, others), None
    digests = {each: _digests(call.caller.agent.id, each) for each in ways}
    asked = frozenset().union(*digests.values())
    if len(asked) > MOST_REACHED:
        return _with(found, [*others, limit("limit.destinations", "", subject=DESTINATION)]), None
    known = await ports.destinations.known(call.caller.agent.id, call.frame.session_id, asked)
    barred = [each for each in ways if known.is_untrusted(digests[each])]
    reach = Reach(asked | {MORE}, (asked | {MORE}) & known.untrusted)
    return _with(found, [*others, *barred]), reach


async def with_new_links(
    intent: Intent, content: Any, size: int, found: Findings, ports: Ports, *, skim: Skim | None = None
) -> Findings:
    """And with links to what the run did not know before, and is not our own."""
    call = intent.call
    looked = await _looked(content, "link", size, ports, skim)
    if not looked:
        return found
    digests = await ports.inspector.beside(partial(_ways, call, looked, "link", ports), size=size)
    others = [*found, *_unseen(looked, LINK)]
    if not digests:
        return _with(found, others)
    asked = frozenset(list(frozenset().union(*digests.values()))[:MOST_REACHED])
    known = await ports.destinations.known(call.caller.agent.id, call.frame.session_id, asked)
    return _with(found, [*others, *(each for each in digests if known.is_new(digests[each]))])


async def noted(intent: Intent, received: SafeResult, shown: SafeResult, ports: Ports) -> SafeResult:
    """With what the agent is about to learn, for the record of its run. What is masked counts as if it were shown; what
    is withheld does not."""
    call = intent.call
    if not follows(call.caller.snapshot):
        return shown
    content: Any = received.result if received.result is not None else received.error
    mentioned: frozenset[str] = frozenset()
    is_trusted = _is_trusted(call) and FLAGGED not in shown.labels
    if shown.outcome != SCREENED:
        size = len(received.encoded)
        mentioned = await _mentioned(call, content, size, ports, is_trusted=is_trusted, skim=shown.skim)
    sent = await _sent(call, ports)
    if not mentioned and not sent:
        return shown
    return changed(shown, mentions=Mentions(mentioned, is_trusted, sent))


async def learned(call: Call, content: Any, size: int, ports: Ports, *, is_flagged: bool) -> Mentions | None:
    """What the agent learns from an answer that waited, if a rule wants to know."""
    if not follows(call.caller.snapshot):
        return None
    is_trusted = _is_trusted(call) and not is_flagged
    mentioned = await _mentioned(call, content, size, ports, is_trusted=is_trusted)
    return Mentions(mentioned, is_trusted) if mentioned else None


async def note_said(intent: Intent, said: Any, size: int, ports: Ports) -> None:
    """What an upstream says before its result is known before anybody hears it. Raises EvidenceUnavailable."""
    call = intent.call
    if not follows(call.caller.snapshot) or _is_trusted(call):
        return
    if mentioned := await _mentioned(call, said, size, ports, is_trusted=False):
        mentions = Mentions(mentioned, is_trusted=False)
        await ports.destinations.add(call.caller.agent.id, call.frame.session_id, mentions)


async def _sent(call: Call, ports: Ports) -> frozenset[str]:
    """What the agent knew by itself: it sent it while its run had met no untrusted text."""
    sent, size = _written(call), len(call.recorded_arguments)
    mentioned = await _mentioned(call, sent, size, ports, is_trusted=True, skim=call.skim)
    if not mentioned:
        return mentioned
    labels = await ports.run_labels.of(call.caller.agent.id, call.frame.session_id)
    return mentioned if labels.isdisjoint(TAINTING) else frozenset()


def _written(call: Call) -> dict[str, Any]:
    """By the agent; the very object that was looked at before, if that holds nothing else."""
    if (answers := call.frame.resumed.get("inputResponses")) is not None:
        return {"arguments": call.arguments, "resumed": answers}
    looked_at = call.skim.value if call.skim is not None else {}
    is_same = len(looked_at) == 1 and looked_at.get("arguments") is call.arguments
    return looked_at if is_same else {"arguments": call.arguments}


async def _mentioned(
    call: Call, content: Any, size: int, ports: Ports, *, is_trusted: bool, skim: Skim | None = None
) -> frozenset[str]:
    """By digest. More than is kept is told where it is untrusted, and forgotten where it is not."""
    found = await _looked(content, "mention", size, ports, skim)
    if not found:
        return frozenset()
    ways = await ports.inspector.beside(partial(_ways, call, found, "mention", ports), size=size)
    kept = dict.fromkeys(digest for digests in ways.values() for digest in digests)
    if is_trusted:
        return frozenset(list(kept)[:MOST_MENTIONED])
    return frozenset(kept) if found.is_complete and len(kept) <= MOST_MENTIONED else frozenset({*kept, MORE})


async def _looked(content: Any, kind: Kind, size: int, ports: Ports, skim: Skim | None) -> Findings:
    """By itself: however many there are, nothing else goes unseen for it."""
    return await ports.inspector.look_for(content, frozenset((kind,)), size=size, most=MOST_LOOKED_AT, skim=skim)


def _unseen(looked: Findings, name: str) -> list[Finding]:
    """What could not be looked at is in doubt for this alone."""
    return [replace(each, subject=name) for each in looked if each.kind == "limit"]


def _is_trusted(call: Call) -> bool:
    """A resource or prompt is no better than the tools of its system."""
    tool, snapshot = call.tool, call.caller.snapshot
    if tool.kind == "tool":
        return not _is_untrusted(tool)
    return not any(_is_untrusted(each) for each in snapshot.tools.values() if each.connector.id == tool.connector.id)


def _is_untrusted(tool: Tool) -> bool:
    return bool(tool.variables.get("untrusted"))


def _of_kind(found: Findings, kind: str, snapshot: Snapshot, ports: Ports) -> list[Finding]:
    ways = (each for each in found if each.kind == kind)
    return [each for each in ways if not ports.destinations.is_own(keys_in(each.subject), snapshot)]


def _ways(call: Call, found: Findings, kind: str, ports: Ports) -> dict[Finding, tuple[str, ...]]:
    """What is not our own, by what it is known by."""
    ways = _of_kind(found, kind, call.caller.snapshot, ports)
    return {each: _digests(call.caller.agent.id, each) for each in ways}


def _digests(agent_id: str, finding: Finding) -> tuple[str, ...]:
    return tuple(digest_of(agent_id, key) for key in keys_in(finding.subject))


def _with(found: Findings, these: Iterable[Finding]) -> Findings:
    return replace(found, found=tuple(these))
