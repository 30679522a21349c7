"""What we say that we can do, so that it agrees with what answers: per endpoint and per revision."""

from typing import Any

from gateway.call import Caller
from gateway.deciding import reachable_bundles
from gateway.mcp.revisions import LEGACY, MODERN, TASKS_EXTENSION
from gateway.ports import Ports
from gateway.targets import PROMPT, RESOURCE, selections

LEGACY_TASKS: dict[str, Any] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}


def capabilities(bundle: str | None, caller: Caller, revision: str, ports: Ports) -> dict[str, Any]:
    """Prompts and resources are only announced where a bundle selects some; asked for all the same, their lists are
    empty."""
    held = reachable_bundles(bundle, caller, ports)
    has = {kind: any(True for each in held for _ in selections(each, kind)) for kind in (PROMPT, RESOURCE)}
    found: dict[str, Any] = {"tools": {"listChanged": True}}
    if has[PROMPT]:
        found["prompts"] = {"listChanged": True}
    if has[RESOURCE]:
        found["resources"] = {"subscribe": True, "listChanged": True}
    if any(has.values()):
        found["completions"] = {}
    return found | _of_revision(revision)


def _of_revision(revision: str) -> dict[str, Any]:
    """Log messages are passed on in every revision, in the newest to each request that wants them."""
    found: dict[str, Any] = {"logging": {}}
    if revision == MODERN:
        return found | {"extensions": {TASKS_EXTENSION: {}}}
    return found | {"tasks": LEGACY_TASKS} if revision == LEGACY[-1] else found
