"""What makes a call weigh more, as short words: the admins' classification of the tool, and what its run has met."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.hostile_text import visible
from gateway.run_labels import HELD, UNTRUSTED
from governance.models import Tool

TONES = {Tool.Risk.LOW: "good", Tool.Risk.MEDIUM: "warn", Tool.Risk.HIGH: "bad"}
LABELS_SHOWN = 12
LABELS = {UNTRUSTED: "This run has read strangers' text", HELD: "This run is held"}


@dataclass(frozen=True, slots=True)
class Risk:
    word: str
    tone: str = ""


def risks_of(tool: Tool | None, labels: Iterable[str]) -> tuple[Risk, ...]:
    """Without a tool of ours (a resource, a prompt, or one that is gone) only what the run has met."""
    return (*(_of_tool(tool) if tool is not None else ()), *_of_run(labels))


def _of_tool(tool: Tool) -> Iterator[Risk]:
    yield Risk(f"{tool.get_risk_display()} risk", TONES[Tool.Risk(tool.risk)])
    yield Risk("Only reads", "good") if tool.is_read_only else Risk("Writes", "warn")
    if tool.is_egress:
        yield Risk("Sends data out", "bad")
    if tool.is_untrusted:
        yield Risk("Returns strangers' text", "warn")
    if tool.connector.stage:
        yield Risk(tool.connector.stage, "info")
    for name in tool.data_classes[:LABELS_SHOWN]:
        yield Risk(f"Data: {visible(str(name))}", "info")
    if not tool.is_classified:
        yield Risk("Nobody has classified this tool", "warn")


def _of_run(labels: Iterable[str]) -> Iterator[Risk]:
    for label in sorted(labels)[:LABELS_SHOWN]:
        yield Risk(LABELS.get(label, f"Run has met: {visible(str(label))}"), "warn")


def is_low(tool: Tool | None, labels: Iterable[str]) -> bool:
    """Whether several alike may be approved at once."""
    return tool is not None and tool.risk == Tool.Risk.LOW and not tool.is_egress and not set(labels)
