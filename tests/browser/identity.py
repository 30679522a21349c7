"""What the screens of identity show: a directory that speaks, clients that want in, people who have left or will."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from django.conf import settings

from audit.event import AuditEvent
from audit.record import record
from gateway import actions, directories, offboardings
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    Authorization,
    Connector,
    Directory,
    GroupMapping,
    OAuthClient,
    Role,
    RotationTask,
    Secret,
    StaffIdentity,
    Team,
    TrustedIssuer,
    UpstreamAuthServer,
    UpstreamClient,
    UpstreamGrant,
    User,
)
from governance.oauth_resources import resource_of
from governance.offboarding import Plan
from tests.browser.house import House

HOSTILE = "Editor \u202e<b>of somebody</b>"
LEAVER, PLANNED, UNDONE = "mia@example.com", "bo@example.com", "kim@example.com"
LOOPBACK = "http://127.0.0.1/callback"
CODES = ["authorization_code", "refresh_token"]
ASSISTANT, STRANGER = "desk-assistant", "notes"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DOCUMENT = "https://editor.example.com/client.json"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BY = "person:ira@example.com"


def bring_identity(house: House) -> None:
    """Through the doors that outsiders use where that is quick, else straight into the tables."""
    token = house.manage("shell", "-c", "from tests.browser.identity import make_rows; make_rows()").split()[-1]
    a_directory_speaks(house, token)
    house.manage("shell", "-c", "from tests.browser.identity import leave; leave()")


def a_directory_speaks(house: House, token: str) -> None:
    """It brings people and a group, one of them somebody who is here already, and then takes away more than may go."""
    ids = [_sends(house, token, "POST", "/Users", _user(number))["id"] for number in range(4)]
    _sends(house, token, "POST", "/Users", _user(9) | {"userName": "ana@example.com", "displayName": "Ana L."})
    members = [{"value": each} for each in ids]
    group = {"schemas": [GROUP], "displayName": "gw-support-leads", "members": members}
    _sends(house, token, "POST", "/Groups", group)
    for each in ids:
        gone = {"op": "replace", "value": {"active": False}}
        _sends(house, token, "PATCH", f"/Users/{each}", {"schemas": [PATCH], "Operations": [gone]})
    _sends(house, token, "GET", "/Users/nobody")


def _user(number: int) -> dict[str, Any]:
    name = f"person{number}.with-a-rather-long-name@corp.example.com"
    return {
        "schemas": [USER],
        "userName": name,
        "displayName": f"Person {number}",
        "emails": [{"value": "ana@example.com" if number == 9 else name, "primary": True}],
        "active": True,
    }


def _sends(house: House, token: str, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/scim+json"}
    sent = Request(f"{house.origin}/scim/v2{path}", json.dumps(body).encode() if body else None, headers, method=method)
    try:
        with urlopen(sent, timeout=60) as answer:
            return json.loads(answer.read() or b"null")
    except HTTPError as error:
        if error.code != 404:
            raise
        return None


def leave() -> None:
    """One has left, one will, and one has come back; run inside the house."""
    mia, bo, kim = (User.objects.get(email=each) for each in (LEAVER, PLANNED, UNDONE))
    offboardings.offboard(mia, plan=Plan(otherwise="lee@example.com"), by=BY, reason="Moved to another company")
    then = datetime.now(UTC) + timedelta(days=60)
    offboardings.schedule_offboarding(bo, plan=Plan(), due_at=then, by=BY)
    offboardings.undo_offboarding(offboardings.offboard(kim, plan=Plan(), by=BY), acting=None, by=BY)


def make_rows() -> None:
    """Run inside the house; prints the directory's token."""
    now = datetime.now(UTC)
    with governed_change(by=BY):
        _clients(now)
        _others_whose_word_counts(now)
        _accounts_elsewhere(now)
        _people()
        _directory()
    for agent in Agent.objects.filter(owner__email=LEAVER):
        actions.issue_key(agent, by=BY, expires_in=timedelta(days=30))
    mia = User.objects.get(email=LEAVER)
    actions.issue_token(mia, name="weekly report", scopes=["read"], by=BY, lifetime=timedelta(days=30))
    actions.issue_key(Agent.objects.get(name="left-behind"), by=BY, expires_in=None)
    with governed_change(by=BY):
        User.objects.filter(email="gone@example.com").update(is_active=False)
    used = {"how": "password and second factor", "address": "192.0.2.7"}
    event = {"actor": "person:glass@example.com", "person": "glass@example.com", "details": used}
    actions.act(lambda _, at: record(AuditEvent(kind="break_glass_account.used", at=at, **event)), by=BY)
    sys.stdout.write(directories.issue_token(Directory.objects.get(name="okta"), by=BY).token)


