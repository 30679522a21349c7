import re

from django.urls import URLPattern, URLResolver, path, re_path
from rest_framework.routers import SimpleRouter

from gateway.api.access_reviews import AccessReviewItems, AccessReviews
from gateway.api.agent_sessions import AgentSessions, SessionBundle, SessionBundleWithPayloads, SessionLines
from gateway.api.agents import AgentCredentials, Agents, Credentials, Roles
from gateway.api.anchors import AnchorReceipts, Anchors
from gateway.api.approvals import AccessRequests, Approvals
from gateway.api.authorizations import Authorizations
from gateway.api.calls import Call, CallPayloads, CallProof
from gateway.api.canaries import Canaries
from gateway.api.connected_accounts import ConnectedAccounts
from gateway.api.content import DataClasses
from gateway.api.detection import DetectionRules, SwitchedOffRules
from gateway.api.detectors import Detectors
from gateway.api.directories import Directories, DirectoryLosses, GroupMappings
from gateway.api.documents import docs, schema
from gateway.api.emergency import Freezes, HealthView, OrganizationView, Processes
from gateway.api.evidence import Changes, Checkpoints, Consistency, Events, Leaves, Tallies
from gateway.api.exceptions import Exceptions
from gateway.api.explaining import ExplainView
from gateway.api.findings import FindingRates, Findings, Sightings
from gateway.api.grants import Grants
from gateway.api.index import Index, Nowhere
from gateway.api.issuers import Issuers
from gateway.api.leaving import Offboardings, Receipt
from gateway.api.oauth_clients import OAuthClients
from gateway.api.people import People, Teams, Tokens
from gateway.api.previews import BundlePreview, NewRolePreview, PolicyPreview, RolePreview
from gateway.api.reach import AgentMatrix, AgentReach, Callers, PeopleMatrix
from gateway.api.registry import Connectors, Definitions, Secrets, SecretVersions, Tools
from gateway.api.reports import ReportPdf, Reports, ReportZip
from gateway.api.retention import ErasurePreview, Erasures, LegalHolds, RetentionClasses
from gateway.api.rotation import EmergencyRotations, RotationTasks
from gateway.api.rules import Bundles, Limits, Policies
from gateway.api.sign_ins import Sessions
from gateway.api.sinks import DeadLetters, SinkProgress, Sinks
from gateway.api.staff_identities import StaffIdentities
from gateway.api.versions import BundleDiff, BundleVersions, PolicyDiff, PolicyVersions
from gateway.api.zombies import Zombies

RESOURCES = {
    "people": People,
    "teams": Teams,
    "personal-tokens": Tokens,
    "staff-identities": StaffIdentities,
    "sessions": Sessions,
    "agents": Agents,
    "agents/<uuid:agent_id>/credentials": AgentCredentials,
    "credentials": Credentials,
    "roles": Roles,
    "bundles": Bundles,
    "bundles/<uuid:bundle_id>/versions": BundleVersions,
    "policies": Policies,
    "policies/<uuid:policy_id>/versions": PolicyVersions,
    "limits": Limits,
    "data-classes": DataClasses,
    "findings": Findings,
    "findings/<uuid:finding_id>/sightings": Sightings,
    "exceptions": Exceptions,
    "switched-off-rules": SwitchedOffRules,
    "canaries": Canaries,
    "detectors": Detectors,
    "connectors": Connectors,
    "tools": Tools,
    "tools/<uuid:tool_id>/definitions": Definitions,
    "definitions": Definitions,
    "secrets": Secrets,
    "secrets/<uuid:secret_id>/versions": SecretVersions,
    "approvals": Approvals,
    "directories": Directories,
    "directories/<uuid:directory_id>/losses": DirectoryLosses,
    "group-mappings": GroupMappings,
    "issuers": Issuers,
    "oauth-clients": OAuthClients,
    "authorizations": Authorizations,
    "connected-accounts": ConnectedAccounts,
    "grants": Grants,
    "freezes": Freezes,
    "rotation-tasks": RotationTasks,
    "offboardings": Offboardings,
    "agent-sessions": AgentSessions,
    "agent-sessions/<uuid:run_id>/lines": SessionLines,
    "events": Events,
    "changes": Changes,
    "leaves": Leaves,
    "checkpoints": Checkpoints,
    "tallies": Tallies,
    "anchors": Anchors,
    "anchor-receipts": AnchorReceipts,
    "legal-holds": LegalHolds,
    "retention-classes": RetentionClasses,
    "erasures": Erasures,
    "reports": Reports,
    "access-reviews": AccessReviews,
    "access-review-items": AccessReviewItems,
    "sinks": Sinks,
    "sinks/<uuid:sink_id>/dead-letters": DeadLetters,
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
    path("emergency-rotations", EmergencyRotations.as_view({"post": "create"})),
    path("access-requests", AccessRequests.as_view({"post": "create"})),
    path("explain", ExplainView.as_view({"post": "create"})),
    path("agents/<uuid:agent_id>/reach", AgentReach.as_view({"get": "list"})),
    path("tools/<uuid:tool_id>/callers", Callers.as_view({"get": "list"})),
    path("reach/agents", AgentMatrix.as_view({"get": "list"})),
    path("reach/people", PeopleMatrix.as_view({"get": "list"})),
    path("bundles/<uuid:bundle_id>/preview", BundlePreview.as_view({"post": "create"})),
    path("policies/<uuid:policy_id>/preview", PolicyPreview.as_view({"post": "create"})),
    path("bundles/<uuid:bundle_id>/versions/<uuid:version_id>/diff", BundleDiff.as_view({"get": "retrieve"})),
    path("policies/<uuid:policy_id>/versions/<uuid:version_id>/diff", PolicyDiff.as_view({"get": "retrieve"})),
    path("roles/preview", NewRolePreview.as_view({"post": "create"})),
    path("roles/<uuid:role_id>/preview", RolePreview.as_view({"post": "create"})),
    path("calls/<uuid:call_id>", Call.as_view({"get": "retrieve"})),
    path("calls/<uuid:call_id>/proof", CallProof.as_view({"get": "retrieve"})),
    path("calls/<uuid:call_id>/payloads", CallPayloads.as_view({"post": "create"})),
    path("agent-sessions/<uuid:run_id>/bundle", SessionBundle.as_view({"post": "create"})),
    path("agent-sessions/<uuid:run_id>/bundle-with-payloads", SessionBundleWithPayloads.as_view({"post": "create"})),
    path("offboardings/<uuid:offboarding_id>/receipt", Receipt.as_view({"get": "retrieve"})),
    path("checkpoints/<int:size>/consistency/<int:old_size>", Consistency.as_view({"get": "retrieve"})),
    path("sinks/<uuid:sink_id>/progress", SinkProgress.as_view({"get": "retrieve"})),
    path("erasures/preview", ErasurePreview.as_view({"post": "create"})),
    path("reports/<uuid:report_id>/zip", ReportZip.as_view({"post": "create"})),
    path("reports/<uuid:report_id>/pdf", ReportPdf.as_view({"post": "create"})),
    path("detection-rules", DetectionRules.as_view({"get": "list"})),
    path("finding-rates", FindingRates.as_view({"get": "list"})),
    path("zombies", Zombies.as_view({"get": "list"})),
    *_routes(),
    re_path("", Nowhere.as_view(), name="api_nowhere"),
]
