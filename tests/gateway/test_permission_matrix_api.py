"""Every role before every address of the API. A new address that is missing here fails; API is the table."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import Client

from governance.fence.actor import governed_change
from governance.models import Offboarding
from governance.personal_tokens import SCOPES, issue_token
from tests.gateway.everybody import ROLES, SPECIAL, patterns, people, rows
from tests.gateway.test_permission_matrix import who

__all__ = ("people", "rows")

pytestmark = pytest.mark.django_db

API = """
GET    /                                        signed in
GET    organization                             governance.view_organization
PATCH  organization                             governance.change_organization
GET    health                                   gateway.view_gatewayprocess
POST   explain                                  governance.explain_agent
GET    people                                   governance.view_user              or her own
POST   people                                   governance.add_user
GET    people/{user}                            governance.view_user
PATCH  people/{user}                            governance.change_user
POST   people/{user}/one-time-login             governance.invite_user
GET    teams                                    governance.view_team
POST   teams                                    governance.add_team
GET    teams/{team}                             governance.view_team
PATCH  teams/{team}                             governance.change_team
DELETE teams/{team}                             governance.delete_team
GET    personal-tokens                          governance.view_personaltoken     or her own
GET    personal-tokens/{personaltoken}          governance.view_personaltoken
POST   personal-tokens/{personaltoken}/revoke   governance.change_personaltoken
GET    staff-identities                         governance.view_staffidentity     or her own
GET    staff-identities/{staffidentity}         governance.view_staffidentity
POST   staff-identities/{staffidentity}/end     governance.end_staffidentity
GET    sessions                                 nobody                            or her own
GET    sessions/{usersession}                   nobody
DELETE sessions/{usersession}                   nobody
GET    agents                                   governance.view_agent             or her own
POST   agents                                   governance.add_agent
GET    agents/{agent}                           governance.view_agent
PATCH  agents/{agent}                           governance.change_agent
POST   agents/{agent}/resume                    governance.change_agent
POST   agents/{agent}/retire                    governance.retire_agent
POST   agents/{agent}/suspend                   governance.change_agent
POST   agents/{agent}/transfer                  governance.transfer_agent
GET    agents/{agent}/reach                     governance.explain_agent
GET    agents/{agent}/credentials               governance.view_agentcredential   or her own
POST   agents/{agent}/credentials               governance.issue_agentcredential
GET    agents/{agent}/credentials/{agentcredential}         governance.view_agentcredential
POST   agents/{agent}/credentials/{agentcredential}/revoke  governance.revoke_agentcredential
GET    credentials                              governance.view_agentcredential   or her own
GET    credentials/{agentcredential}            governance.view_agentcredential
POST   credentials/{agentcredential}/revoke     governance.revoke_agentcredential
GET    roles                                    governance.view_role
POST   roles                                    governance.add_role
GET    roles/{role}                             governance.view_role
POST   roles/preview                            governance.add_role
POST   roles/{role}/preview                     governance.change_role
PATCH  roles/{role}                             governance.change_role
DELETE roles/{role}                             governance.delete_role
GET    bundles                                  governance.view_bundle
POST   bundles                                  governance.add_bundle
GET    bundles/{bundle}                         governance.view_bundle
PATCH  bundles/{bundle}                         governance.change_bundle
DELETE bundles/{bundle}                         governance.delete_bundle
POST   bundles/{bundle}/preview                 governance.change_bundle
POST   bundles/{bundle}/withdraw                governance.publish_bundle
GET    bundles/{bundle}/versions                governance.view_bundleversion
POST   bundles/{bundle}/versions                governance.publish_bundle
GET    bundles/{bundle}/versions/{bundleversion}            governance.view_bundleversion
POST   bundles/{bundle}/versions/draft                      governance.change_bundle
GET    bundles/{bundle}/versions/{bundleversion}/diff       governance.view_bundleversion
POST   bundles/{bundle}/versions/{bundleversion}/submit     governance.change_bundle
POST   bundles/{bundle}/versions/{bundleversion}/discard    governance.change_bundle
POST   bundles/{bundle}/versions/{bundleversion}/roll-back  governance.change_bundle
POST   bundles/{bundle}/versions/{bundleversion}/take-over  governance.change_bundle
POST   bundles/{bundle}/versions/{bundleversion}/try        governance.change_bundle
POST   bundles/{bundle}/versions/{bundleversion}/send-back  governance.review_bundle
POST   bundles/{bundle}/versions/{bundleversion}/publish    governance.publish_bundle
POST   bundles/{bundle}/versions/{bundleversion}/stage      governance.publish_bundle
POST   bundles/{bundle}/versions/{bundleversion}/take-back  governance.publish_bundle
GET    policies                                 governance.view_policy
POST   policies                                 governance.add_policy
GET    policies/{policy}                        governance.view_policy
PATCH  policies/{policy}                        governance.change_policy
DELETE policies/{policy}                        governance.delete_policy
POST   policies/{policy}/preview                governance.change_policy
POST   policies/{policy}/withdraw               governance.publish_policy
GET    policies/{policy}/versions               governance.view_policyversion
POST   policies/{policy}/versions               governance.publish_policy
GET    policies/{policy}/versions/{policyversion}           governance.view_policyversion
POST   policies/{policy}/versions/draft                     governance.change_policy
GET    policies/{policy}/versions/{policyversion}/diff      governance.view_policyversion
POST   policies/{policy}/versions/{policyversion}/submit    governance.change_policy
POST   policies/{policy}/versions/{policyversion}/discard   governance.change_policy
POST   policies/{policy}/versions/{policyversion}/roll-back governance.change_policy
POST   policies/{policy}/versions/{policyversion}/take-over governance.change_policy
POST   policies/{policy}/versions/{policyversion}/try       governance.change_policy
POST   policies/{policy}/versions/{policyversion}/send-back governance.review_policy
POST   policies/{policy}/versions/{policyversion}/publish   governance.publish_policy
GET    limits                                   governance.view_ratelimit
POST   limits                                   governance.add_ratelimit
GET    limits/{ratelimit}                       governance.view_ratelimit
PATCH  limits/{ratelimit}                       governance.change_ratelimit
DELETE limits/{ratelimit}                       governance.delete_ratelimit
GET    data-classes                             governance.view_dataclass
POST   data-classes                             governance.add_dataclass
GET    data-classes/{dataclass}                 governance.view_dataclass
PATCH  data-classes/{dataclass}                 governance.change_dataclass
DELETE data-classes/{dataclass}                 governance.delete_dataclass
GET    findings                                 audit.view_findinggroup
GET    findings/{findinggroup}                  audit.view_findinggroup
POST   findings/{findinggroup}/judge            audit.judge_findinggroup
POST   findings/{findinggroup}/allow            governance.add_patternexception
GET    findings/{findinggroup}/sightings        audit.view_findinggroup
GET    finding-rates                            audit.view_findinggroup
GET    exceptions                               governance.view_patternexception
POST   exceptions                               governance.add_patternexception
GET    exceptions/{patternexception}            governance.view_patternexception
POST   exceptions/{patternexception}/approve    governance.approve_patternexception
POST   exceptions/{patternexception}/end        governance.change_patternexception
GET    detection-rules                          governance.view_detectionoff
GET    switched-off-rules                       governance.view_detectionoff
POST   switched-off-rules                       governance.change_detectionoff
GET    switched-off-rules/{detectionoff}        governance.view_detectionoff
DELETE switched-off-rules/{detectionoff}        governance.change_detectionoff
GET    canaries                                 governance.view_canary
POST   canaries                                 governance.add_canary
GET    canaries/{canary}                        governance.view_canary
DELETE canaries/{canary}                        governance.delete_canary
POST   canaries/{canary}/show                   governance.show_canary
GET    detectors                                governance.view_externaldetector
POST   detectors                                governance.add_externaldetector
GET    detectors/{externaldetector}             governance.view_externaldetector
PATCH  detectors/{externaldetector}             governance.change_externaldetector
DELETE detectors/{externaldetector}             governance.delete_externaldetector
POST   detectors/{externaldetector}/test        governance.change_externaldetector
GET    directories                              governance.view_directory
POST   directories                              governance.add_directory
GET    directories/{directory}                  governance.view_directory
PATCH  directories/{directory}                  governance.change_directory
POST   directories/{directory}/issue-token      governance.connect_directory
POST   directories/{directory}/revoke-token     governance.connect_directory
POST   directories/{directory}/decide-losses    governance.release_directory
GET    directories/{directory}/losses           governance.release_directory
GET    group-mappings                           governance.view_groupmapping
POST   group-mappings                           governance.add_groupmapping
GET    group-mappings/{groupmapping}            governance.view_groupmapping
PATCH  group-mappings/{groupmapping}            governance.change_groupmapping
DELETE group-mappings/{groupmapping}            governance.delete_groupmapping
POST   group-mappings/{groupmapping}/approve    governance.approve_groupmapping
GET    issuers                                  governance.view_trustedissuer
POST   issuers                                  governance.add_trustedissuer
GET    issuers/{trustedissuer}                  governance.view_trustedissuer
PATCH  issuers/{trustedissuer}                  governance.change_trustedissuer
DELETE issuers/{trustedissuer}                  governance.delete_trustedissuer
GET    oauth-clients                            governance.view_oauthclient
POST   oauth-clients                            governance.add_oauthclient
GET    oauth-clients/{oauthclient}              governance.view_oauthclient
POST   oauth-clients/{oauthclient}/approve      governance.approve_oauthclient
POST   oauth-clients/{oauthclient}/disable      governance.disable_oauthclient
GET    authorizations                           governance.view_authorization
GET    authorizations/{authorization}           governance.view_authorization
POST   authorizations/{authorization}/revoke    governance.revoke_authorization
GET    connected-accounts                       governance.view_upstreamgrant     or her own
GET    connected-accounts/{upstreamgrant}                   governance.view_upstreamgrant
POST   connected-accounts/{upstreamgrant}/revoke            governance.revoke_upstreamgrant
POST   connected-accounts/{upstreamgrant}/settle            governance.revoke_upstreamgrant
GET    connectors                               governance.view_connector
POST   connectors                               governance.add_connector
GET    connectors/{connector}                   governance.view_connector
PATCH  connectors/{connector}                   governance.change_connector
DELETE connectors/{connector}                   governance.delete_connector
POST   connectors/{connector}/discover          governance.discover_connector
POST   connectors/{connector}/offers            governance.discover_connector
GET    tools                                    governance.view_tool
GET    tools/{tool}                             governance.view_tool
PATCH  tools/{tool}                             governance.change_tool
POST   tools/{tool}/quarantine                  governance.change_tool
POST   tools/{tool}/release                     governance.change_tool
GET    tools/{tool}/callers                     governance.explain_agent
GET    tools/{tool}/definitions                 governance.view_tooldefinition
GET    tools/{tool}/definitions/{tooldefinition}            governance.view_tooldefinition
POST   tools/{tool}/definitions/{tooldefinition}/pin        governance.decide_tooldefinition
POST   tools/{tool}/definitions/{tooldefinition}/reject     governance.decide_tooldefinition
GET    definitions                              governance.view_tooldefinition
GET    definitions/{tooldefinition}             governance.view_tooldefinition
POST   definitions/{tooldefinition}/pin         governance.decide_tooldefinition
POST   definitions/{tooldefinition}/reject      governance.decide_tooldefinition
GET    secrets                                  governance.view_secret
POST   secrets                                  governance.add_secret
GET    secrets/{secret}                         governance.view_secret
PATCH  secrets/{secret}                         governance.change_secret
DELETE secrets/{secret}                         governance.delete_secret
POST   secrets/{secret}/value                   governance.replace_secret
GET    secrets/{secret}/versions                governance.view_secretversion
GET    secrets/{secret}/versions/{secretversion}            governance.view_secretversion
GET    reach/agents                             governance.explain_agent
GET    reach/people                             governance.explain_agent
GET    zombies                                  governance.view_offboarding
GET    approvals                                governance.view_approvalrequest   or her own
GET    approvals/{approval}                     governance.view_approvalrequest
POST   approvals/{approval}/decisions           governance.decide_approvalrequest
POST   approvals/{approval}/withdraw            nobody
POST   access-requests                          signed in
GET    grants                                   governance.view_grant             or her own
GET    grants/{grant}                           governance.view_grant
POST   grants/{grant}/revoke                    governance.revoke_grant
POST   grants/{grant}/review                    governance.review_grant
POST   grants/{grant}/renew                     governance.ask_approvalrequest
GET    freezes                                  governance.view_freeze
POST   freezes                                  governance.add_freeze
GET    freezes/{freeze}                         governance.view_freeze
POST   freezes/{freeze}/lift                    governance.change_freeze
GET    rotation-tasks                           governance.view_rotationtask      or her own
GET    rotation-tasks/{rotationtask}            governance.view_rotationtask
POST   rotation-tasks/{rotationtask}/confirm    governance.change_rotationtask
POST   rotation-tasks/{rotationtask}/drop       governance.change_rotationtask
POST   emergency-rotations                      governance.cut_rotationtask
GET    offboardings                             governance.view_offboarding
POST   offboardings                             governance.offboard_user
GET    offboardings/{offboarding}               governance.view_offboarding
POST   offboardings/{offboarding}/cancel        governance.offboard_user
POST   offboardings/{offboarding}/check         governance.view_offboarding
POST   offboardings/{offboarding}/undo          governance.offboard_user
GET    offboardings/{offboarding}/receipt       governance.view_offboarding
GET    agent-sessions                           audit.view_agentsession
GET    agent-sessions/{agentsession}            audit.view_agentsession
GET    agent-sessions/{agentsession}/lines      audit.view_eventrow
POST   agent-sessions/{agentsession}/bundle     audit.view_leaf
POST   agent-sessions/{agentsession}/bundle-with-payloads   audit.view_payload
GET    events                                   audit.view_eventrow
GET    events/{eventrow}                        audit.view_eventrow
GET    calls/{eventrow}                         audit.view_eventrow
GET    calls/{eventrow}/proof                   audit.view_leaf
POST   calls/{eventrow}/payloads                audit.view_payload
GET    leaves                                   audit.view_leaf
GET    changes                                  governance.view_change
GET    checkpoints                              audit.view_checkpoint
GET    checkpoints/{checkpoint}/consistency/{checkpoint}   audit.view_checkpoint
GET    tallies                                  audit.view_calltally
GET    anchors                                  governance.view_anchor
POST   anchors                                  governance.add_anchor
GET    anchors/{anchor}                         governance.view_anchor
PATCH  anchors/{anchor}                         governance.change_anchor
DELETE anchors/{anchor}                         governance.delete_anchor
POST   anchors/{anchor}/keep                    governance.keep_anchor
GET    anchor-receipts                          audit.view_anchorreceipt
GET    legal-holds                              governance.view_legalhold
POST   legal-holds                              governance.add_legalhold
GET    legal-holds/{legalhold}                  governance.view_legalhold
POST   legal-holds/{legalhold}/lift             governance.change_legalhold
GET    retention-classes                        governance.view_retentionclass
POST   retention-classes                        governance.add_retentionclass
GET    retention-classes/{retentionclass}       governance.view_retentionclass
PATCH  retention-classes/{retentionclass}       governance.change_retentionclass
DELETE retention-classes/{retentionclass}       governance.delete_retentionclass
GET    erasures                                 governance.view_erasure
POST   erasures                                 governance.erase_user
POST   erasures/preview                         governance.erase_user
GET    erasures/{erasure}                       governance.view_erasure
GET    reports                                  gateway.view_report
POST   reports                                  gateway.add_report
GET    reports/{report}                         gateway.view_report
POST   reports/{report}/zip                     gateway.view_report
POST   reports/{report}/pdf                     gateway.view_report
GET    access-reviews                           governance.view_accessreview
POST   access-reviews                           governance.add_accessreview
GET    access-reviews/{accessreview}            governance.view_accessreview
POST   access-reviews/{accessreview}/remind     governance.change_accessreview
POST   access-reviews/{accessreview}/close      governance.change_accessreview
GET    access-review-items                      governance.view_accessreview      or her own
GET    access-review-items/{accessreviewitem}   governance.view_accessreview
POST   access-review-items/{accessreviewitem}/decide        governance.change_accessreview
GET    sinks                                    governance.view_sink
POST   sinks                                    governance.add_sink
GET    sinks/{sink}                             governance.view_sink
PATCH  sinks/{sink}                             governance.change_sink
DELETE sinks/{sink}                             governance.delete_sink
POST   sinks/{sink}/send-sample                 governance.change_sink
POST   sinks/{sink}/resume                      governance.change_sink
POST   sinks/{sink}/replay                      governance.change_sink
POST   sinks/{sink}/retry-dead-letters          governance.change_sink
POST   sinks/{sink}/give-up-dead-letters        governance.change_sink
GET    sinks/{sink}/dead-letters                audit.view_deadletter
GET    sinks/{sink}/progress                    governance.view_sink
GET    processes                                gateway.view_gatewayprocess
GET    processes/{gatewayprocess}               gateway.view_gatewayprocess
"""
""""Or her own": without the right the list shows what is hers, and what is not hers is not there."""

API_ELSEWHERE = ("api_schema", "api_docs", "api_nowhere")
COLLECTIONS = {
    "people": "user",
    "personal-tokens": "personaltoken",
    "staff-identities": "staffidentity",
    "credentials": "agentcredential",
    "policies": "policy",
    "limits": "ratelimit",
    "data-classes": "dataclass",
    "findings": "findinggroup",
    "exceptions": "patternexception",
    "switched-off-rules": "detectionoff",
    "canaries": "canary",
    "detectors": "externaldetector",
    "rotation-tasks": "rotationtask",
    "directories": "directory",
    "group-mappings": "groupmapping",
    "issuers": "trustedissuer",
    "oauth-clients": "oauthclient",
    "authorizations": "authorization",
    "connected-accounts": "upstreamgrant",
    "definitions": "tooldefinition",
    "events": "eventrow",
    "agent-sessions": "agentsession",
    "calls": "eventrow",
    "sessions": "usersession",
    "processes": "gatewayprocess",
    "consistency": "checkpoint",
    "legal-holds": "legalhold",
    "retention-classes": "retentionclass",
    "access-reviews": "accessreview",
    "access-review-items": "accessreviewitem",
}
"""Where the name of a collection is not its table's with an s."""


