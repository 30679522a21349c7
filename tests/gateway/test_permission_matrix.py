"""Which role may what, and which right every screen, every bulk action and every command asks for.

RIGHTS below is the table to read and to change first; everything else only says which right a screen asks for.
A new screen, action or command that is missing here fails, and so does one that opens to somebody else:
test_permission_matrix_walk.py tries them all. Addresses of the API have a table of their own, in
test_permission_matrix_api.py.
"""

import pytest
from django.apps import apps
from django.contrib import admin
from django.urls import URLPattern

from governance.duties import FRESH_LOGIN, PERMISSIONS
from governance.models.base import Governed
from tests.gateway.everybody import DUTIES, SPECIAL, patterns

pytestmark = pytest.mark.django_db

RIGHTS = """
                                            it-admin  security  approver  auditor
audit.view_agentsession                         .         .         .         x
audit.view_anchorreceipt                        .         .         .         x
audit.view_calltally                            x         x         .         x
audit.view_checkpoint                           .         .         .         x
audit.view_eventrow                             .         .         .         x
audit.view_deadletter                           x         x         .         x
audit.view_findinggroup                         .         x         .         x
audit.judge_findinggroup                        .         x         .         .
audit.view_leaf                                 .         .         .         x
audit.view_payload                              .         .         .         x
gateway.view_gatewayprocess                     x         .         .         x
gateway.view_notice                             x         x         .         x
gateway.show_maskedvalue                        .         x         .         .
gateway.view_report                             .         .         .         x
gateway.add_report                              .         .         .         x
governance.view_accessreview                    x         x         .         x
governance.add_accessreview                     x         x         .         .
governance.change_accessreview                  x         x         .         .
governance.view_agent                           x         x         x         x
governance.add_agent                            x         .         .         .
governance.change_agent                         x         .         .         .
governance.explain_agent                        x         x         .         x
governance.retire_agent                         x         .         .         .
governance.transfer_agent                       x         .         .         .
governance.view_agentcredential                 x         .         .         x
governance.add_agentcredential                  x         .         .         .
governance.change_agentcredential               x         .         .         .
governance.issue_agentcredential                x         .         .         .
governance.revoke_agentcredential               x         .         .         .
governance.view_anchor                          x         x         .         x
governance.add_anchor                           .         x         .         .
governance.change_anchor                        .         x         .         .
governance.delete_anchor                        .         x         .         .
governance.keep_anchor                          .         x         .         .
governance.view_approvalrequest                 .         x         x         x
governance.decide_approvalrequest               .         .         x         .
governance.ask_approvalrequest                  .         .         .         .
governance.view_bundle                          x         x         .         x
governance.add_bundle                           .         x         .         .
governance.change_bundle                        .         x         .         .
governance.delete_bundle                        .         x         .         .
governance.publish_bundle                       .         x         .         .
governance.review_bundle                        .         x         .         .
governance.view_bundleselection                 x         x         .         x
governance.view_bundletool                      x         x         .         x
governance.view_bundleversion                   x         x         .         x
governance.view_change                          .         .         .         x
governance.view_connector                       x         x         .         x
governance.add_connector                        x         .         .         .
governance.change_connector                     x         .         .         .
governance.delete_connector                     x         .         .         .
governance.discover_connector                   x         .         .         .
governance.export_eventrow                      .         .         .         x
governance.view_detectionoff                    .         x         .         x
governance.change_detectionoff                  .         x         .         .
governance.view_directory                       x         .         .         x
governance.add_directory                        x         .         .         .
governance.change_directory                     x         .         .         .
governance.connect_directory                    x         .         .         .
governance.release_directory                    x         .         .         .
governance.view_directoryuser                   x         .         .         x
governance.adopt_directoryuser                  x         .         .         .
governance.view_directorymessage                x         .         .         x
governance.view_groupmapping                    x         .         .         x
governance.add_groupmapping                     x         .         .         .
governance.change_groupmapping                  x         .         .         .
governance.delete_groupmapping                  x         .         .         .
governance.approve_groupmapping                 x         .         .         .
governance.view_freeze                          x         x         .         x
governance.add_freeze                           x         x         .         .
governance.change_freeze                        x         x         .         .
governance.view_notificationchannel             x         x         .         x
governance.add_notificationchannel              x         x         .         .
governance.change_notificationchannel           x         x         .         .
governance.delete_notificationchannel           x         x         .         .
governance.view_chatidentity                    x         x         .         x
governance.add_chatidentity                     x         x         .         .
governance.change_chatidentity                  x         x         .         .
governance.delete_chatidentity                  x         x         .         .
governance.view_grant                           x         x         .         x
governance.revoke_grant                         x         x         .         .
governance.review_grant                         .         x         .         .
governance.break_glass_grant                    x         x         .         .
governance.view_offboarding                     x         .         .         x
governance.add_offboarding                      x         .         .         .
governance.change_offboarding                   x         .         .         .
governance.view_oncallshift                     x         x         .         x
governance.add_oncallshift                      x         x         .         .
governance.change_oncallshift                   x         x         .         .
governance.delete_oncallshift                   x         x         .         .
governance.view_organization                    x         x         .         x
governance.change_organization                  .         x         .         .
governance.view_personaltoken                   x         .         .         x
governance.change_personaltoken                 x         .         .         .
governance.view_sink                            x         x         .         x
governance.add_sink                             .         x         .         .
governance.change_sink                          .         x         .         .
governance.delete_sink                          .         x         .         .
governance.view_staffidentity                   x         x         .         x
governance.end_staffidentity                    x         x         .         .
governance.allow_staffidentity                  x         .         .         .
governance.view_policy                          .         x         .         x
governance.add_policy                           .         x         .         .
governance.change_policy                        .         x         .         .
governance.delete_policy                        .         x         .         .
governance.publish_policy                       .         x         .         .
governance.review_policy                        .         x         .         .
governance.inspect_policy                       .         x         .         .
governance.view_policyversion                   .         x         .         x
governance.view_patternexception                .         x         .         x
governance.add_patternexception                 .         x         .         .
governance.change_patternexception              .         x         .         .
governance.approve_patternexception             .         x         .         .
governance.view_ratelimit                       x         x         .         x
governance.add_ratelimit                        x         x         .         .
governance.change_ratelimit                     x         x         .         .
governance.delete_ratelimit                     x         x         .         .
governance.view_dataclass                       x         x         .         x
governance.add_dataclass                        .         x         .         .
governance.change_dataclass                     .         x         .         .
governance.delete_dataclass                     .         x         .         .
governance.view_externaldetector                x         x         .         x
governance.add_externaldetector                 .         x         .         .
governance.change_externaldetector              .         x         .         .
governance.delete_externaldetector              .         x         .         .
governance.view_agentbaseline                   x         x         .         x
governance.delete_agentbaseline                 x         x         .         .
governance.view_canary                          .         x         .         x
governance.add_canary                           .         x         .         .
governance.delete_canary                        .         x         .         .
governance.show_canary                          .         x         .         .
governance.view_reaction                        x         x         .         x
governance.add_reaction                         .         x         .         .
governance.change_reaction                      .         x         .         .
governance.delete_reaction                      .         x         .         .
governance.view_role                            x         x         .         x
governance.add_role                             x         x         .         .
governance.change_role                          x         x         .         .
governance.delete_role                          x         x         .         .
governance.view_rule                            .         x         .         x
governance.view_rotationtask                    x         x         .         x
governance.change_rotationtask                  x         x         .         .
governance.cut_rotationtask                     x         x         .         .
governance.view_secret                          x         .         .         .
governance.add_secret                           x         .         .         .
governance.change_secret                        x         .         .         .
governance.delete_secret                        x         .         .         .
governance.replace_secret                       x         .         .         .
governance.rewrap_secret                        x         .         .         .
governance.view_secretversion                   x         .         .         .
governance.view_team                            x         x         .         x
governance.add_team                             x         .         .         .
governance.change_team                          x         x         .         .
governance.delete_team                          x         .         .         .
governance.view_tool                            x         x         .         x
governance.change_tool                          x         x         .         .
governance.view_tooldefinition                  x         x         .         x
governance.change_tooldefinition                .         x         .         .
governance.decide_tooldefinition                .         x         .         .
governance.view_oauthclient                     x         x         .         x
governance.add_oauthclient                      x         x         .         .
governance.approve_oauthclient                  x         x         .         .
governance.disable_oauthclient                  x         x         .         .
governance.view_authorization                   x         x         .         x
governance.revoke_authorization                 x         x         .         .
governance.view_upstreamgrant                   x         x         .         x
governance.revoke_upstreamgrant                 x         x         .         .
governance.view_trustedissuer                   x         x         .         x
governance.add_trustedissuer                    .         x         .         .
governance.change_trustedissuer                 .         x         .         .
governance.delete_trustedissuer                 .         x         .         .
governance.view_user                            x         x         .         x
governance.add_user                             x         .         .         .
governance.change_user                          x         .         .         .
governance.invite_user                          x         .         .         .
governance.offboard_user                        x         .         .         .
governance.view_erasure                         .         x         .         x
governance.erase_user                           .         .         .         .
governance.view_legalhold                       .         x         .         x
governance.add_legalhold                        .         x         .         .
governance.change_legalhold                     .         x         .         .
governance.view_retentionclass                  .         x         .         x
governance.add_retentionclass                   .         .         .         .
governance.change_retentionclass                .         .         .         .
governance.delete_retentionclass                .         .         .         .
governance.apply_manifest                       .         .         .         .
governance.make_backup                          .         .         .         .
governance.replace_signingkey                   .         .         .         .
governance.make_owner                           .         .         .         .
"""
"""Owners may everything, a person without duties nothing of this, and somebody inactive or unknown even less."""

