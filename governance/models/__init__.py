from .agents import Agent, AgentCredential
from .bundles import Bundle, BundleTool, BundleVersion
from .epoch import Advance, Change, Epoch
from .freezes import Freeze
from .organization import Organization
from .payload_keys import PayloadKey
from .people import Team, User
from .policies import Policy, PolicyVersion, Rule
from .registry import Connector, Tool, ToolDefinition
from .roles import Role
from .secrets import Secret, SecretVersion

__all__ = (
    "Advance",
    "Agent",
    "AgentCredential",
    "Bundle",
    "BundleTool",
    "BundleVersion",
    "Change",
    "Connector",
    "Epoch",
    "Freeze",
    "Organization",
    "PayloadKey",
    "Policy",
    "PolicyVersion",
    "Role",
    "Rule",
    "Secret",
    "SecretVersion",
    "Team",
    "Tool",
    "ToolDefinition",
    "User",
)