def api_lines() -> list[tuple[str, str, str, bool]]:
    """Method, address, right, whether one's own is shown without the right."""
    lines = (line.split(maxsplit=2) for line in API.strip().splitlines())
    return [
        (method, address.strip("/"), rest.removesuffix("or her own").strip(), rest.endswith("or her own"))
        for method, address, rest in lines
    ]


def api_addresses() -> Iterator[tuple[str, str]]:
    """As the resolver knows them, in the matrix's words."""
    for name, pattern in patterns("api/v1/"):
        if name not in API_ELSEWHERE:
            path = str(pattern.whole_path).removeprefix("api/v1/")  # type: ignore[attr-defined]
            yield from ((method.upper(), _in_words(path)) for method in pattern.callback.actions if method != "head")  # type: ignore[attr-defined]


def _in_words(path: str) -> str:
    """`agents/<uuid:agent_id>/credentials/<uuid:pk>` as `agents/{agent}/credentials/{agentcredential}`."""
    parts = path.split("/")
    words = [f"{{{_table(parts[:at])}}}" if part.startswith("<") else part for at, part in enumerate(parts)]
    return "/".join(words)


def _table(before: list[str]) -> str:
    collection = before[-1]
    if collection == "versions":
        return f"{_table(before[:1])}version"
    return COLLECTIONS.get(collection, collection.removesuffix("s"))