ASKS_AGAIN = {
    "audit.view_payload",
    "gateway.show_maskedvalue",
    "governance.adopt_directoryuser",
    "governance.allow_staffidentity",
    "governance.approve_groupmapping",
    "governance.connect_directory",
    "governance.release_directory",
    "governance.break_glass_grant",
    "governance.add_patternexception",
    "governance.change_detectionoff",
    "governance.approve_patternexception",
    "governance.add_externaldetector",
    "governance.change_externaldetector",
    "governance.add_sink",
    "governance.change_sink",
    "governance.add_trustedissuer",
    "governance.apply_manifest",
    "governance.add_retentionclass",
    "governance.change_legalhold",
    "governance.change_retentionclass",
    "governance.change_dataclass",
    "governance.change_organization",
    "governance.show_canary",
    "governance.erase_user",
    "governance.change_trustedissuer",
    "governance.invite_user",
    "governance.issue_agentcredential",
    "governance.make_owner",
    "governance.offboard_user",
    "governance.publish_bundle",
    "governance.publish_policy",
    "governance.review_bundle",
    "governance.review_policy",
    "governance.replace_secret",
    "governance.retire_agent",
    "governance.cut_rotationtask",
}
"""Rights that take a sign-in of the last quarter of an hour."""


def holders() -> dict[str, set[str]]:
    """Right -> the roles that have it."""
    head, *lines = (line.split() for line in RIGHTS.strip().splitlines())
    return {
        right: {"owner"} | {duty for duty, mark in zip(head, marks, strict=True) if mark == "x"}
        for right, *marks in lines
    }


