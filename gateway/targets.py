"""What a request aims at: a tool, a prompt or a resource, and under which name an endpoint shows it.

Tools have rows and exposed names of their own (`Bundle.tools`). Prompts and resources have none: their exposed name
is made from, and turned back into, connector and upstream's name without any catalog.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway.call import Frame
from governance import canonical
from governance.snapshot import Bundle, Connector, Selection, Snapshot, Tool

TOOL, PROMPT, RESOURCE = "tool", "prompt", "resource"
KINDS = {
    "tools/call": TOOL,
    "prompts/get": PROMPT,
    "resources/read": RESOURCE,
    "resources/subscribe": RESOURCE,
}
"""Of completion/complete it is the reference that tells."""
REFERENCES = {"ref/prompt": (PROMPT, "name"), "ref/resource": (RESOURCE, "uri")}
SEPARATORS = {PROMPT: "__", RESOURCE: "+"}
"""Neither can be part of a connector's name; what follows a `+` still is a URI with a legal scheme."""

Found = tuple[Tool, tuple[Bundle, ...]]


def find_target(frame: Frame, bundles: Iterable[Bundle], snapshot: Snapshot) -> Found | None:
    """The target of the frame's exposed name and those of `bundles` that give it."""
    kind = kind_of(frame)
    found: Tool | None = None
    candidates: list[Bundle] = []
    for bundle in bundles:
        target = _target(bundle, kind, frame, snapshot)
        if target is not None and (found is None or found.id == target.id):
            found = target
            candidates.append(bundle)
    return (found, tuple(candidates)) if found is not None else None


def kind_of(frame: Frame) -> str:
    """Empty where a completion refers to nothing that has completions."""
    if frame.method != "completion/complete":
        return KINDS[frame.method]
    reference = frame.arguments.get("ref") if isinstance(frame.arguments, Mapping) else None
    kind = reference.get("type") if isinstance(reference, Mapping) else None
    return REFERENCES[kind][0] if isinstance(kind, str) and kind in REFERENCES else ""


def _target(bundle: Bundle, kind: str, frame: Frame, snapshot: Snapshot) -> Tool | None:
    if kind == TOOL:
        return bundle.tools.get(frame.name) if frame.bundle is not None else bundle.by_union_name.get(frame.name)
    for selection in selections(bundle, kind):
        name = upstream_name(bundle, selection.connector, frame.name, kind, union=frame.bundle is None)
        if name is not None and selection.selects(name):
            return snapshot.target(selection.connector, kind, name)
    return None


def selections(bundle: Bundle, kind: str) -> Iterator[Selection]:
    """What the bundle takes of each connector; at most one selection a connector."""
    return (selection for selection in bundle.selections if selection.kind == kind)


def exposed_name(bundle: Bundle, connector: Connector, name: str, kind: str, *, union: bool) -> str:
    """How this endpoint calls the upstream's prompt or resource."""
    return name if _is_plain(bundle, connector, kind, union=union) else f"{_prefix(connector, kind)}{name}"


def upstream_name(bundle: Bundle, connector: Connector, exposed: str, kind: str, *, union: bool) -> str | None:
    """The reverse of `exposed_name`; None for what cannot be this connector's."""
    if _is_plain(bundle, connector, kind, union=union):
        return exposed
    prefix = _prefix(connector, kind)
    return exposed.removeprefix(prefix) if exposed.startswith(prefix) else None


def _prefix(connector: Connector, kind: str) -> str:
    return f"{connector.name}{SEPARATORS[kind]}"


def _is_plain(bundle: Bundle, connector: Connector, kind: str, *, union: bool) -> bool:
    if union or (kind == PROMPT and bundle.is_prefixed):
        return False
    return all(selection.connector.id == connector.id for selection in selections(bundle, kind))


def arguments_of(frame: Frame, target: Tool) -> Any:
    """What rules see and the upstream gets: names as the upstream knows them, whichever endpoint they came through."""
    if frame.method == "completion/complete":
        reference = frame.arguments["ref"]
        _, member = REFERENCES[reference["type"]]
        return {**frame.arguments, "ref": {**reference, member: target.upstream_name}}
    return {"uri": target.upstream_name} if target.kind == RESOURCE else frame.arguments


def params_of(method: str, target: Tool, arguments: Mapping[str, Any], encoded: bytes) -> dict[str, bytes]:
    """The members of the request's parameters as canonical JSON; `encoded` are the arguments as a whole."""
    if target.kind == RESOURCE and method != "completion/complete":
        return {"uri": canonical.encode(target.upstream_name)}
    if method == "completion/complete":
        members = (name for name in ("ref", "argument", "context") if name in arguments)
        return {name: canonical.encode(arguments[name]) for name in members}
    return {"name": canonical.encode(target.upstream_name), "arguments": encoded}


def expose_uris(result: dict[str, Any], bundle: Bundle, connector: Connector, *, union: bool) -> dict[str, Any]:
    """The result with the URIs of its resources as this endpoint calls them; the rest is the same."""
    if _is_plain(bundle, connector, RESOURCE, union=union):
        return result
    exposed = dict(result)
    if isinstance(contents := result.get("contents"), list):
        exposed["contents"] = [_with_uri(item, _prefix(connector, RESOURCE)) for item in contents]
    if isinstance(content := result.get("content"), list):
        exposed["content"] = [_block(item, _prefix(connector, RESOURCE)) for item in content]
    if isinstance(messages := result.get("messages"), list):
        exposed["messages"] = [_message(item, _prefix(connector, RESOURCE)) for item in messages]
    return exposed


def _message(message: Any, prefix: str) -> Any:
    if not isinstance(message, dict) or "content" not in message:
        return message
    content = message["content"]
    shown = [_block(item, prefix) for item in content] if isinstance(content, list) else _block(content, prefix)
    return {**message, "content": shown}


def _block(block: Any, prefix: str) -> Any:
    if not isinstance(block, dict):
        return block
    if block.get("type") == "resource":
        return {**block, "resource": _with_uri(block.get("resource"), prefix)}
    return _with_uri(block, prefix) if block.get("type") == "resource_link" else block


def _with_uri(item: Any, prefix: str) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get("uri"), str):
        return item
    return {**item, "uri": f"{prefix}{item['uri']}"}
