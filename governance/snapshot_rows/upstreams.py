"""Secrets, connectors and tools as snapshots hold them."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from governance import models
from governance.connected_accounts import covers
from governance.snapshot import (
    Connector,
    Program,
    SealedSecret,
    Tool,
)
from governance.snapshot_rows.common import Ids, among, key

TOOL_FIELDS = (
    *("connector_id", "name", "timeout_seconds", "risk", "is_read_only", "data_classes"),
    *("is_untrusted", "is_egress", "undo"),
)
REQUEST_COLUMNS = (
    "kind",
    "urls",
    "timeout_seconds",
    "relays",
    "max_running",
    "max_waiting",
    "command",
    "environment",
    "secret_variable",
    "per_agent",
    "memory_mb",
)
"""Of a connector: all that says how to talk to its upstream."""


def secrets(only: Ids) -> dict[str, SealedSecret]:
    rows = among(models.SecretVersion.objects.filter(retired_at=None), "secret_id", only).select_related("secret")
    return {
        key(row.secret_id): SealedSecret(
            id=key(row.secret_id),
            version_id=str(row.id),
            name=row.secret.name,
            kind=row.secret.kind,
            header_name=row.secret.header_name,
            key_id=row.key_id,
            wrapped_key=bytes(row.wrapped_key),
            ciphertext=bytes(row.ciphertext),
        )
        for row in rows
    }


def connectors(only: Ids, *, secrets: Mapping[str, SealedSecret]) -> dict[str, Connector]:
    rows = among(models.Connector.objects.select_related("upstream_client"), "id", only)
    return {key(row.id): _connector(row, secrets.get(key(row.secret_id))) for row in rows}


def _connector(row: models.Connector, secret: SealedSecret | None) -> Connector:
    return Connector(
        id=key(row.id),
        name=row.name,
        kind=row.kind,
        urls=tuple(row.urls),
        timeout_seconds=row.timeout_seconds,
        is_enabled=row.is_enabled,
        secret=secret,
        secret_missing=row.secret_id is not None and secret is None,
        revision=_revision(row),
        relays=frozenset(row.relays),
        max_running=row.max_running,
        max_waiting=row.max_waiting,
        program=program_of(row),
        owner_id=key(row.owner_id),
        stage=row.stage,
        account=row.account,
        upstream_client=_upstream_client(row, secret),
    )


def _upstream_client(row: models.Connector, secret: SealedSecret | None) -> str:
    """Empty where it does not fit any more what the connector has become: tokens go only where they were meant for."""
    client = getattr(row, "upstream_client", None)
    if not row.account or client is None or not covers(client.resource, row.urls):
        return ""
    fits = key(client.secret_id) == key(row.secret_id) and (secret is None or secret.kind == "oauth_client")
    return key(client.pk) if fits else ""


def _revision(row: models.Connector) -> str:
    said = [getattr(row, column) for column in REQUEST_COLUMNS]
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def program_of(row: models.Connector) -> Program | None:
    """None: it is no local server."""
    if not row.command:
        return None
    return Program(tuple(row.command), row.environment, row.secret_variable, row.per_agent, row.memory_mb)


def tools(only: Ids, *, connectors: Mapping[str, Connector]) -> dict[str, Tool]:
    served = models.ToolDefinition.objects.filter(status="pinned", tool__quarantined_at=None).order_by()
    fields = ("tool_id", "digest", "body", *(f"tool__{name}" for name in TOOL_FIELDS))
    found = among(served, "tool_id", only).values_list(*fields)
    return {key(row[0]): _tool(row, connectors[key(row[3])]) for row in found}


def _tool(row: tuple[Any, ...], connector: Connector) -> Tool:
    tool_id, digest, body, _, name, timeout_seconds, risk, read_only, data_classes, untrusted, egress, undo = row
    return Tool(
        id=key(tool_id),
        name=name,
        connector=connector,
        definition_digest=digest,
        definition=orjson.loads(bytes(body)),
        variables={
            "name": name,
            "connector": connector.name,
            "risk": risk,
            "read_only": read_only,
            "data_classes": data_classes,
            "environment": connector.stage,
            "untrusted": untrusted,
            "egress": egress,
            "undo": undo,
        },
        timeout_seconds=timeout_seconds,
    )