HOLDERS = holders()


def who(right: str) -> set[str]:
    return SPECIAL[right] if right in SPECIAL else HOLDERS[right]


# Screens

SCREENS = {
    "admin:index": "staff",
    "admin:search": "staff",
    "admin:app_list": "staff",
    "admin:jsi18n": "staff",
    "admin:logout": "everybody",
    "admin:password_change": "staff",
    "admin:password_change_done": "staff",
    "account_login": "everybody",
    "account_logout": "signed in",
    "account_inactive": "everybody",
    "account_reset_password": "everybody",
    "account_reset_password_done": "everybody",
    "account_reset_password_from_key": "everybody",
    "account_reset_password_from_key_done": "everybody",
    "account_reauthenticate": "signed in",
    "account_link_too_old": "signed in",
    "account_change_password": "signed in",
    "account_set_password": "signed in",
    "mfa_index": "signed in",
    "mfa_activate_totp": "signed in",
    "mfa_deactivate_totp": "signed in",
    "mfa_view_recovery_codes": "signed in",
    "mfa_generate_recovery_codes": "signed in",
    "mfa_list_webauthn": "signed in",
    "mfa_add_webauthn": "signed in",
    "mfa_edit_webauthn": "signed in",
    "mfa_remove_webauthn": "signed in",
    "mfa_reauthenticate": "signed in",
    "mfa_reauthenticate_webauthn": "signed in",
    "usersessions_list": "signed in",
    "end_session": "signed in",
    "me": "signed in",
    "bridge": "signed in",
    "my_agent": "signed in",
    "suspend_my_agent": "signed in",
    "revoke_my_keys": "signed in",
    "end_my_key": "signed in",
    "replace_my_key": "signed in",
    "connect_client": "signed in",
    "my_apps": "signed in",
    "my_sessions": "signed in",
    "end_my_session": "signed in",
    "end_my_app": "signed in",
    "my_accounts": "signed in",
    "my_account": "signed in",
    "connect_my_account": "signed in",
    "disconnect_my_account": "signed in",
    "my_access": "signed in",
    "end_my_grant": "signed in",
    "renew_my_grant": "signed in",
    "withdraw_my_request": "signed in",
    "approvals": "signed in",
    "approvals_live": "signed in",
    "approvals_history": "signed in",
    "approvals_bulk": "signed in",
    "approval": "signed in",
    "approval_live": "signed in",
    "break_glass": "governance.break_glass_grant",
    "emergency_rotation": "governance.cut_rotationtask",
    "erase_person": "governance.erase_user",
    "lift_hold": "governance.change_legalhold",
    "show_canary": "governance.show_canary",
    "try_detector": "governance.change_externaldetector",
    "break_glass_account": "governance.review_grant",
    "end_break_glass": "governance.break_glass_grant",
    "review_grant": "governance.review_grant",
    "personal_tokens": "signed in",
    "revoke_personal_token": "signed in",
    "make_one_time_login": "governance.invite_user",
    "agent_overview": "governance.view_agent",
    "agent_reach": "governance.explain_agent",
    "agent_setup": "governance.view_agent",
    "agent_issue_key": "governance.issue_agentcredential",
    "agent_register_key": "governance.issue_agentcredential",
    "agent_workload": "governance.issue_agentcredential",
    "oauth_client_new": "governance.add_oauthclient",
    "agent_revoke_keys": "governance.revoke_agentcredential",
    "agent_suspend": "governance.change_agent",
    "agent_resume": "governance.change_agent",
    "agent_freeze": "governance.add_freeze",
    "agent_unfreeze": "governance.change_freeze",
    "agent_transfer": "governance.transfer_agent",
    "agent_retire": "governance.retire_agent",
    "explain": "governance.explain_agent",
    "matrix_agents": "governance.explain_agent",
    "matrix_people": "governance.explain_agent",
    "tool_callers": "governance.explain_agent",
    "connectors": "governance.view_connector",
    "connector_new": "governance.add_connector",
    "connector_overview": "governance.view_connector",
    "connector_accounts": "governance.change_connector",
    "connector_offers": "governance.discover_connector",
    "matching_offers": "governance.view_connector",
    "connector_resume": "governance.view_connector",
    "connector_address": "governance.change_connector",
    "connector_test": "governance.discover_connector",
    "connector_try": "governance.discover_connector",
    "connector_classify": "governance.view_connector",
    "connector_publish": "governance.view_connector",
    "connector_done": "governance.view_connector",
    "review_queue": "governance.view_tooldefinition",
    "bundle_version_review": "governance.view_bundleversion",
    "bundle_version_rules": "governance.view_bundleversion",
    "bundle_version_try": "governance.view_bundleversion",
    "policy_version_review": "governance.view_policyversion",
    "policy_version_rules": "governance.view_policyversion",
    "policy_version_try": "governance.view_policyversion",
    "ready_policies": "governance.view_policy",
    "review_definition": "governance.view_tooldefinition",
    "secret_replace": "governance.replace_secret",
    "search": "staff",
    "admin:governance_bundle_matching": "governance.view_tool",
    "admin:governance_policy_matching": "governance.view_tool",
    "finding": "audit.view_findinggroup",
    "finding_rates": "audit.view_findinggroup",
    "test_bench": "governance.inspect_policy",
    "what_if": "audit.view_payload",
    "detection_rules": "governance.view_detectionoff",
    "call_page": "audit.view_eventrow",
    "call_proof": "audit.view_leaf",
    "checkpoint_note": "audit.view_checkpoint",
    "checkpoint_consistency": "audit.view_checkpoint",
    "anchor_stamp": "audit.view_anchorreceipt",
    "open_payloads": "audit.view_payload",
    "show_masks": "gateway.show_maskedvalue",
    "session_page": "audit.view_eventrow",
    "open_session": "audit.view_payload",
    "session_bundle": "governance.export_eventrow",
    "runs": "signed in",
    "save_search": "signed in",
    "drop_search": "signed in",
    "run_page": "audit.view_eventrow",
    "open_run": "audit.view_payload",
    "directory": "governance.view_directory",
    "directory_token": "governance.connect_directory",
    "revoke_directory_token": "governance.connect_directory",
    "directory_losses": "governance.release_directory",
    "adopt_directory_user": "governance.adopt_directoryuser",
    "approve_group_mapping": "governance.approve_groupmapping",
    "offboardings": "governance.view_offboarding",
    "offboard_person": "governance.offboard_user",
    "offboarding": "governance.view_offboarding",
    "check_offboarding": "governance.view_offboarding",
    "cancel_offboarding": "governance.offboard_user",
    "offboarding_json": "governance.view_offboarding",
    "offboarding_pdf": "governance.view_offboarding",
    "offboarding_signature": "governance.view_offboarding",
    "undo_offboarding": "governance.offboard_user",
    "settle_step": "governance.offboard_user",
    "zombies": "governance.view_offboarding",
    "end_zombies": "governance.offboard_user",
    "reports": "gateway.view_report",
    "access_reviews": "governance.view_accessreview",
    "access_review": "governance.view_accessreview",
    "remind_reviewers": "governance.change_accessreview",
    "to_attest": "signed in",
    "attest_item": "signed in",
    "report": "gateway.view_report",
    "report_file": "gateway.view_report",
}

