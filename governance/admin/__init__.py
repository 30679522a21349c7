"""The screens of who may do what."""

from governance.admin import agents, bundles, changes, emergency, limits, people, policies, registry, roles, secrets

__all__ = ("agents", "bundles", "changes", "emergency", "limits", "people", "policies", "registry", "roles", "secrets")
