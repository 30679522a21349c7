"""What a tool probably does, and what about its description should make a reader suspicious.

Suggestions only: an admin's word decides. What an upstream says of its own tools (`annotations`, see the MCP
specification: "untrusted unless from a trusted server") may make a suggestion stricter, and by itself never marks a
tool low risk. A refund tool that calls itself read-only is suggested as what its name says.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


READS = _words(
    "check count describe diff echo exists explain fetch find get help history info inspect list "
    "look lookup ping preview query read retrieve search show stats status summarize test validate verify view "
    "who"
)
WRITES = _words(
    "accept add append apply approve archive assign attach book call change clear close comment commit copy "
    "create decline download duplicate edit enable escalate export import increment insert invite join label link "
    "lock log make mark merge modify move notify open patch pause place post publish push put register "
    "reject release remember rename reopen replace reply request reserve resolve restart restore resume save "
    "schedule send set share sign start stop store submit subscribe sync tag toggle trigger unlink unlock "
    "unsubscribe update upload upsert write"
)
GRAVE = _words(
    "ban bash buy cancel cash charge chmod delete deploy destroy disable discard drop erase eval exec execute "
    "force format grant impersonate kill offboard overwrite pay payment payout purchase purge refund remove reset "
    "revoke rm rotate run shell shutdown spawn sql sudo terminate transfer truncate uninstall wipe wire withdraw"
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SUSPICIOUS = (
    (re.compile(r"(?i)\b(ignore|disregard|forget|override)\b[^.\n]{0,40}\b(previous|prior|above|earlier|instructions|rules)\b"),
     "It tells the reader to ignore other instructions."),
    (re.compile(r"(?i)\b(do not|don't|never|without)\b[^.\n]{0,30}\b(tell|mention|inform|show|reveal|telling|asking)\b"
                r"[^.\n]{0,30}\b(user|human|person|anyone)\b"),
     "It asks to keep something from the user."),
    (re.compile(r"(?i)<\s*/?\s*(important|system|instructions?|secret|admin|assistant|tool_call)\b"),
     "It holds markup that imitates instructions to a model."),
    (re.compile(r"(?i)\b(system prompt|developer message|conversation history|chat history|chain of thought)\b"),
     "It mentions what an agent keeps to itself, such as its prompt or the conversation."),
    (re.compile(r"(?i)(~/\.(ssh|aws|config|kube|cursor)|id_rsa|\.env\b|/etc/passwd|mcp\.json|api[ _-]?keys?\b"
                r"[^.\n]{0,30}\b(include|send|pass|paste|read))"),
     "It points at files or keys that are none of its business."),
    (re.compile(r"(?i)\b(before|after|instead of)\b[^.\n]{0,30}\b(using|calling|invoking|you (use|call))\b"
                r"[^.\n]{0,40}\b(any|other|another|this)\b[^.\n]{0,20}\btools?\b"),
     "It wants a say in how other tools are used."),
    (re.compile(r"(?i)\b(you must|always)\b[^.\n]{0,40}\b(call|use|invoke|run|execute|read)\b[^.\n]{0,40}\bfirst\b"),
     "It demands to be used first."),
    (re.compile(r"[A-Za-z0-9+/]{120,}"), "It holds a long encoded passage nobody can read."),
)  # fmt: skip
MAX_TEXT = 20_000
"""Characters read of each text, and texts read of each definition: a hostile one may hold a great many."""
MAX_TEXTS = 2_000


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`risk` is a `Tool.Risk` value; `reason` a sentence for the admin."""

    risk: str
    is_read_only: bool
    reason: str

    @property
    def is_harmless(self) -> bool:
        return self.is_read_only and self.risk == "low"


def suggest(name: str, annotations: Mapping[str, Any]) -> Suggestion:
    """From the name first, then from what the upstream claims, which only ever makes it stricter."""
    words = [word.lower() for word in _WORDS.findall(name)]
    claims_to_read = annotations.get("readOnlyHint") is True
    contradiction = " The system claims that it only reads." if claims_to_read else ""
    if grave := _first(words, GRAVE):
        return Suggestion("high", False, f"Its name says “{grave}”.{contradiction}")
    if annotations.get("destructiveHint") is True and not claims_to_read:
        return Suggestion("high", False, "The system says it can destroy things.")
    if writes := _first(words, WRITES):
        return Suggestion("medium", False, f"Its name says “{writes}”.{contradiction}")
    return _suggest_reading(_first(words, READS), annotations.get("readOnlyHint"))


def _suggest_reading(reads: str, claim: object) -> Suggestion:
    """For a name that speaks of no change."""
    if claim is False:
        return Suggestion("medium", False, "The system says it changes things.")
    if reads:
        return Suggestion("low", True, f"Its name says “{reads}”.")
    if claim is True:
        return Suggestion("medium", True, "Only the system says that it just reads; its name does not tell.")
    return Suggestion("medium", False, "Nothing says that it only reads.")


def _first(words: list[str], known: frozenset[str]) -> str:
    return next((word for word in words if word in known), "")


def suspicions(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences on what reads like an instruction to a model. Their absence proves nothing."""
    found = (remark for text in texts_of(definition) for pattern, remark in _SUSPICIOUS if pattern.search(text))
    return tuple(dict.fromkeys(found))


def texts_of(definition: Mapping[str, Any]) -> Iterator[str]:
    """Every text in it at any depth, keys included: a parameter's name is read by the model, too."""
    pending: list[Any] = [definition]
    for _ in range(MAX_TEXTS):
        if not pending:
            return
        value = pending.pop()
        if isinstance(value, str):
            yield value[:MAX_TEXT]
        elif isinstance(value, Mapping):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            pending += value