BUTTONS = {
    "bundle_version_try": "governance.change_bundle",
    "policy_version_try": "governance.change_policy",
    "connector_classify": "governance.change_tool",
    "connector_publish": "governance.publish_bundle",
    "connector_done": "governance.issue_agentcredential",
    "review_definition": "governance.decide_tooldefinition",
    "reports": "gateway.add_report",
    "finding": "audit.judge_findinggroup",
    "detection_rules": "governance.change_detectionoff",
    "access_reviews": "governance.add_accessreview",
    "access_review": "governance.change_accessreview",
}
"""Screens whose button asks for more than looking at them."""

BODIES = {"review_definition": {"decision": "pin"}}
ONLY_PREVIEWS = ("_impact", "_impact_of_new")
"""Panels below a form, which ask nothing of who filled it in: to save it asks."""
ASKED_BY_POST = (
    "_export",
    "_impact",
    "_impact_of_new",
    "open_payloads",
    "open_session",
    "open_run",
    "save_search",
    "drop_search",
    "session_bundle",
    "revoke_directory_token",
    "check_offboarding",
    "cancel_offboarding",
    "settle_step",
    "end_zombies",
    "connector_try",
    "connector_offers",
    "end_break_glass",
    "end_my_grant",
    "end_my_app",
    "end_my_session",
    "withdraw_my_request",
    "approvals_bulk",
    "report_file",
    "remind_reviewers",
    "attest_item",
)
"""Ends of the names of addresses that are no pages."""

