"""Workload identity (RFC 8693): a job or pod shows the token its platform gave it, and gets one of ours for the agent
it is. Nothing is stored on its side; nothing it could lose is worth more than minutes.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.oauth.assertions import Expected, NotBelieved, Statement
from gateway.oauth.identity_assertions import NotVouched
from gateway.oauth.spent import spend
from gateway.oauth.trusted import Vouched, our_names, still_trusted, vouched
from governance import agent_keys, oauth_resources, oauth_tokens, workloads
from governance.agent_clients import client_of_agent
from governance.facts import Recorder
from governance.models import AgentCredential, TrustedIssuer
from governance.oauth_resources import BadResource, BadScope
from governance.oauth_tokens import NotIssuable, Tokens

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
TOKEN_TYPES: Final = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  (a name)
LONGEST: Final = timedelta(days=1)
MOST_RULES: Final = 500
EXPECTED: Final = Expected(issuer="", audiences=(), algorithms=(), longest=LONGEST, only_for_us=False, needs_id=False)
"""A pod's token may be meant for its cluster, too."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a request for an exchange says, as far as it matters here."""

    subject_token_type: str
    requested_token_type: str = ""
    has_actor: bool = False
    client_id: str = ""
    """The agent it means to be, where rules of several match."""
    resource: str = ""
    oauth_scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which agent the workload is, by which rule; looked at whole and not yet taken."""

    vouched: Vouched
    credential: AgentCredential
    resource: str
    oauth_scopes: tuple[str, ...]


def recognised(subject_token: str, asked: Exchange, *, now: datetime) -> Recognised:
    """Not inside a transaction. Raises NotBelieved, NotVouched, KeysAway."""
    if asked.subject_token_type not in TOKEN_TYPES or asked.has_actor:
        raise NotVouched("invalid_request", f"subject_token_type is {' or '.join(TOKEN_TYPES)}, without an actor.")
    if asked.requested_token_type not in ("", ACCESS_TOKEN_TYPE):
        raise NotVouched("invalid_request", "Only access tokens are issued.")
    resource, oauth_scopes = _target(asked)
    found = vouched(subject_token, replace(EXPECTED, audiences=our_names()), now=now, kind=TrustedIssuer.Kind.WORKLOAD)
    return Recognised(found, _credential(found, asked.client_id, now), resource, oauth_scopes)


def _target(asked: Exchange) -> tuple[str, tuple[str, ...]]:
    try:
        resource = oauth_resources.canonical_resource(asked.resource, origin=our_names()[0])
        scopes = oauth_resources.read_scopes(asked.oauth_scopes, resource=resource, origin=our_names()[0])
    except BadResource:
        raise NotVouched("invalid_target", "Name one endpoint of this gateway as resource.") from None
    except BadScope:
        scopes = ()
    if not scopes:
        raise NotVouched("invalid_scope", "There are no such scopes at that endpoint, or none was named.")
    return resource, scopes


def _credential(found: Vouched, client_id: str, now: datetime) -> AgentCredential:
    """The one agent this workload is; for a token that is several the request has to say which."""
    rules = AgentCredential.objects.filter(agent_keys.live(now), kind=AgentCredential.Kind.WORKLOAD)
    rules = rules.filter(issuer=found.issuer.issuer).select_related("agent__owner")
    if client_id:
        rules = rules.filter(agent__name=client_id)
    fitting = [rule for rule in rules.order_by("created_at")[:MOST_RULES] if _fits(rule, found.statement, now)]
    agents = {rule.agent_id for rule in fitting}
    if not agents:
        raise NotVouched("invalid_grant", "No agent has a rule that this workload meets.")
    if len(agents) > 1:
        raise NotVouched("invalid_request", "It is several agents; say by client_id which one is meant.")
    return fitting[0]


def _fits(rule: AgentCredential, statement: Statement, now: datetime) -> bool:
    is_begun = rule.not_before is None or rule.not_before <= now
    return is_begun and workloads.matches(rule.claims, statement.claims)


def issue(found: Recognised, *, record: Recorder, now: datetime) -> Tokens:
    """In the caller's transaction. Raises NotBelieved for one that was shown before, and NotVouched."""
    issuer, statement = found.vouched.issuer, found.vouched.statement
    if issuer.is_single_use:
        if not statement.id:
            raise NotBelieved("id", "It has no id of its own.")
        spend(statement)
    if not still_trusted(issuer):
        raise NotVouched("invalid_grant", "Its issuer is trusted no more.")
    client = client_of_agent(found.credential.agent, by=f"issuer:{issuer.name}", record=record)
    try:
        return oauth_tokens.issue_for_credential(
            found.credential, client=client, resource=found.resource, oauth_scopes=found.oauth_scopes, now=now
        )
    except NotIssuable as reason:
        raise NotVouched("invalid_grant", str(reason)) from None
