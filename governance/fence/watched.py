"""Which tables are governed, and whom a changed row touches."""

from dataclasses import dataclass

from django.db import models

from governance.models import (
    Agent,
    AgentBaseline,
    AgentCredential,
    Anchor,
    Authorization,
    Bundle,
    BundleSelection,
    BundleTool,
    BundleVersion,
    Canary,
    ChatIdentity,
    Connector,
    DataClass,
    DetectionOff,
    Directory,
    DirectoryToken,
    Erasure,
    ExternalDetector,
    Freeze,
    Grant,
    GroupMapping,
    LegalHold,
    NotificationChannel,
    OAuthClient,
    Offboarding,
    OnCallShift,
    Organization,
    PatternException,
    PersonalToken,
    Policy,
    PolicyVersion,
    RateLimit,
    Reaction,
    RetentionClass,
    Role,
    RotationTask,
    Rule,
    Secret,
    SecretVersion,
    Sink,
    StaffIdentity,
    Team,
    TokenRevocation,
    Tool,
    ToolDefinition,
    TrustedIssuer,
    UpstreamAuthServer,
    UpstreamClient,
    UpstreamGrant,
    User,
)
from governance.models.base import Governed

EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Watched:
    """A change of a row touches the calls whose read set holds `kind:<value of column>`."""

    model: type[models.Model]
    kind: str
    column: str = "id"

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    @property
    def sealed(self) -> frozenset[str]:
        return self.model.SEALED_COLUMNS if issubclass(self.model, Governed) else frozenset()

    @property
    def quiet(self) -> frozenset[str]:
        return self.model.QUIET_COLUMNS if issubclass(self.model, Governed) else frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(str(field.column) for field in self.model._meta.local_concrete_fields)


WATCHED = (
    Watched(Organization, "organization", EVERYBODY),
    Watched(Organization.policies.through, "organization", EVERYBODY),
    Watched(Freeze, "freeze", EVERYBODY),
    Watched(RetentionClass, "organization", EVERYBODY),
    Watched(Erasure, "organization", EVERYBODY),
    Watched(LegalHold, "legal_hold"),
    Watched(RateLimit, "rate_limit"),
    Watched(Reaction, "reaction", EVERYBODY),
    Watched(PatternException, "exception", EVERYBODY),
    Watched(DetectionOff, "exception", EVERYBODY),
    Watched(DataClass, "data_class", EVERYBODY),
    Watched(ExternalDetector, "detector", EVERYBODY),
    Watched(Canary, "canary"),
    Watched(AgentBaseline, "baseline", "agent_id"),
    Watched(User, "person"),
    Watched(User.teams.through, "person", "user_id"),
    Watched(Team, "team"),
    Watched(Team.policies.through, "team", "team_id"),
    Watched(OnCallShift, "team", "team_id"),
    Watched(Agent, "agent"),
    Watched(AgentCredential, "credential"),
    Watched(OAuthClient, "oauth_client"),
    Watched(Authorization, "authorization"),
    Watched(TokenRevocation, "token", "token_id"),
    Watched(Connector, "connector"),
    Watched(Tool, "tool"),
    Watched(ToolDefinition, "tool", "tool_id"),
    Watched(RotationTask, "rotation_task"),
    Watched(Secret, "secret"),
    Watched(SecretVersion, "secret", "secret_id"),
    Watched(Bundle, "bundle"),
    Watched(BundleVersion, "bundle", "bundle_id"),
    Watched(BundleVersion.parents.through, "bundle_version", "bundleversion_id"),
    Watched(BundleVersion.policies.through, "bundle_version", "bundleversion_id"),
    Watched(BundleVersion.staged_agents.through, "agent", "agent_id"),
    Watched(BundleTool, "bundle_version", "version_id"),
    Watched(BundleSelection, "bundle_version", "version_id"),
    Watched(Policy, "policy"),
    Watched(PolicyVersion, "policy", "policy_id"),
    Watched(Rule, "policy_version", "version_id"),
    Watched(Role, "role"),
    Watched(Role.bundles.through, "role", "role_id"),
    Watched(Role.agents.through, "agent", "agent_id"),
    Watched(Role.teams.through, "role", "role_id"),
    Watched(Role.people.through, "role", "role_id"),
    Watched(Grant, "grant", EVERYBODY),
    Watched(PersonalToken, "personal_token"),
    Watched(StaffIdentity, "staff_identity"),
    Watched(Offboarding, "offboarding"),
    Watched(Directory, "directory"),
    Watched(DirectoryToken, "directory", "directory_id"),
    Watched(GroupMapping, "group_mapping"),
    Watched(GroupMapping.teams.through, "group_mapping", "groupmapping_id"),
    Watched(NotificationChannel, "notification_channel"),
    Watched(NotificationChannel.teams.through, "notification_channel", "notificationchannel_id"),
    Watched(ChatIdentity, "notification_channel", "channel_id"),
    Watched(Sink, "sink"),
    Watched(TrustedIssuer, "issuer"),
    Watched(Anchor, "anchor"),
    Watched(UpstreamAuthServer, "upstream_server"),
    Watched(UpstreamClient, "upstream_client"),
    Watched(UpstreamGrant, "upstream_grant"),
)
"""Rows that only appear in a decision through their container are logged under it: a new role membership of an
agent touches the agent, a new rule touches its policy version."""
