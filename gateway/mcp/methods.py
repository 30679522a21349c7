"""Every method of every revision we speak: who sends it, how it is served and what it passes on its way.

What a revision does not have is `Method not found` there, whatever its neighbours know. `docs/methods.md` shows the
same table to people.
"""

from dataclasses import dataclass
from enum import Enum

from gateway.mcp.revisions import LEGACY, MODERN, TASKS_EXTENSION

GOVERNED_STAGES = (
    "authenticate, resolve, decide, ask humans, screen arguments, commit intent, execute, screen result, commit outcome"
)


class Serving(Enum):
    """How a method is served, and the stages it passes. Each begins with the key: without one nothing is read."""

    OWN = "own answer", "authenticate"
    LIST = "list", "authenticate, decide for each item, screen, commit"
    GOVERNED = "governed request", GOVERNED_STAGES
    TASK = "task", "authenticate; its request has passed: authenticate, resolve, decide, screen, commit"
    SUBSCRIPTION = "subscription", "authenticate, decide for each URI, commit; again before each event"
    NOTIFICATION = "notification", "authenticate"
    QUESTION = "question of an upstream", "connector's relays, client's capabilities, screen, commit"
    NEWS = "news of an upstream or of ours", "authenticate, screen"

    @property
    def title(self) -> str:
        return str(self.value[0])

    @property
    def stages(self) -> str:
        return str(self.value[1])


@dataclass(frozen=True, slots=True)
class Method:
    """`named_by` is the parameter that `Mcp-Name` repeats; `needs` is the path of the capability that a client of
    2026-07-28 must have declared."""

    name: str
    serving: Serving
    revisions: tuple[str, ...]
    named_by: str = ""
    needs: tuple[str, ...] = ()


TASK_REVISIONS = ("2025-11-25",)
EVERY = (*LEGACY, MODERN)
ASKING = ("2025-06-18", "2025-11-25")
NEEDS_TASKS = ("extensions", TASKS_EXTENSION)

FROM_CLIENT = (
    Method("initialize", Serving.OWN, LEGACY),
    Method("ping", Serving.OWN, LEGACY),
    Method("logging/setLevel", Serving.OWN, LEGACY),
    Method("server/discover", Serving.OWN, (MODERN,)),
    Method("tools/list", Serving.LIST, EVERY),
    Method("prompts/list", Serving.LIST, EVERY),
    Method("resources/list", Serving.LIST, EVERY),
    Method("resources/templates/list", Serving.LIST, EVERY),
    Method("tools/call", Serving.GOVERNED, EVERY, "name"),
    Method("prompts/get", Serving.GOVERNED, EVERY, "name"),
    Method("resources/read", Serving.GOVERNED, EVERY, "uri"),
    Method("completion/complete", Serving.GOVERNED, EVERY),
    Method("resources/subscribe", Serving.SUBSCRIPTION, LEGACY),
    Method("resources/unsubscribe", Serving.OWN, LEGACY),
    Method("subscriptions/listen", Serving.SUBSCRIPTION, (MODERN,)),
    Method("tasks/get", Serving.TASK, (*TASK_REVISIONS, MODERN), "taskId", NEEDS_TASKS),
    Method("tasks/cancel", Serving.TASK, (*TASK_REVISIONS, MODERN), "taskId", NEEDS_TASKS),
    Method("tasks/update", Serving.TASK, (MODERN,), "taskId", NEEDS_TASKS),
    Method("tasks/result", Serving.TASK, TASK_REVISIONS),
    Method("tasks/list", Serving.TASK, TASK_REVISIONS),
    Method("notifications/initialized", Serving.NOTIFICATION, LEGACY),
    Method("notifications/cancelled", Serving.NOTIFICATION, EVERY),
    Method("notifications/progress", Serving.NOTIFICATION, LEGACY),
    Method("notifications/roots/list_changed", Serving.NOTIFICATION, LEGACY),
    Method("notifications/tasks/status", Serving.NOTIFICATION, TASK_REVISIONS),
)

TO_CLIENT = (
    Method("ping", Serving.QUESTION, LEGACY),
    Method("sampling/createMessage", Serving.QUESTION, EVERY),
    Method("roots/list", Serving.QUESTION, EVERY),
    Method("elicitation/create", Serving.QUESTION, (*ASKING, MODERN)),
    Method("notifications/elicitation/complete", Serving.NEWS, TASK_REVISIONS),
    Method("notifications/progress", Serving.NEWS, EVERY),
    Method("notifications/message", Serving.NEWS, EVERY),
    Method("notifications/cancelled", Serving.NEWS, EVERY),
    Method("notifications/tools/list_changed", Serving.NEWS, EVERY),
    Method("notifications/prompts/list_changed", Serving.NEWS, EVERY),
    Method("notifications/resources/list_changed", Serving.NEWS, EVERY),
    Method("notifications/resources/updated", Serving.NEWS, EVERY),
    Method("notifications/subscriptions/acknowledged", Serving.NEWS, (MODERN,)),
    Method("notifications/tasks", Serving.NEWS, (MODERN,)),
)

_REQUESTS = {
    revision: {
        method.name: method
        for method in FROM_CLIENT
        if revision in method.revisions and method.serving is not Serving.NOTIFICATION
    }
    for revision in EVERY
}


def find(name: str, revision: str) -> Method | None:
    """None for what a client of this revision cannot ask."""
    return _REQUESTS[revision].get(name)


def table() -> str:
    """The table for people, in Markdown."""
    lines = ["| method | sent by | " + " | ".join(EVERY) + " | served as | passes |"]
    lines.append("|---|---|" + "---|" * len(EVERY) + "---|---|")
    for sender, methods in (("client", FROM_CLIENT), ("us", TO_CLIENT)):
        lines.extend(_row(method, sender) for method in methods)
    return "\n".join(lines) + "\n"


def _row(method: Method, sender: str) -> str:
    marks = " | ".join("yes" if revision in method.revisions else "-32601" for revision in EVERY)
    if sender == "us":
        marks = marks.replace("-32601", "never")
    return f"| `{method.name}` | {sender} | {marks} | {method.serving.title} | {method.serving.stages} |"