def test_every_address_of_the_api_is_in_the_matrix() -> None:
    known, found = {(method, address) for method, address, *_ in api_lines()}, set(api_addresses())
    assert not found - known, f"Add to API in the matrix, with the right it asks for: {sorted(found - known)}"
    assert not known - found, f"Take out of API in the matrix: {sorted(known - found)}"


@pytest.fixture
def headers(people: dict[str, Any]) -> dict[str, dict[str, str]]:
    """By role: a token that may whatever its person may."""
    now, found = datetime.now(UTC), {}
    for role, person in people.items():
        was_active = person is not None and person.is_active
        if person is not None:
            person.is_active = True
            issued = issue_token(person, name="all", scopes=SCOPES, by="test", record=[].append, now=now)
            person.is_active = was_active
        found[role] = {"authorization": f"Bearer {issued.token}"} if person is not None else {}
    return found


@pytest.fixture
def proven(rows: dict[str, Any]) -> None:
    """The offboarding has a receipt to be read."""
    with governed_change(by="test"):
        Offboarding.objects.filter(pk=rows["offboarding"].pk).update(receipt="{}")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.usefixtures("proven")
def test_api(role: str, rows: dict[str, Any], headers: dict[str, dict[str, str]]) -> None:
    published = {"bundle": rows["bundleversion"].bundle, "policy": rows["policyversion"].policy}
    ids = {table: row.pk for table, row in (rows | published).items()} | {"approval": rows["approvalrequest"].key}
    wrong = []
    for method, address, right, shows_own in api_lines():
        answer = ask_api(headers[role], method, f"/api/v1/{address.format(**ids)}")
        told = answer.status_code
        if role in who(right):
            is_right = told == 200 if method == "GET" else told not in (401, 403, 404)
        elif shows_own and told == 200 and role in SPECIAL["signed in"]:
            is_right = all(row["email"] == f"{role}@example.com" for row in _items(answer))
        else:
            is_right = told in (401, 403, 404)
        if not is_right or told >= 500:
            wrong.append(f"{method} {address}: {told} {answer.content[:120]!r}")
    assert not wrong, f"for {role}:\n" + "\n".join(wrong)


def ask_api(headers: dict[str, str], method: str, address: str) -> Any:
    """Without what the API remembers of failed attempts."""
    cache.clear()
    with transaction.atomic():
        more = {} if method == "GET" else {"data": "{}", "content_type": "application/json"}
        answer = Client(raise_request_exception=False).generic(method, address, headers=headers, **more)
        if answer.streaming:
            answer.getvalue()
        transaction.set_rollback(True)
    return answer


def _items(answer: Any) -> list[Any]:
    """Of a person without any agents, keys and tokens but the one that asks, only she herself is to be seen."""
    return [item for item in answer.json()["results"] if "email" in item]
