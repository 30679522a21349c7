"""A caller's side that answers by rule and remembers what it was told and asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.base import NotAnswered

FORM = {"elicitation": {"form": {}}}
URL = {"elicitation": {"form": {}, "url": {}}}
Answering = Callable[[str, dict[str, Any]], dict[str, Any]]


def accept(key: str, question: dict[str, Any]) -> dict[str, Any]:
    return {"action": "accept", "content": {"key": key}}


def refuse(key: str, question: dict[str, Any]) -> dict[str, Any]:
    raise NotAnswered("Nobody is there.")


@dataclass
class RecordingRelay:
    powers: Mapping[str, Any] = field(default_factory=dict)
    wants_progress: bool = False
    log_level: str = ""
    can_resume: bool = False
    takes_tasks: bool = False
    polls_tasks: bool = True
    answer: Answering = accept
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    tasks: int = 0

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        self.told.append((method, params))

    async def ask(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        self.asked.append(dict(requests))
        return {key: self.answer(key, question) for key, question in requests.items()}

    async def became_task(self) -> None:
        self.tasks += 1