def _people() -> None:
    lee, support = User.objects.get(email="lee@example.com"), Team.objects.get(name="support")
    for email, name in ((LEAVER, "Mia Ode"), (PLANNED, "Bo Sand"), (UNDONE, "Kim Rowe"), ("gone@example.com", "")):
        person = User.objects.create_user(email, name=name, manager=lee)
        person.teams.add(support)
        Role.objects.get(name="support-agent").people.add(person)
    User.objects.create_superuser("glass@example.com", break_glass=True)
    mia = User.objects.get(email=LEAVER)
    Agent.objects.create(name="mia-notes", title="Notes of meetings", owner=mia)
    Agent.objects.create(name="mia-reports", owner=mia)
    Agent.objects.create(name="left-behind", owner=User.objects.get(email="gone@example.com"))
    StaffIdentity.objects.create(
        person=lee,
        protocol="oidc",
        issuer="https://idp.example.com",
        subject="00u1a2b3c4",
        groups=["gw-support-leads"],
        created_by=BY,
    )


def _directory() -> None:
    okta = Directory.objects.create(name="okta", title="Okta", brake_number=1, brake_share=0, created_by=BY)
    GroupMapping.objects.create(
        directory=okta,
        group_name="gw-support-leads",
        duties=["approver"],
        admin_access=True,
        proposed_by=User.objects.get(email="ira@example.com"),
    )


def _clients(now: datetime) -> None:
    ana = User.objects.get(email="ana@example.com")
    editor = OAuthClient.objects.create(
        client_id=DOCUMENT, name=HOSTILE, origin="cimd", redirect_uris=[LOOPBACK], status="approved", created_by="cimd"
    )
    Authorization.objects.create(
        client=editor,
        agent=Agent.objects.get(name="triage-bot"),
        person=ana,
        resource=resource_of("support", origin=settings.PUBLIC_URL),
        oauth_scopes=["bundle:support"],
        expires_at=now + timedelta(days=30),
        created_by="person:ana@example.com",
    )
    OAuthClient.objects.create(
        client_id="https://tool.example.org/oauth/a-rather-long-path/client.json",
        name="Claude Code",
        origin="cimd",
        redirect_uris=[LOOPBACK],
        grant_types=CODES,
        created_by="person:ana@example.com",
    )
    OAuthClient.objects.create(
        client_id=STRANGER, name="Notes", origin="dcr", redirect_uris=[LOOPBACK], grant_types=CODES, created_by="dcr"
    )
    OAuthClient.objects.create(
        client_id=ASSISTANT,
        name="Desk assistant",
        redirect_uris=[LOOPBACK, "https://assistant.example.com/cb"],
        grant_types=[*CODES, DEVICE_GRANT],
        status="approved",
        created_by=BY,
    )


def _others_whose_word_counts(now: datetime) -> None:
    TrustedIssuer.objects.create(
        name="okta", title="Okta", kind="directory", issuer="https://idp.example.com", ends_access=True
    )
    TrustedIssuer.objects.create(
        name="github-actions", kind="workload", issuer="https://token.actions.githubusercontent.com"
    )
    RotationTask.objects.create(
        subject_kind="secret",
        subject_id=Secret.objects.get(name="helpdesk-token").pk,
        subject_name="helpdesk-token",
        reason="age",
        asked_by="system:rotation",
        created_at=now,
        due_at=now + timedelta(days=7),
    )


def _accounts_elsewhere(now: datetime) -> None:
    server = UpstreamAuthServer.objects.create(issuer="https://login.crm.example.com", fetched_at=now)
    crm = Connector.objects.create(name="crm", title="CRM", urls=["https://crm.example.com/mcp"], account="person")
    client = UpstreamClient.objects.create(
        connector=crm,
        server=server,
        source="registered",
        client_id="gatehouse",
        resource="https://crm.example.com/mcp",
        oauth_scopes=["contacts.read", "deals.read"],
        created_at=now,
        created_by=BY,
    )
    UpstreamGrant.objects.create(
        client=client,
        connector=crm,
        person=User.objects.get(email="ana@example.com"),
        resource=client.resource,
        created_at=now,
        created_by="person:ana@example.com",
    )