WAITING = {"connector_try", "connector_offers"}
"""Ask an upstream, so only that they are refused is tried here; the rest: test_connecting.py, test_offers.py."""

OF_A_TABLE = {
    "changelist": "view",
    "export": "view",
    "history": "view",
    "change": "view",
    "add": "add",
    "impact_of_new": "add",
    "impact": "change",
    "delete": "delete",
}
"""What the screens of one table in the admin ask for."""

HERS = {
    "my_account",
    "connect_my_account",
    "disconnect_my_account",
    "my_agent",
    "suspend_my_agent",
    "revoke_my_keys",
    "end_my_key",
    "replace_my_key",
    "end_my_app",
    "end_my_session",
    "drop_search",
    "revoke_personal_token",
    "end_my_grant",
    "renew_my_grant",
    "withdraw_my_request",
    "end_session",
}
"""About what is somebody's own: not there for anybody else, owners included."""

NOT_BY_FORM = {
    "governance_agent": "delete",
    "governance_agentbaseline": "add change",
    "governance_agentcredential": "add change delete",
    "governance_bundleversion": "add change delete",
    "governance_canary": "change",
    "governance_change": "add change delete",
    "governance_directory": "delete",
    "governance_directoryuser": "add change delete",
    "governance_directorymessage": "add change delete",
    "governance_erasure": "add change delete",
    "governance_freeze": "change delete",
    "governance_legalhold": "change delete",
    "governance_patternexception": "change delete",
    "governance_grant": "add change delete",
    "governance_organization": "add delete",
    "governance_authorization": "add change delete",
    "governance_upstreamgrant": "add change delete",
    "governance_oauthclient": "add change delete",
    "governance_personaltoken": "add change delete",
    "governance_staffidentity": "add change delete",
    "governance_policyversion": "add change delete",
    "governance_rotationtask": "add change delete",
    "governance_secretversion": "add change delete",
    "governance_tool": "add delete",
    "governance_tooldefinition": "add change delete",
    "governance_user": "delete",
    "audit_eventrow": "add change delete",
    "audit_deadletter": "add change delete",
    "audit_leaf": "add change delete",
    "audit_agentsession": "add change delete",
    "audit_checkpoint": "add change delete",
    "audit_findinggroup": "add change delete",
    "audit_anchorreceipt": "add change delete",
    "gateway_gatewayprocess": "add change delete",
    "gateway_notice": "add change delete",
}
"""What no form does, not even for an owner: an act with a preview does it, or nothing."""

