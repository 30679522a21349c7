import re

from django.urls import URLPattern, URLResolver, path, re_path
from rest_framework.routers import SimpleRouter

from gateway.api.agents import AgentCredentials, Agents, Credentials, Roles
from gateway.api.documents import docs, schema
from gateway.api.emergency import Freezes, HealthView, OrganizationView, Processes
from gateway.api.evidence import Changes, Checkpoints, Events, Tallies
from gateway.api.explaining import ExplainView
from gateway.api.index import Index, Nowhere
from gateway.api.leaving import Offboardings
from gateway.api.people import People, Teams, Tokens
from gateway.api.registry import Connectors, Definitions, Secrets, Tools
from gateway.api.rules import Bundles, BundleVersions, Policies, PolicyVersions

RESOURCES = {
    "people": People,
    "teams": Teams,
    "personal-tokens": Tokens,
    "agents": Agents,
    "agents/<uuid:agent_id>/credentials": AgentCredentials,
    "credentials": Credentials,
    "roles": Roles,
    "bundles": Bundles,
    "bundles/<uuid:bundle_id>/versions": BundleVersions,
    "policies": Policies,
    "policies/<uuid:policy_id>/versions": PolicyVersions,
    "connectors": Connectors,
    "tools": Tools,
    "tools/<uuid:tool_id>/definitions": Definitions,
    "definitions": Definitions,
    "secrets": Secrets,
    "freezes": Freezes,
    "offboardings": Offboardings,
    "events": Events,
    "changes": Changes,
    "checkpoints": Checkpoints,
    "tallies": Tallies,
    "processes": Processes,
}


def _routes() -> list[URLPattern]:
    router = SimpleRouter(trailing_slash=False, use_regex_path=False)
    for prefix, resource in RESOURCES.items():
        router.register(prefix, resource, basename="api-" + re.sub(r"<.*?>/", "", prefix).replace("/", "-"))
    return list(router.urls)


urlpatterns: list[URLPattern | URLResolver] = [
    path("", Index.as_view({"get": "retrieve"}), name="api"),
    path("schema/", schema, name="api_schema"),
    path("docs/", docs, name="api_docs"),
    path("organization", OrganizationView.as_view({"get": "retrieve", "patch": "partial_update"})),
    path("health", HealthView.as_view({"get": "retrieve"})),
    path("explain", ExplainView.as_view({"post": "create"})),
    *_routes(),
    re_path("", Nowhere.as_view(), name="api_nowhere"),
]
