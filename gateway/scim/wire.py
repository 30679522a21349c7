"""What identity providers really send, brought into the form the protocol's library reads. Pure.

Each departure is one that Okta or Entra ID makes; docs/directories.md names them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

CORE_USER = "urn:ietf:params:scim:schemas:core:2.0:User"
CORE_GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
CORE_AGENT = "urn:ietf:params:scim:schemas:core:2.0:Agent"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
KNOWN_SCHEMAS = frozenset({CORE_USER, CORE_GROUP, CORE_AGENT, ENTERPRISE})
PASSWORD = "password"  # noqa: S105 - what the attribute is called
MANAGER = f"{ENTERPRISE}:manager"

NOTHING_TO_DO = {"op": "remove", "path": PASSWORD}
"""Instead of a message that was only about a password: it is answered as done."""

Body = dict[str, Any]


def understood(method: str, body: Any) -> Any:
    """A body in the form the library reads; anything that is no object is left for the library to refuse."""
    if not isinstance(body, dict):
        return body
    if operations := _named(body, "Operations"):
        is_bulk = any(schema == MESSAGES + "BulkRequest" for schema in _listed(body.get("schemas")))
        return {**body, "Operations": _bulk(operations) if is_bulk else _patched(operations)}
    return _resource(body) if method in ("POST", "PUT") else body


def without_passwords(value: Any) -> Any:
    """For keeping: passwords go wherever they are, and so does the value of an operation on one."""
    if isinstance(value, dict):
        is_about_one = any(
            key.lower() == "path" and isinstance(path, str) and _names_password(path) for key, path in value.items()
        )
        return {
            key: without_passwords(each)
            for key, each in value.items()
            if not _names_password(key) and not (is_about_one and key.lower() == "value")
        }
    if isinstance(value, list):
        return [without_passwords(each) for each in value]
    return value


def _resource(body: Body) -> Body:
    """Undeclared schemas go (a strict client refuses a list for one), and so do empty texts, which mean unset."""
    kept = {key: value for key, value in body.items() if not _names_password(key) and value != "" and value is not None}
    if "schemas" in kept:
        kept["schemas"] = [schema for schema in _listed(kept["schemas"]) if schema in KNOWN_SCHEMAS]
    kept.pop("meta", None)
    for key in [key for key in kept if key.lower() == ENTERPRISE.lower()]:
        kept[key] = _enterprise(kept[key])
    return kept


def _enterprise(extension: Any) -> Any:
    if not isinstance(extension, dict):
        return extension
    kept = {key: value for key, value in extension.items() if value != "" and value is not None}
    return {key: _manager(value) if key.lower() == "manager" else value for key, value in kept.items()}


def _manager(value: Any) -> Any:
    """Entra sends the bare id."""
    return {"value": value} if isinstance(value, str) else value


def _bulk(operations: Any) -> Any:
    return [_bulk_step(step) if isinstance(step, dict) else step for step in _listed(operations)]


def _bulk_step(step: Body) -> Body:
    method, data = str(step.get("method", "")).upper(), step.get("data")
    return {**step, "data": understood(method, data)} if isinstance(data, dict) else step


def _patched(operations: Any) -> Any:
    if not isinstance(operations, list):
        return operations
    kept = [step for operation in operations for step in _operations(operation)]
    return kept or ([NOTHING_TO_DO] if operations else kept)


def _operations(operation: Any) -> Iterable[Any]:
    if not isinstance(operation, dict):
        return [operation]
    kind, path, value = (_named(operation, name) for name in ("op", "path", "value"))
    if isinstance(path, str) and path:
        return _at_path(operation, str(kind).lower(), path, value)
    if isinstance(value, dict):
        return _without_path(operation, value)
    return [operation]


def _at_path(operation: Body, kind: str, path: str, value: Any) -> Iterable[Body]:
    if _names_password(path):
        return []
    if path.lower() in (MANAGER.lower(), "manager"):
        return [_manager_set(operation, value)] if kind != "remove" and value else [{"op": "remove", "path": MANAGER}]
    if value == "" and kind != "remove":
        return [{"op": "remove", "path": path}]
    return [operation]


def _without_path(operation: Body, value: Mapping[str, Any]) -> Iterable[Body]:
    """One object of many attributes; what is empty in it is unset, each by an operation of its own."""
    kept: Body = {}
    unset: list[Body] = []
    for key, each in value.items():
        if _names_password(key):
            continue
        if each == "" or (key.lower() == MANAGER.lower() and not each):
            unset.append({"op": "remove", "path": key})
        elif key.lower() == MANAGER.lower():
            kept[key] = _manager(each)
        elif key.lower() == ENTERPRISE.lower():
            kept[key] = _enterprise(each)
        elif key == "schemas":
            kept[key] = [schema for schema in _listed(each) if schema in KNOWN_SCHEMAS]
        else:
            kept[key] = each
    return [*([{**_without(operation, "value"), "value": kept}] if kept else []), *unset]


def _manager_set(operation: Body, value: Any) -> Body:
    return {"op": operation.get("op", "replace"), "path": MANAGER, "value": _manager(value)}


def _names_password(key: str) -> bool:
    return key.lower() in (PASSWORD, f"{CORE_USER}:{PASSWORD}".lower())


def _named(body: Mapping[str, Any], name: str) -> Any:
    """Names of attributes know no case."""
    return next((value for key, value in body.items() if key.lower() == name.lower()), None)


def _without(body: Mapping[str, Any], name: str) -> Body:
    return {key: value for key, value in body.items() if key.lower() != name.lower()}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
