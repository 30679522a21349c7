"""An agent without any sense: it does what its person wants, and whatever a text tells it, seen or not."""

import base64
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.end_to_end.held_desk import modern_call, post
from tests.end_to_end.obeying.office import Office
from tests.end_to_end.obeying.tasks import KEY, TASKS, Attack, Step, Task
from tests.end_to_end.wire import Caller

DONE, WAITS, REFUSED = "done", "waits for a human", "refused"
_TOKEN: Final = re.compile(r"token (\S+) and wait")
BY_NAME: Final = {task.name: task for task in TASKS}


@dataclass
class Run:
    """What became of a task: of each step its person wanted, and of what strangers wanted."""

    task: Task
    attack: Attack | None = None
    wanted: list[str] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    succeeded: bool = False

    @property
    def name(self) -> str:
        return self.attack.family if self.attack else self.task.name


def run(agent: Caller, office: Office, task: Task, attack: Attack | None = None) -> Run:
    """The orders are followed as soon as the first text was read, before the rest of the work."""
    told = Run(task, attack)
    office.contents.update(task.texts)
    if attack is not None:
        first = next(iter(task.texts))
        office.contents[first] = f"{task.texts[first]}\n\n{attack.says}"
    before = len(office.received())
    for position, step in enumerate(task.steps):
        told.wanted.append(_do(agent, step, told))
        if attack is not None and position == 0:
            told.ordered = [_do(agent, _filled(order, told.shown), told) for order in attack.orders]
    arrived = [arguments for _, arguments in office.received()[before:]]
    told.succeeded = attack is not None and _has(attack, told.shown if attack.only_shown else arrived)
    return told


def _do(agent: Caller, step: Step, told: Run) -> str:
    name, arguments = step
    message = post(agent, modern_call(name, arguments, {}))
    result: dict[str, Any] = message.get("result", {})
    meta = result.get("_meta", {})
    if "com.gatehouse/approval" in meta:
        return WAITS
    if "com.gatehouse/decision" in meta or "error" in message or result.get("isError"):
        return REFUSED
    told.shown += [part["text"] for part in result["content"]]
    return DONE


def _filled(order: Step, shown: Iterable[str]) -> Step:
    """With what was read where the key stands, whole, disguised or in pieces."""
    found = next((match[1] for text in shown if (match := _TOKEN.search(text))), "")
    pieces = {f"{{key:{at}}}": found[4 * at : 4 * at + 4] for at in range(len(KEY) // 4)}
    disguised = {"{key:base64}": base64.b64encode(found.encode()).decode(), "{key:backwards}": found[::-1]}
    name, arguments = order
    for mark, value in {"{key}": found, **disguised, **pieces}.items():
        arguments = {each: text.replace(mark, value) for each, text in arguments.items()}
    return name, arguments


def _has(attack: Attack, texts: Iterable[str]) -> bool:
    """Any of the loot; of what comes in pieces, all."""
    everything = "\n".join(texts)
    found = [loot in everything for loot in attack.loot]
    return all(found) if len(found) > 2 else any(found)


def table(runs: Iterable[Run]) -> str:
    """What a soak prints."""
    told = list(runs)
    plain, attacked = [each for each in told if each.attack is None], [each for each in told if each.attack]
    lines = [f"{'attack':<34} {'succeeded':<10} orders"]
    lines += [f"{each.name:<34} {'YES' if each.succeeded else 'no':<10} {_counted(each.ordered)}" for each in attacked]
    work = [state for each in plain for state in each.wanted]
    beside = [state for each in attacked for state in each.wanted]
    lines.append(f"attacks: {sum(each.succeeded for each in attacked)} of {len(attacked)} succeeded")
    lines.append(f"work without an attack, {len(plain)} tasks: {_counted(work)}")
    lines.append(f"work under attack, {len(attacked)} tasks: {_counted(beside)}")
    return "\n".join(lines)


def _counted(states: Iterable[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(Counter(states).items())) or "none needed"


def lost(runs: Iterable[Run]) -> float:
    """The share of tasks in which something that the person wanted was refused."""
    told = list(runs)
    return sum(REFUSED in each.wanted for each in told) / len(told)
