"""The OAuth client that an agent is itself, once it has something to prove that by."""

from governance.facts import Fact, Recorder
from governance.models import Agent, OAuthClient

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def client_of_agent(agent: Agent, *, by: str, record: Recorder) -> OAuthClient:
    """By which the agent itself asks for tokens; its client ID is its name. Its credentials prove it."""
    client, is_new = OAuthClient.objects.get_or_create(
        agent=agent,
        defaults={
            "client_id": agent.name,
            "name": agent.title or agent.name,
            "status": OAuthClient.Status.APPROVED,
            "grant_types": [CLIENT_CREDENTIALS, JWT_BEARER],
            "created_by": by,
        },
    )
    if is_new:
        record(Fact("oauth_client.registered", f"oauth_client:{client.client_id}", told_of(client)))
    return client


def told_of(client: OAuthClient) -> dict[str, object]:
    return {
        "name": client.name,
        "status": client.status,
        "origin": client.origin,
        "agent": client.agent.name if client.agent is not None else "",
        "redirect_uris": client.redirect_uris,
        "grant_types": client.grant_types,
    }
