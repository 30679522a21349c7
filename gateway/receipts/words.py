"""An offboarding in words: what the page, the printed receipt and the WebSocket say of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.enforcement import OPEN, Enforcement
from governance.models import Offboarding, OffboardingStep
from governance.offboarding import KEY, Item
from governance.offboarding_findings import END_ACCOUNT, PROVE, RETIRE, ROTATE_KEY, ROTATE_SCIM_TOKEN, ROTATE_SECRET
from governance.offboarding_steps import takes_word

TONES = {
    "scheduled": "info",
    "enforcing": "info",
    "enforced": "good",
    "incomplete": "warn",
    "failed": "bad",
    "cancelled": "",
    "undone": "info",
}
FATES = {
    OPEN: "still running",
    "ok": "had just ended",
    "tool_error": "had just ended",
    "input_required": "had just ended",
    "cancelled": "cancelled by its agent",
    "not_sent": "stopped before it was sent",
    "withheld": "answer withheld",
    "failed": "cut",
    "unknown": "cut; whether it took effect is not known",
}
PLURAL_FATES = {"answer withheld": "answers withheld"}
NOT_CUT = (OPEN, "ok", "tool_error", "input_required", "cancelled")
PLURALS = {
    "agent key": "agent keys",
    "personal token": "personal tokens",
    "web session": "web sessions",
    "second factor": "second factors",
    "agent": "agents",
    "team membership": "team memberships",
    "role": "roles",
    "admin rights": "admin rights",
    "report": "reports",
    "freeze": "freezes",
    "successor in an offboarding": "other offboardings",
    "person": "accounts",
    "authorization": "authorizations",
    "OAuth client": "OAuth clients",
    "connected account": "connected accounts",
    "single sign-on": "single sign-ons",
    "approval request": "approval requests",
    "grant": "grants",
    "question to her": "questions to her",
    "shared account": "shared accounts",
    "on-call shift": "on-call shifts",
    "shared secret": "shared secrets",
    "key she issued": "keys she issued",
    "SCIM token she made": "SCIM tokens she made",
    "export": "exports",
    "rotation": "rotations",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one sort, with a heading and how many."""

    title: str
    explained: str
    items: tuple[Item, ...]

    @property
    def count(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class AgentLine:
    """An agent with the keys that end with it."""

    item: Item
    keys: tuple[Item, ...]
    is_retired: bool


GROUPS = (
    ("Signing in", "Ends at once. Nothing of it works again.",
     ("person", "web session", "second factor", "personal token")),
    ("Teams, roles and rights", "She is taken out of all of them.", ("team membership", "role", "admin rights")),
    ("Clients and accounts", "What acted for her elsewhere, and what she let in here.",
     ("single sign-on", "authorization", "OAuth client", "connected account")),
    ("What she asked for and agreed to", "It ends with her word.",
     ("approval request", "question to her", "grant", "on-call shift")),
    ("What she knows", "Nobody can make her forget it: it is replaced.",
     ("shared secret", "key she issued", "SCIM token she made", "export")),
    ("Left for somebody to do", "This is not ended for her. Somebody has to decide.",
     ("report", "successor in an offboarding", "freeze", "rotation", "shared account")),
)  # fmt: skip


def grouped(items: Iterable[Item]) -> list[Group]:
    """All but the agents, which have a table of their own."""
    held = list(items)
    groups = (
        Group(title, explained, tuple(item for kind in kinds for item in held if item.kind == kind))
        for title, explained, kinds in GROUPS
    )
    return [group for group in groups if group.items]


def agent_lines(items: Iterable[Item]) -> list[AgentLine]:
    """An agent's keys follow it in the list of findings."""
    lines: list[tuple[Item, list[Item]]] = []
    for item in items:
        if item.kind == "agent":
            lines.append((item, []))
        elif item.kind == KEY and lines:
            lines[-1][1].append(item)
    return [AgentLine(item, tuple(keys), item.action == "was retired before") for item, keys in lines]


def counted(number: int, kind: str) -> str:
    return f"{number:,} {kind if number == 1 else PLURALS.get(kind, kind)}"


def consequence(items: Sequence[Item]) -> str:
    """The one sentence before the button."""
    found = Counter(item.kind for item in items)
    keys = found.pop(KEY, 0)
    agents = sum(bool(line.keys) for line in agent_lines(items))
    parts = [f"{keys:,} {'key' if keys == 1 else 'keys'} of {counted(agents, 'agent')}"] if keys else []
    parts += [counted(found[kind], kind) for kind in ("web session", "second factor", "personal token") if found[kind]]
    ended = f"Ends {', '.join(['her sign-in', *parts])}."
    return f"{ended} This cannot be undone: what is ended stays ended."


def headline(offboarding: Offboarding) -> str:
    """Enforced in 2 of 2 gateways, 84 ms, 3 calls cut."""
    seen = Enforcement.from_json(offboarding.enforcement)
    if offboarding.state in ("scheduled", "cancelled", "failed"):
        return ""
    if seen.epoch and not seen.gateways:
        return f"Withdrawn. No gateway was running.{_calls(seen)}"
    verb = "Enforced" if seen.is_confirmed else "Confirmed"
    live = f"{seen.confirmed} of {len(seen.gateways)} {'gateway' if len(seen.gateways) == 1 else 'gateways'}"
    return f"{verb} in {live}, {slowest(seen)} ms, {cut_count(seen)}"


def slowest(seen: Enforcement) -> int:
    """Until the last gateway that confirmed had done so."""
    return max((gateway.milliseconds or 0 for gateway in seen.gateways), default=seen.milliseconds)


def cut_count(seen: Enforcement) -> str:
    cut = sum(call.fate not in NOT_CUT for call in seen.calls)
    waiting = sum(call.fate == OPEN for call in seen.calls)
    told = "1 call cut" if cut == 1 else f"{cut} calls cut"
    return f"{told}, {waiting} still running" if waiting else told


def _calls(seen: Enforcement) -> str:
    return f" {cut_count(seen).capitalize()}." if seen.calls else ""


def fates(seen: Enforcement) -> list[str]:
    told = Counter(FATES.get(fate, fate) for fate in (call.fate for call in seen.calls))
    return [f"{number} {words if number == 1 else PLURAL_FATES.get(words, words)}" for words, number in told.items()]


def live_message(offboarding: Offboarding) -> dict[str, Any]:
    """What the page of a running offboarding is told; all of it is our own text."""
    seen = Enforcement.from_json(offboarding.enforcement)
    return {
        "state": offboarding.state,
        "label": offboarding.get_state_display(),
        "tone": TONES[offboarding.state],
        "headline": headline(offboarding),
        "gateways": [{"name": g.name, "milliseconds": g.milliseconds} for g in seen.gateways],
        "calls": fates(seen) or ["None was running."],
        "done": offboarding.state != Offboarding.State.ENFORCING,
    }


@dataclass(frozen=True, slots=True)
class StepLine:
    """What is left for later, and how far it is."""

    step: OffboardingStep
    label: str
    tone: str
    is_open: bool
    may_be_settled: bool


STEPS = {
    PROVE: "Proof",
    RETIRE: "Agent without an owner",
    ROTATE_KEY: "Key she issued",
    ROTATE_SECRET: "Shared secret she set",
    ROTATE_SCIM_TOKEN: "SCIM token she made",
    END_ACCOUNT: "Connected account",
}


def steps_in_words(offboarding: Offboarding) -> list[StepLine]:
    """Open ones first."""
    lines = []
    for step in offboarding.steps.select_related("owner"):
        is_open = step.state in (OffboardingStep.State.WAITING, OffboardingStep.State.MANUAL)
        tone = {"done": "good", "void": "", "manual": "bad"}.get(step.state, "warn" if step.todo else "info")
        may_be_settled = is_open and takes_word(step)
        lines.append(StepLine(step, STEPS.get(step.kind, step.kind), tone, is_open, may_be_settled))
    return sorted(lines, key=lambda line: not line.is_open)


def items_of(receipt: Mapping[str, Any]) -> list[Item]:
    return [Item(**item) for item in receipt["items"]]
