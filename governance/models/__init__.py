from governance.models.access_reviews import AccessReview, AccessReviewItem
from governance.models.accounts import UpstreamAuthServer, UpstreamClient, UpstreamGrant
from governance.models.agents import Agent, AgentCredential, CredentialUse
from governance.models.anchors import Anchor
from governance.models.approvals import ApprovalDecision, ApprovalRequest
from governance.models.baselines import AgentBaseline
from governance.models.bundles import Bundle, BundleSelection, BundleTool, BundleVersion
from governance.models.canaries import Canary
from governance.models.data_classes import DataClass
from governance.models.detectors import ExternalDetector
from governance.models.directories import (
    Directory,
    DirectoryAgent,
    DirectoryEmail,
    DirectoryGroup,
    DirectoryLoss,
    DirectoryMember,
    DirectoryMessage,
    DirectoryRun,
    DirectoryToken,
    DirectoryUser,
    GroupMapping,
)
from governance.models.epoch import Advance, Change, Epoch
from governance.models.exceptions import DetectionOff, PatternException
from governance.models.freezes import Freeze
from governance.models.grants import Grant, GrantUse
from governance.models.issuers import TrustedIssuer
from governance.models.limits import RateLimit
from governance.models.notices import ChatIdentity, NotificationChannel
from governance.models.oauth import (
    AccessToken,
    Authorization,
    AuthorizationCode,
    DeviceCode,
    OAuthClient,
    RefreshToken,
    TokenRevocation,
)
from governance.models.offboardings import Offboarding, OffboardingStep
from governance.models.organization import Organization
from governance.models.payload_keys import PayloadKey, SubjectKey
from governance.models.people import OnCallShift, Team, User
from governance.models.personal_tokens import PersonalToken
from governance.models.policies import Policy, PolicyVersion, Rule
from governance.models.reactions import Reaction
from governance.models.registry import Connector, Tool, ToolDefinition
from governance.models.retention import Erasure, LegalHold, RetentionClass
from governance.models.roles import Role
from governance.models.rotation import RotationTask
from governance.models.secrets import Secret, SecretVersion
from governance.models.sinks import Sink
from governance.models.staff_identities import StaffIdentity

__all__ = (
    "AccessReview",
    "AccessReviewItem",
    "AccessToken",
    "Advance",
    "Agent",
    "AgentBaseline",
    "AgentCredential",
    "Anchor",
    "ApprovalDecision",
    "ApprovalRequest",
    "Authorization",
    "AuthorizationCode",
    "Bundle",
    "BundleSelection",
    "BundleTool",
    "BundleVersion",
    "Canary",
    "Change",
    "ChatIdentity",
    "Connector",
    "CredentialUse",
    "DataClass",
    "DetectionOff",
    "DeviceCode",
    "Directory",
    "DirectoryAgent",
    "DirectoryEmail",
    "DirectoryGroup",
    "DirectoryLoss",
    "DirectoryMember",
    "DirectoryMessage",
    "DirectoryRun",
    "DirectoryToken",
    "DirectoryUser",
    "Epoch",
    "Erasure",
    "ExternalDetector",
    "Freeze",
    "Grant",
    "GrantUse",
    "GroupMapping",
    "LegalHold",
    "NotificationChannel",
    "OAuthClient",
    "Offboarding",
    "OffboardingStep",
    "OnCallShift",
    "Organization",
    "PatternException",
    "PayloadKey",
    "PersonalToken",
    "Policy",
    "PolicyVersion",
    "RateLimit",
    "Reaction",
    "RefreshToken",
    "RetentionClass",
    "Role",
    "RotationTask",
    "Rule",
    "Secret",
    "SecretVersion",
    "Sink",
    "StaffIdentity",
    "SubjectKey",
    "Team",
    "TokenRevocation",
    "Tool",
    "ToolDefinition",
    "TrustedIssuer",
    "UpstreamAuthServer",
    "UpstreamClient",
    "UpstreamGrant",
    "User",
)
