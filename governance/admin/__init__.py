"""The screens of who may do what."""

from governance.admin import (
    agents,
    bundles,
    changes,
    emergency,
    grants,
    issuers,
    limits,
    notices,
    organization,
    people,
    policies,
    reactions,
    registry,
    roles,
    rotation,
    secrets,
)

__all__ = (
    "agents",
    "bundles",
    "changes",
    "emergency",
    "grants",
    "issuers",
    "limits",
    "notices",
    "organization",
    "people",
    "policies",
    "reactions",
    "registry",
    "roles",
    "rotation",
    "secrets",
)
