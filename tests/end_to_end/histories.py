"""What became of calls under faults, as three witnesses saw it: their agents, their upstream and evidence.

A `Recorder` takes down what agents sent and heard and what the upstream received. A request is known by the digest of
its arguments, which everybody sees: agents make each of theirs unlike any other, and send none twice.

    no upstream call without a committed intent       no answer without a committed outcome
    no call by a revoked caller                       no duplicate execution
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

from governance import canonical

RESUMED = ("inputResponses", "requestState")


class Heard(StrEnum):
    """How an agent may take what it was told of a request."""

    DONE = "the upstream's answer"
    ASKED = "the upstream's question"
    FAILED = "it failed"
    UNKNOWN = "nobody knows its outcome"
    REFUSED = "nothing was done"
    STRANGE = "what nobody should be told"


OUTCOMES = {
    Heard.DONE: {"ok"},
    Heard.ASKED: {"input_required"},
    Heard.FAILED: {"failed", "cancelled"},
    Heard.UNKNOWN: {"unknown", "failed", "ok"},
}
"""Those that evidence may hold when an agent heard so. A call that was parked may end after its agent was told that
its process is gone."""
WITHDRAWN = {"withheld", "withdrawn"}
"""Outcomes and codes of calls that were made, and whose caller may not hear so any more."""


@dataclass(frozen=True, slots=True)
class Request:
    digest: str
    key_id: str
    sent_at: float


@dataclass(frozen=True, slots=True)
class Telling:
    digest: str
    heard: Heard
    what: str


@dataclass(frozen=True, slots=True)
class Intent:
    call_id: str
    digest: str
    key_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Outcome:
    outcome: str
    code: str


@dataclass(slots=True)
class Recorder:
    requests: dict[str, Request] = field(default_factory=dict)
    tellings: list[Telling] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    revoked: dict[str, float] = field(default_factory=dict)
    """Key ids, and the moment after which nothing may be started with them."""

    def sends(self, key_id: str, params: Mapping[str, Any]) -> str:
        """To be called before it is sent."""
        digest = digest_of(params)
        assert digest not in self.requests, "agents send nothing twice"
        self.requests[digest] = Request(digest, key_id, time.monotonic())
        return digest

    def hears(self, digest: str, heard: Heard, what: str = "") -> None:
        self.tellings.append(Telling(digest, heard, what))

    def receives(self, params: Mapping[str, Any]) -> None:
        """The upstream's side, as soon as it has read the request."""
        self.received.append(digest_of(params))

    def revokes(self, key_id: str) -> None:
        """To be called when the revocation has returned."""
        self.revoked[key_id] = time.monotonic()


@dataclass(frozen=True, slots=True)
class Evidence:
    intents: Mapping[str, Sequence[Intent]]
    """By digest."""
    outcomes: Mapping[str, Sequence[Outcome]]
    """By call id."""
    revoked: Mapping[str, int]
    """Key ids and the epoch of their revocation."""

    def outcomes_of(self, digest: str) -> list[Outcome]:
        return [outcome for intent in self.intents.get(digest, ()) for outcome in self.outcomes.get(intent.call_id, ())]

    def was_not_sent(self, intent: Intent) -> bool:
        return any(outcome.outcome == "not_sent" for outcome in self.outcomes.get(intent.call_id, ()))

    def open_intents(self) -> list[Intent]:
        return [intent for found in self.intents.values() for intent in found if not self.outcomes.get(intent.call_id)]


def digest_of(params: Mapping[str, Any]) -> str:
    """Of what is asked of the upstream, in either direction; the form in which evidence names it."""
    resumed = {name: params[name] for name in RESUMED if name in params}
    arguments = params["arguments"]
    return sha256(canonical.encode({"arguments": arguments, **resumed} if resumed else arguments)).hexdigest()


def read_evidence(events: Iterable[Mapping[str, Any]], revoked: Mapping[str, int]) -> Evidence:
    """From headers with their epochs, see Installation.events, and the epochs of revocations by key id."""
    intents: dict[str, list[Intent]] = defaultdict(list)
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for event in events:
        details = event["details"]
        if event["kind"] == "call.intent":
            digest = details["arguments_digest"]
            intents[digest].append(Intent(event["call_id"], digest, details["credential"], event["epoch"]))
        elif event["kind"] == "call.outcome":
            outcomes[event["call_id"]].append(Outcome(event["outcome"], details.get("code", "")))
    return Evidence(intents, outcomes, revoked)


def check(recorder: Recorder, evidence: Evidence) -> list[str]:
    """Everything that must not be, in words; to be asked when nothing runs any more and recovery is done."""
    return [*_at_the_upstream(recorder, evidence), *_told(recorder, evidence), *_by_revoked(recorder, evidence),
            *_without_end(evidence)]  # fmt: skip


def _at_the_upstream(recorder: Recorder, evidence: Evidence) -> Iterator[str]:
    for digest, times in Counter(recorder.received).items():
        intents = evidence.intents.get(digest, ())
        if not intents:
            yield f"upstream call without an intent: {digest}"
        elif all(evidence.was_not_sent(intent) for intent in intents):
            yield f"upstream call that evidence says was not sent: {digest}"
        if times > 1:
            yield f"executed {times} times: {digest}"


def _told(recorder: Recorder, evidence: Evidence) -> Iterator[str]:
    received = set(recorder.received)
    for telling in recorder.tellings:
        outcomes = evidence.outcomes_of(telling.digest)
        if telling.heard is Heard.STRANGE:
            yield f"a strange answer: {telling.what}"
        elif telling.heard is Heard.REFUSED:
            is_withdrawn = any({outcome.outcome, outcome.code} & WITHDRAWN for outcome in outcomes)
            if telling.digest in received and not is_withdrawn:
                yield f"told that nothing was done, but it was: {telling.digest} {telling.what} {outcomes}"
        elif not any(outcome.outcome in OUTCOMES[telling.heard] for outcome in outcomes):
            yield f"answered {telling.heard!r} without such an outcome: {telling.digest} {telling.what} {outcomes}"


def _by_revoked(recorder: Recorder, evidence: Evidence) -> Iterator[str]:
    received = set(recorder.received)
    for request in recorder.requests.values():
        revoked_at = recorder.revoked.get(request.key_id)
        is_late = revoked_at is not None and request.sent_at > revoked_at
        if is_late and (request.digest in received or evidence.intents.get(request.digest)):
            yield f"a call by a revoked caller: {request.digest}"
    for key_id in recorder.revoked:
        if key_id not in evidence.revoked:
            yield f"a revocation without a record: {key_id}"
    for found in evidence.intents.values():
        for intent in found:
            if intent.epoch >= evidence.revoked.get(intent.key_id, intent.epoch + 1):
                yield f"an intent from after its caller was revoked: {intent.call_id}"


def _without_end(evidence: Evidence) -> Iterator[str]:
    yield from (f"an intent without an outcome: {intent.call_id}" for intent in evidence.open_intents())
    for call_id, outcomes in evidence.outcomes.items():
        if len(outcomes) > 1:
            yield f"several outcomes: {call_id} {outcomes}"