ELSEWHERE = {
    "admin:login": "leads to account_login, or who is signed in to her own page: test_admin_sign_in.py",
    "admin:?": "the admin's catch-all and its old addresses, which lead to the ones above",
    "admin:view_on_site": "no table has a page of its own outside the admin",
    "admin:autocomplete": "answers by the right to view the table that is searched: test_admin.py",
    "mfa_authenticate": "only between password and second factor: test_accounts.py",
    "mfa_login_webauthn": "a way in: test_passkeys.py",
    "single_sign_on_start": "a way in, once a provider is configured: test_single_sign_on.py",
    "single_sign_on_recheck": "leads to the provider: test_single_sign_on.py",
    "single_sign_on_again": "leads to the provider: test_single_sign_on.py",
    "single_sign_on_callback": "nothing without the state of one's own journey: test_single_sign_on.py",
    "single_sign_on": "one's own accounts, once a provider is configured: test_single_sign_on.py",
    "single_sign_on_connect": "one's own account, once a provider is configured: test_single_sign_on.py",
    "single_sign_on_connect_go": "only from the page before: test_single_sign_on.py",
    "saml_start": "a way in, once a provider is configured: test_saml.py",
    "saml_recheck": "leads to the provider: test_saml.py",
    "saml_again": "leads to the provider: test_saml.py",
    "saml_connect_go": "only from the page before: test_saml.py",
    "saml_callback": "hands an answer on to saml_finish: test_saml.py",
    "saml_finish": "nothing without the state of one's own journey: test_saml.py",
    "saml_metadata": "what the provider's administrator loads, once one is configured: test_saml.py",
}

ACTIONS = {
    "gateway_notice.retry": "governance.change_notificationchannel",
    "governance_agent.suspend": "governance.change_agent",
    "governance_agent.resume": "governance.change_agent",
    "governance_agent.freeze": "governance.add_freeze",
    "governance_agent.transfer": "governance.transfer_agent",
    "governance_agent.revoke_keys": "governance.revoke_agentcredential",
    "governance_agent.retire": "governance.retire_agent",
    "governance_agentcredential.revoke": "governance.revoke_agentcredential",
    "governance_anchor.keep": "governance.keep_anchor",
    "governance_freeze.lift": "governance.change_freeze",
    "governance_grant.revoke": "governance.revoke_grant",
    "governance_patternexception.agree": "governance.approve_patternexception",
    "governance_patternexception.end": "governance.change_patternexception",
    "governance_oauthclient.approve": "governance.approve_oauthclient",
    "governance_oauthclient.disable": "governance.disable_oauthclient",
    "governance_authorization.end": "governance.revoke_authorization",
    "governance_upstreamgrant.end": "governance.revoke_upstreamgrant",
    "governance_personaltoken.revoke": "governance.change_personaltoken",
    "governance_sink.send_sample": "governance.change_sink",
    "governance_sink.resume": "governance.change_sink",
    "governance_sink.retry_dead_letters": "governance.change_sink",
    "governance_sink.give_up_dead_letters": "governance.change_sink",
    "governance_staffidentity.end": "governance.end_staffidentity",
    "governance_staffidentity.allow": "governance.allow_staffidentity",
    "governance_rotationtask.mark_done": "governance.change_rotationtask",
    "governance_rotationtask.drop": "governance.change_rotationtask",
    "governance_tool.quarantine": "governance.change_tool",
    "governance_tool.release": "governance.change_tool",
    "governance_tooldefinition.pin": "governance.decide_tooldefinition",
    "governance_tooldefinition.reject": "governance.decide_tooldefinition",
}

