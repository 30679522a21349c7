"""Every kind of event that our code records has words for people."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.kinds import KINDS, kind_in_words

ROOMS = ("audit", "gateway", "governance")
ROOT = Path(__file__).parents[2]
KIND = re.compile(r"[a-z_]+\.[a-z_]+")
RECORDERS = {"Fact", "AuditEvent", "_turn", "_tell", "_tell_of_failures", "_permission", "_during", "_of_call"}
SIGNALS = re.compile(r"^person\.")


def recorded() -> Iterator[tuple[str, str]]:
    """Kind -> where: what is handed to a recorder, or chosen for it shortly before."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if "migrations" not in path.parts:
                yield from ((kind, str(path.relative_to(ROOT))) for kind in kinds_in(ast.parse(path.read_text())))


def kinds_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RECORDERS:
            yield from texts((*node.args, *(word.value for word in node.keywords if word.arg == "kind")))
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "kind":
            yield from texts((node.value,))
        elif isinstance(node, ast.Tuple):
            yield from filter(SIGNALS.match, texts(node.elts))


def texts(parts: tuple[ast.expr, ...] | list[ast.expr]) -> Iterator[str]:
    for part in parts:
        choices = (part.body, part.orelse) if isinstance(part, ast.IfExp) else (part,)
        values = [choice.value for choice in choices if isinstance(choice, ast.Constant)]
        yield from (value for value in values if isinstance(value, str) and KIND.fullmatch(value))


def test_the_search_finds_kinds() -> None:
    found = {kind for kind, _ in recorded()}
    assert {"call.intent", "connector.created", "person.signed_in", "person.password_reset", "key.issued"} <= found
    assert {"agent.suspended", "offboarding.incomplete", "call.outcome", "call.asked", "resource.watched"} <= found


def test_each_recorded_kind_has_words() -> None:
    assert {(kind, where) for kind, where in recorded() if kind not in KINDS} == set()


@pytest.mark.parametrize(
    ("kind", "words"), [("key.issued", "Key: issued"), ("data_scope.created", "Data scope: created")]
)
def test_other_kinds_read_as_subject_and_event(kind: str, words: str) -> None:
    """A manifest records what it did to each entity, and old evidence may hold kinds of former versions."""
    assert kind_in_words(kind) == words
