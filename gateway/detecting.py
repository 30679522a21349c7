"""What is in a content, by our own inspection and by the detectors of somebody else's that rules name.

Where no rule names one this costs a look-up. A detector that gives no answer leaves a finding of kind `limit` that
speaks for it alone, and each rule's failure mode decides. What leaves for a third party holds no value of the vault, no
canary and no agent's token, and no other secret that we find, unless its set-up says so.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, TypeVar

from connectors.detectors import DETECTOR_KINDS
from gateway.call import Call, Consulted
from gateway.detectors import Answered
from gateway.fragments import SECRET
from gateway.ports import Ports
from governance import canonical
from governance.inspection.findings import DETECTOR, Finding, Findings, Severity, limit
from governance.inspection.masking import JoinedIndex, VaultIndex
from governance.inspection.outside import About, Document, Span, TooLarge, TooMany, document, findings
from governance.inspection.skim import Skim
from governance.inspection.walk import Leaf
from governance.snapshot_values import OutsideDetector, SealedSecret
from governance.vault import maskable_forms

T = TypeVar("T")

ARGUMENTS, RESULT = "arguments", "result"
AT_ONCE_BYTES: Final = 4_096


class Looked(NamedTuple):
    """What is there, and which detectors were asked."""

    found: Findings
    asked: tuple[Consulted, ...] = ()


async def look(
    call: Call, value: Any, names: frozenset[str], size: int, ports: Ports, *, on: str, skim: Skim | None = None
) -> Looked:
    """What is surely there of what rules call `names`; `size` is that of the value as JSON, in bytes."""
    snapshot, outside = call.caller.snapshot, detectors_in(names)
    if not outside:
        return Looked(await ports.inspector.look(value, names, size=size, snapshot=snapshot, skim=skim))
    own = names - outside
    async with asyncio.TaskGroup() as group:
        ours = group.create_task(ports.inspector.look(value, own, size=size, snapshot=snapshot, skim=skim))
        others = group.create_task(_secrets(value, size, ports)) if SECRET not in own else None
        question = _Question(call, value, size, ports, on, ours, others)
        asking = [group.create_task(question.put_to(name)) for name in sorted(outside)]
    found = ours.result()
    told = [task.result() for task in asking]
    everything = (*found.found, *(finding for said, _ in told for finding in said))
    return Looked(replace(found, found=everything, asked=own), tuple(asked for _, asked in told))


@lru_cache(maxsize=16)
def detectors_in(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith(DETECTOR))


class _Unasked(Exception):
    """Nothing was sent; the argument is the code of the failure."""


@dataclass(frozen=True, slots=True)
class _Question:
    call: Call
    value: Any
    size: int
    ports: Ports
    on: str
    ours: asyncio.Task[Findings]
    others: asyncio.Task[Findings] | None
    """Secrets, where no rule asks for them."""

    async def put_to(self, name: str) -> tuple[list[Finding], Consulted]:
        about = self.call.caller.snapshot.detectors.get(name.removeprefix(DETECTOR))
        if about is None:
            return [_unanswered(name, "unknown")], Consulted(name.removeprefix(DETECTOR), "", 0, "unknown", 0.0, 0)
        told = partial(Consulted, about.name, about.kind, about.version)
        try:
            asked = await self._document(about)
            answered = await self._answer(about, asked)
            found = await self._in_thread(lambda: findings(_about(about), asked, answered.hits))
        except _Unasked as reason:
            return [_unanswered(name, str(reason))], told(str(reason), 0.0, 0)
        except TooMany:
            return [_unanswered(name, "too_many")], told("too_many", answered.ms, len(answered.hits), answered.model)
        if not answered.is_ok:
            return [_unanswered(name, answered.outcome)], told(answered.outcome, answered.ms, 0)
        return found, told(answered.outcome, answered.ms, len(found), answered.model)

    async def _document(self, about: OutsideDetector) -> Document:
        """Raises _Unasked."""
        if not about.is_enabled:
            raise _Unasked("off")
        if about.side not in ("both", self.on):
            raise _Unasked("other_side")
        secrets = await self._to_hide(about)
        vault = _never_told(self.call, self.ports)
        try:
            return await self._in_thread(partial(_written, self.value, secrets, vault, about.most_bytes))
        except TooLarge:
            raise _Unasked("too_large") from None

    async def _to_hide(self, about: OutsideDetector) -> tuple[Finding, ...]:
        """Canaries are hidden whatever the set-up says. Raises _Unasked where nobody knows what would have to be."""
        kind = DETECTOR_KINDS.get(about.kind)
        if kind is not None and kind.is_local:
            return ()
        looked = [await self.ours]
        if self.others is not None and not about.sends_known_secrets:
            looked.append(await self.others)
        if any(each.kind == "limit" and not each.subject for found in looked for each in found):
            raise _Unasked("not_inspected")
        secrets = (each for found in looked for each in found if each.kind == SECRET)
        return tuple(each for each in secrets if each.subject or not about.sends_known_secrets)

    async def _answer(self, about: OutsideDetector, asked: Document) -> Answered:
        if not asked.text.strip():
            return Answered("ok")
        return await self.ports.detectors.ask(
            about, asked.text, is_answer=self.on == RESULT, secret=_secret_of(about, self.call)
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return work() if self.size <= AT_ONCE_BYTES else await asyncio.to_thread(work)


async def _secrets(value: Any, size: int, ports: Ports) -> Findings:
    return await ports.inspector.look_for(value, frozenset((SECRET,)), size=size)


def _written(value: Any, secrets: Iterable[Finding], vault: VaultIndex, most_bytes: int) -> Document:
    """Raises TooLarge and, where a secret reaches across values, _Unasked."""
    spans: dict[tuple[str, bool], list[Span]] = defaultdict(list)
    for each in secrets:
        spans[each.path, each.in_key].append((each.start, each.end))
    has_values = vault.find(canonical.encode(value))

    def hidden(leaf: Leaf) -> Iterator[Span]:
        yield from spans.get((leaf.path, leaf.is_key), ())
        if has_values:
            yield from ((start, end) for _, start, end in vault.spans(leaf.text))

    written = document(value, hidden=hidden, most_bytes=most_bytes)
    if has_values and vault.find(canonical.encode(written.text)):
        raise _Unasked("holds_secret")
    return written


def _never_told(call: Call, ports: Ports) -> VaultIndex:
    """Values of the vault, and the token by which the agent came."""
    vault, token = ports.vault_index(call.caller.snapshot), call.frame.token
    return JoinedIndex(vault, VaultIndex([("agent-token", maskable_forms("bearer", token))])) if token else vault


def _secret_of(about: OutsideDetector, call: Call) -> SealedSecret | None:
    return next((each for each in call.caller.snapshot.secrets if each.id == about.secret_id), None)


def _about(about: OutsideDetector) -> About:
    return About(about.name, about.version, Severity[about.severity.upper()], about.least_confidence)


def _unanswered(name: str, code: str) -> Finding:
    return limit(f"limit.detector.{code}", "", subject=name)