COMMANDS = {
    "apply": ("governance.apply_manifest", ["/nowhere.yaml"]),
    "backup": ("governance.make_backup", ["/nowhere/backup"]),
    "bridge": ("governance.approve_oauthclient", ["--admit"]),
    "create_owner": ("governance.make_owner", ["new@example.com"]),
    "report": ("gateway.add_report", ["soc2", "--from", "2026-01-01", "--out", "/nowhere/evidence"]),
    "erase_person": ("governance.erase_user", ["ana@example.com", "--dry-run"]),
    "export_audit": ("governance.export_eventrow", ["/nowhere/evidence"]),
    "freeze": ("governance.add_freeze", ["--everything"]),
    "issue_key": ("governance.issue_agentcredential", ["triage-bot"]),
    "offboard": ("governance.offboard_user", ["ana@example.com", "--dry-run"]),
    "retire_agent": ("governance.retire_agent", ["triage-bot"]),
    "revoke_key": ("governance.revoke_agentcredential", ["00000000-0000-0000-0000-000000000000"]),
    "rotate": ("governance.rewrap_secret", ["--kek"]),
    "scim_token": ("governance.connect_directory", []),
    "unfreeze": ("governance.change_freeze", ["--everything"]),
    "zombies": ("governance.view_offboarding", []),
}


def right_of(name: str) -> str:
    """What a screen asks for, or nothing when the matrix does not know it."""
    if name in SCREENS:
        return SCREENS[name]
    table, _, screen = name.removeprefix("admin:").rpartition("_")
    if name.endswith("_impact_of_new"):
        table, screen = name.removeprefix("admin:").removesuffix("_impact_of_new"), "impact_of_new"
    if screen not in OF_A_TABLE or table.count("_") != 1:
        return ""
    act = OF_A_TABLE[screen]
    app, model = table.split("_")
    if screen == "history" and not issubclass(apps.get_model(app, model), Governed):
        return "nobody"
    if screen.startswith("impact") and not admin.site._registry[apps.get_model(app, model)].changes_reach:
        return "nobody"
    return "nobody" if act in NOT_BY_FORM.get(table, "").split() and act != "view" else f"{app}.{act}_{model}"


def screens() -> list[tuple[str, URLPattern]]:
    found = [
        each
        for under in ("admin/", "account/", "me/", "approvals/", "reviews/", "sessions/")
        for each in patterns(under)
    ]
    return [(name, pattern) for name, pattern in found if name not in ELSEWHERE]


def known_screens() -> list[tuple[str, URLPattern]]:
    """What is missing fails once, by name, in the first test below."""
    return [(name, pattern) for name, pattern in screens() if right_of(name)]


def test_every_screen_is_in_the_matrix() -> None:
    missing = sorted(name for name, _ in screens() if right_of(name) not in {*HOLDERS, *SPECIAL})
    assert not missing, f"Add these screens to SCREENS in the matrix, with the right they ask for: {missing}"
    gone = SCREENS.keys() - {name for name, _ in screens()}
    assert not gone, f"Take these screens out of the matrix: {sorted(gone)}"


def test_the_table_of_duties_is_the_matrix() -> None:
    table = {duty: {right for right, roles in HOLDERS.items() if duty in roles} for duty in DUTIES}
    assert {duty: set(rights) for duty, rights in PERMISSIONS.items()} == table
    assert set(FRESH_LOGIN) == ASKS_AGAIN
