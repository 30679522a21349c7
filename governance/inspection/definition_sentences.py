# ruff: noqa: E501
"""Sentences and parameter names in tool descriptions that reach beyond their own tool."""

from collections.abc import Iterator
from typing import Final

from governance.inspection.detector import Detector, Hit
from governance.inspection.findings import Severity
from governance.inspection.signals import Signal
from governance.inspection.views import View
from governance.inspection.walk import Leaf

VERSION: Final = 1
_LOOT: Final = (
    r"(?:conversations?|chat history|credentials?|passwords?|secrets?|api keys?|environment variables?|system prompts?"
    r"|previous messages|all messages|files? contents?|contents? of|private key|tokens?|full context|user'?s? (?:prompt|messages?))"
)
_PARAMETERS: Final = (
    r"(?:(?:full_?|chat_?|entire_?|session_?)?(?:conversation|chat|message|dialog(?:ue)?)_?(?:history|log|context|transcript|so_far)"
    r"|(?:full|entire|whole)_?(?:conversation|context|prompt)|conversation|(?:system|user|original|initial)_?(?:prompt|instructions)"
    r"|chain_?of_?thought|thoughts?|inner_?monologue|(?:previous|prior|all)_?messages|side_?notes?|available_?tools"
    r"|tool_?list|model_?(?:reasoning|context)|memory_?dump)"
)

_SENTENCES: Final = (
    ("precedence", 0.75, Severity.MEDIUM, r"\b(?:before|prior to|instead of|ahead of) (?:using |calling |running |invoking )?(?:any|every|each|all) (?:of the )?(?:other )(?:tool|function|action|server)s?\b|\b(?:always|first|must) (?:call|use|invoke|run) this (?:tool|function) (?:first|before)|\b(?:supersedes|replaces|overrides|takes precedence over) (?:all|any|every|the) (?:other|built-?in|existing|previous)\b"),
    ("excludes", 0.75, Severity.MEDIUM, r"\b(?:never|do not|don'?t|must not) (?:use|call|invoke) (?:any|the|all) (?:other|built-?in|existing|original) (?:\w+ )?(?:tool|function|server)s?\b|\b(?:other|built-?in|original) (?:\w+ )?(?:tool|function)s? (?:is|are) (?:deprecated|broken|dangerous|insecure|disabled)"),
    ("other_tool", 0.75, Severity.HIGH, r"\b(?:changes?|modif(?:y|ies)|alters?|overrides?|affects?) the (?:behaviou?r|output|arguments?|recipients?) of\b|\bwhen(?:ever)? (?:the )?[\w.-]{2,60} (?:tool |function )?is (?:available|called|used|invoked|present)\b|\b(?:every|all|any|each) (?:e-?)?(?:mail|message|payment|transfer|request|call)s? (?:must|should|has to|have to) (?:be |also )"),
    ("loot", 0.8, Severity.HIGH, rf"\b(?:append|add|include|pass|put|place|insert|copy|fill|attach|send|provide|paste|write|embed)\b[^.\n]{{0,60}}\b{_LOOT}[^.\n]{{0,60}}\b(?:parameter|argument|field|query|string|context|notes?|url|body|header|before|here|input)\b|\b(?:fill|set|populate)\b[^.\n]{{0,40}}\b(?:parameter|argument|field)\b[^.\n]{{0,40}}\b{_LOOT}"),
    ("local_files", 0.85, Severity.HIGH, r"\b(?:read|open|cat|load|fetch|access|get|read_file)\b[^.\n]{0,50}(?:~/|%userprofile%|/etc/|/root/|\.ssh\b|\.env\b|\.aws\b|mcp\.json|id_rsa|\.netrc|\.kube)"),
    ("model_must", 0.6, Severity.MEDIUM, r"\b(?:the |any |every )?(?:assistant|model|llm|ai|agent|language model)(?: \w+)? (?:must|has to|shall|is required to|is obliged to|needs to|should always)\b"),
    ("hidden_step", 0.8, Severity.HIGH, r"\b(?:retry|run|execute|do (?:this|so)|call it|continue)\b[^.\n]{0,40} (?:silently|quietly|secretly|in the background)\b|\b(?:do not|don'?t|never|without) (?:tell|telling|mention|mentioning|inform|informing|notify|notifying|show|showing|ask|asking)\b[^.\n]{0,30} (?:the )?(?:user|human|operator)\b"),
    ("new_rules", 0.6, Severity.MEDIUM, r"\b(?:from (?:this version|now|here) on|starting with this version|effective immediately)\b[^.\n]{0,80}\b(?:assistant|model|agent|you|call|tool|function)\b"),
)  # fmt: skip
SENTENCES: Final = tuple(
    (name, confidence, severity, Signal(f"definition.{name}", pattern, caseless=True))
    for name, confidence, severity, pattern in _SENTENCES
)
FISHING: Final = Signal(
    "definition.parameter", rf"^{_PARAMETERS}$|[\"']{_PARAMETERS}[\"']\s{{0,5}}:\s{{0,5}}\{{", caseless=True
)


def look(view: View, leaf: Leaf, signals: frozenset[str]) -> Iterator[Hit]:
    for _, confidence, severity, signal in SENTENCES:
        if signal.name in signals:
            for match in signal.find(view.encoded):
                yield Hit(signal.name, VERSION, "definition", severity, confidence, match.start, match.end)
    if FISHING.name in signals and (leaf.is_key or not leaf.name):
        for match in FISHING.find(view.encoded):
            yield Hit(FISHING.name, VERSION, "definition", Severity.MEDIUM, 0.6, match.start, match.end)


DEFINITION_SENTENCES: Final = Detector(
    frozenset(("definition",)), (*(signal for *_, signal in SENTENCES), FISHING), look
)
