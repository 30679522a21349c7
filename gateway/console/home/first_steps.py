"""The way of a new installation from its first sign-in to its first governed call, told by what is there already."""

from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from django.urls import reverse

from audit.models import EventRow
from governance.models import AgentCredential, BundleVersion, Connector, User

TEACHES = ("governance.add_connector", "governance.publish_bundle", "governance.issue_agentcredential")
"""Whoever may do one of these sees the steps."""


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    sentence: str
    link: str
    is_done: bool


def first_steps(person: User) -> list[Step]:
    """None once all is done, or for somebody who has no part in it."""
    if not any(map(person.has_perm, TEACHES)):
        return []
    steps = [_secure_account(person), _connector(), _bundle(), _agent(), _first_call()]
    return [] if all(step.is_done for step in steps) else steps


def _secure_account(person: User) -> Step:
    sentence = "Add a passkey or an authenticator app. Your account opens everything else."
    is_done = Authenticator.objects.filter(user=person).exists()
    return Step("Secure your account", sentence, reverse("mfa_index"), is_done)


def _connector() -> Step:
    sentence = "Give the address of an MCP server. Its tools are found for you and wait behind the gateway."
    return Step("Connect a system", sentence, reverse("connector_new"), Connector.objects.exists())


def _bundle() -> Step:
    sentence = "Choose which of its tools may be used, put them in a bundle and publish it."
    published = BundleVersion.objects.filter(state=BundleVersion.State.PUBLISHED)
    return Step("Publish a bundle", sentence, _where_to_publish(), published.exists())


def _where_to_publish() -> str:
    """The next step of a connector: there, who may not publish is told whom to ask."""
    connector = Connector.objects.order_by("name").first()
    return reverse("connector_resume", args=[connector.pk]) if connector else reverse("connector_new")


def _agent() -> Step:
    sentence = "Every agent has an owner, a role that gives it bundles, and a key of its own."
    has_key = AgentCredential.objects.filter(revoked_at=None).exists()
    return Step("Create an agent and its key", sentence, reverse("admin:governance_agent_changelist"), has_key)


def _first_call() -> Step:
    sentence = "Paste the agent's set-up into its client and let it call a tool. You will see the call here."
    called = EventRow.objects.filter(kind="call.outcome").exists()
    return Step("See the first call", sentence, reverse("admin:governance_agent_changelist"), called)
