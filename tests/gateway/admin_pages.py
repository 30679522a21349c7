"""The admin as a browser uses it: its pages, its forms and their fields."""

from typing import Any

from django.test import Client
from django.urls import reverse

HELPDESK = "https://helpdesk.example.com/mcp"
HOW_TO_REACH = {
    "new_tools": "review",
    "timeout_seconds": "30",
    "kind": "mcp",
    "memory_mb": "512",
    "max_running": "64",
    "max_waiting": "256",
    "is_enabled": "on",
}
PERSON = {"email": "mallory@example.com", "name": "Mallory", "is_active": "on"}

HOUSE = {
    "name": "Example Corp",
    "timezone": "UTC",
    "rotate_after_days": "90",
    "rotation_overlap_hours": "168",
    "rotation_warn_days": "14",
    "unused_after_days": "60",
}
"""The form of the organization."""


def page(client: Client, name: str, *arguments: Any) -> Any:
    return client.get(reverse(f"admin:{name}", args=arguments))


def post(client: Client, name: str, /, *arguments: Any, **fields: Any) -> Any:
    return client.post(reverse(f"admin:{name}", args=arguments), fields)


def act(client: Client, name: str, action: str, *rows: Any, confirmed: bool = True) -> Any:
    choice = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return post(client, f"{name}_changelist", **choice, **({"confirmed": "yes"} if confirmed else {}))


def no_inlines(*prefixes: str) -> dict[str, str]:
    return {f"{prefix}-{count}_FORMS": "0" for prefix in prefixes for count in ("TOTAL", "INITIAL")}


def connector_form(**fields: Any) -> dict[str, Any]:
    return {"name": "crm", **HOW_TO_REACH, **fields}
