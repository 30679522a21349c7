"""Every role against every screen, every address of the API, every bulk action and every command.

RIGHTS below is the table to read and to change first; everything else only says which right a screen asks for.
A new screen, action, address or command that is missing here fails, and so does one that opens to somebody else.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver

from gateway.management import commands
from governance.duties import FRESH_LOGIN, PERMISSIONS
from governance.fence.actor import governed_change
from governance.models import Bundle, Offboarding, Policy, User
from governance.models.base import Governed
from governance.personal_tokens import SCOPES, issue_token
from tests.gateway.signing_in import PASSWORD, is_asked_again, let_time_pass
from tests.gateway.test_admin import one_of_each

pytestmark = pytest.mark.django_db

RIGHTS = """
                                            it-admin  security  approver  auditor
audit.view_calltally                            x         x         .         x
audit.view_checkpoint                           .         .         .         x
audit.view_eventrow                             .         .         .         x
audit.view_leaf                                 .         .         .         x
audit.view_payload                              .         .         .         x
gateway.view_gatewayprocess                     x         .         .         x
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
governance.view_bundle                          x         x         .         x
governance.add_bundle                           .         x         .         .
governance.change_bundle                        .         x         .         .
governance.delete_bundle                        .         x         .         .
governance.publish_bundle                       .         x         .         .
governance.view_bundletool                      x         x         .         x
governance.view_bundleversion                   x         x         .         x
governance.view_change                          .         .         .         x
governance.view_connector                       x         x         .         x
governance.add_connector                        x         .         .         .
governance.change_connector                     x         .         .         .
governance.delete_connector                     x         .         .         .
governance.discover_connector                   x         .         .         .
governance.export_eventrow                      .         .         .         x
governance.view_freeze                          x         x         .         x
governance.add_freeze                           x         x         .         .
governance.change_freeze                        x         x         .         .
governance.view_offboarding                     x         .         .         x
governance.add_offboarding                      x         .         .         .
governance.change_offboarding                   x         .         .         .
governance.view_organization                    x         x         .         x
governance.change_organization                  .         x         .         .
governance.view_personaltoken                   x         .         .         x
governance.change_personaltoken                 x         .         .         .
governance.view_policy                          .         x         .         x
governance.add_policy                           .         x         .         .
governance.change_policy                        .         x         .         .
governance.delete_policy                        .         x         .         .
governance.publish_policy                       .         x         .         .
governance.view_policyversion                   .         x         .         x
governance.view_role                            x         x         .         x
governance.add_role                             x         x         .         .
governance.change_role                          x         x         .         .
governance.delete_role                          x         x         .         .
governance.view_rule                            .         x         .         x
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
governance.view_user                            x         x         .         x
governance.add_user                             x         .         .         .
governance.change_user                          x         .         .         .
governance.invite_user                          x         .         .         .
governance.offboard_user                        x         .         .         .
governance.apply_manifest                       .         .         .         .
governance.make_backup                          .         .         .         .
governance.make_owner                           .         .         .         .
"""
"""Owners may everything, a person without duties nothing of this, and somebody inactive or unknown even less."""

ASKS_AGAIN = {
    "audit.view_payload",
    "governance.apply_manifest",
    "governance.invite_user",
    "governance.issue_agentcredential",
    "governance.make_owner",
    "governance.offboard_user",
    "governance.publish_bundle",
    "governance.publish_policy",
    "governance.replace_secret",
    "governance.retire_agent",
}
"""Rights that take a sign-in of the last quarter of an hour."""

DUTIES = ("it-admin", "security", "approver", "auditor")
ROLES = ("owner", *DUTIES, "person", "inactive", "anonymous")
STAFF = {"owner", *DUTIES}
SPECIAL = {
    "everybody": set(ROLES),
    "signed in": {*STAFF, "person"},
    "staff": STAFF,
    "nobody": set(),
}


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
    "my_agent": "signed in",
    "suspend_my_agent": "signed in",
    "revoke_my_keys": "signed in",
    "personal_tokens": "signed in",
    "revoke_personal_token": "signed in",
    "make_one_time_login": "governance.invite_user",
    "agent_overview": "governance.view_agent",
    "agent_reach": "governance.explain_agent",
    "agent_setup": "governance.view_agent",
    "agent_issue_key": "governance.issue_agentcredential",
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
    "connector_resume": "governance.view_connector",
    "connector_address": "governance.change_connector",
    "connector_test": "governance.discover_connector",
    "connector_try": "governance.discover_connector",
    "connector_classify": "governance.view_connector",
    "connector_publish": "governance.view_connector",
    "connector_done": "governance.view_connector",
    "review_queue": "governance.view_tooldefinition",
    "review_definition": "governance.view_tooldefinition",
    "secret_replace": "governance.replace_secret",
    "search": "staff",
    "admin:governance_bundle_matching": "governance.view_tool",
    "admin:governance_policy_matching": "governance.view_tool",
    "call_page": "audit.view_eventrow",
    "call_proof": "audit.view_leaf",
    "open_payloads": "audit.view_payload",
    "offboardings": "governance.view_offboarding",
    "offboard_person": "governance.offboard_user",
    "offboarding": "governance.view_offboarding",
    "check_offboarding": "governance.view_offboarding",
    "cancel_offboarding": "governance.offboard_user",
    "offboarding_json": "governance.view_offboarding",
    "offboarding_pdf": "governance.view_offboarding",
}

BUTTONS = {
    "connector_classify": "governance.change_tool",
    "connector_publish": "governance.publish_bundle",
    "connector_done": "governance.issue_agentcredential",
    "review_definition": "governance.decide_tooldefinition",
}
"""Screens whose button asks for more than looking at them."""

BODIES = {"review_definition": {"decision": "pin"}}
ASKED_BY_POST = (
    "_export",
    "_impact",
    "_impact_of_new",
    "open_payloads",
    "check_offboarding",
    "cancel_offboarding",
    "connector_try",
)
"""Ends of the names of addresses that are no pages."""

WAITING = {"connector_try"}
"""Asks an upstream, so only that it is refused is tried here; the rest is in test_connecting.py."""

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

HERS = {"my_agent", "suspend_my_agent", "revoke_my_keys", "revoke_personal_token", "end_session"}
"""About what is somebody's own: not there for anybody else, owners included."""

NOT_BY_FORM = {
    "governance_agent": "delete",
    "governance_agentcredential": "add change delete",
    "governance_bundleversion": "add change delete",
    "governance_change": "add change delete",
    "governance_freeze": "change delete",
    "governance_organization": "add delete",
    "governance_personaltoken": "add change delete",
    "governance_policyversion": "add change delete",
    "governance_secretversion": "add change delete",
    "governance_tool": "add delete",
    "governance_tooldefinition": "add change delete",
    "governance_user": "delete",
    "audit_eventrow": "add change delete",
    "audit_leaf": "add change delete",
    "audit_checkpoint": "add change delete",
    "gateway_gatewayprocess": "add change delete",
}
"""What no form does, not even for an owner: an act with a preview does it, or nothing."""

ELSEWHERE = {
    "admin:login": "leads to account_login, or who is signed in to her own page: test_admin_sign_in.py",
    "admin:?": "the admin's catch-all and its old addresses, which lead to the ones above",
    "admin:view_on_site": "no table has a page of its own outside the admin",
    "admin:autocomplete": "answers by the right to view the table that is searched: test_admin.py",
    "mfa_authenticate": "only between password and second factor: test_accounts.py",
    "mfa_login_webauthn": "a way in: test_passkeys.py",
}

ACTIONS = {
    "governance_agent.suspend": "governance.change_agent",
    "governance_agent.resume": "governance.change_agent",
    "governance_agent.freeze": "governance.add_freeze",
    "governance_agent.transfer": "governance.transfer_agent",
    "governance_agent.revoke_keys": "governance.revoke_agentcredential",
    "governance_agent.retire": "governance.retire_agent",
    "governance_agentcredential.revoke": "governance.revoke_agentcredential",
    "governance_freeze.lift": "governance.change_freeze",
    "governance_personaltoken.revoke": "governance.change_personaltoken",
    "governance_tool.quarantine": "governance.change_tool",
    "governance_tool.release": "governance.change_tool",
    "governance_tooldefinition.pin": "governance.decide_tooldefinition",
    "governance_tooldefinition.reject": "governance.decide_tooldefinition",
}

COMMANDS = {
    "apply": ("governance.apply_manifest", ["/nowhere.yaml"]),
    "backup": ("governance.make_backup", ["/nowhere/backup"]),
    "create_owner": ("governance.make_owner", ["new@example.com"]),
    "freeze": ("governance.add_freeze", ["--everything"]),
    "issue_key": ("governance.issue_agentcredential", ["triage-bot"]),
    "offboard": ("governance.offboard_user", ["ana@example.com", "--dry-run"]),
    "retire_agent": ("governance.retire_agent", ["triage-bot"]),
    "revoke_key": ("governance.revoke_agentcredential", ["00000000-0000-0000-0000-000000000000"]),
    "rotate": ("governance.rewrap_secret", ["--kek"]),
    "unfreeze": ("governance.change_freeze", ["--everything"]),
}


# The people and the rows that addresses need


@pytest.fixture
def rows() -> dict[str, Any]:
    """By the name of their table; somebody else's, so that nobody meets her own, and nothing hangs on them."""
    with governed_change(by="test"):
        found = {row._meta.model_name: row for row in one_of_each()}
        more = (
            Policy.objects.create(name="unused"),
            Bundle.objects.create(name="unused"),
            Offboarding.objects.create(person=found["user"], due_at=datetime.now(UTC), created_by="test"),
        )
        return found | {row._meta.model_name: row for row in more}


@pytest.fixture
def people(rows: dict[str, Any]) -> dict[str, User | None]:
    def make(role: str) -> User:
        return User.objects.create_user(
            f"{role}@example.com",
            PASSWORD,
            is_staff=role != "person",
            is_superuser=role == "owner",
            is_active=role != "inactive",
            duties=[role] if role in DUTIES else ["it-admin"] if role == "inactive" else [],
        )

    with governed_change(by="test"):
        return {role: None if role == "anonymous" else make(role) for role in ROLES}


def browser(person: User | None) -> Client:
    client = Client(raise_request_exception=False)
    if person is not None:
        client.force_login(person)
    return client


def ask(client: Client, method: str, address: str, **more: Any) -> Any:
    """One request whose effects are undone, also those on the browser's cookies."""
    kept = client.cookies.output(header="", sep=";")
    with transaction.atomic():
        answer = client.generic(method, address, **more)
        if answer.streaming:
            answer.getvalue()
        transaction.set_rollback(True)
    client.cookies = SimpleCookie(kept)
    return answer


def press(client: Client, name: str, address: str) -> Any:
    form = {"content_type": "application/x-www-form-urlencoded", "data": urlencode(BODIES.get(name, {}))}
    return ask(client, "POST", address, **form)


def is_refused(answer: Any) -> bool:
    to = answer["Location"] if answer.status_code == 302 else ""
    return answer.status_code in (401, 403) or to.startswith(("/account/login/", "/admin/login/"))


# Every address that the resolver knows


def patterns(under: str) -> Iterator[tuple[str, URLPattern]]:
    yield from ((name, leaf) for path, name, leaf in _leaves(get_resolver().url_patterns) if path.startswith(under))


def _leaves(entries: list[Any], path: str = "", namespace: str = "") -> Iterator[tuple[str, str, URLPattern]]:
    for entry in entries:
        here = path + str(entry.pattern)
        if isinstance(entry, URLResolver):
            inside = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from _leaves(entry.url_patterns, here, inside)
        else:
            entry.whole_path = here  # type: ignore[attr-defined]
            yield here, f"{namespace}{entry.name or '?'}", entry


def filled(pattern: URLPattern, name: str, rows: dict[str, Any]) -> str:
    """The address with ids in it that exist."""
    address = str(pattern.whole_path).replace("^(?P<app_label>governance|audit|gateway)/$", "governance/")  # type: ignore[attr-defined]
    for parameter, converter in pattern.pattern.converters.items():
        value = _value(parameter, name, rows)
        kind = next(kind for kind in ("uuid", "path", "int", "str", "slug") if f"<{kind}:{parameter}>" in address)
        assert converter is not None
        address = address.replace(f"<{kind}:{parameter}>", str(value))
    return "/" + address


def _value(parameter: str, name: str, rows: dict[str, Any]) -> Any:
    if parameter == "object_id":
        return rows[name.split(":")[1].split("_")[1]].pk
    known = {
        "agent_id": "agent",
        "connector_id": "connector",
        "definition_id": "tooldefinition",
        "person_id": "user",
        "secret_id": "secret",
        "tool_id": "tool",
        "bundle_id": "bundle",
        "policy_id": "policy",
        "call_id": "eventrow",
        "offboarding_id": "offboarding",
        "token_id": "personaltoken",
    }
    if parameter in known:
        return rows[known[parameter]].pk
    made_up = {"pk": 1, "session_id": 1, "uidb36": "abc", "key": "abc-def"}
    if parameter not in made_up:
        pytest.fail(f"The address of {name} has a part <{parameter}>: say in the matrix which row it stands for.")
    return made_up[parameter]


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
    found = [each for under in ("admin/", "account/", "me/") for each in patterns(under)]
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


@pytest.mark.parametrize("role", ROLES)
def test_screens(role: str, rows: dict[str, Any], people: dict[str, Any]) -> None:
    client, wrong = browser(people[role]), []
    for name, pattern in known_screens():
        address, right = filled(pattern, name, rows), right_of(name)
        method = "POST" if name.endswith(ASKED_BY_POST) else "GET"
        if name in WAITING and role in who(right):
            continue
        answer = ask(client, method, address)
        if answer.status_code >= 500 or is_refused(answer) == (role in who(right)):
            wrong.append(f"{name} {method} {address}: {answer.status_code} {answer.headers.get('Location', '')}")
        if role not in who(BUTTONS.get(name, right)) and not is_refused(answer := press(client, name, address)):
            wrong.append(f"{name} POST {address}: {answer.status_code} {answer.headers.get('Location', '')}")
    assert not wrong, f"for {role}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("role", ROLES)
def test_forms_that_one_may_see_are_not_sent_without_the_right(
    role: str, rows: dict[str, Any], people: dict[str, Any]
) -> None:
    client = browser(people[role])
    for name, pattern in known_screens():
        table, _, screen = name.removeprefix("admin:").rpartition("_")
        if not name.startswith("admin:") or screen != "change" or table.count("_") != 1:
            continue
        app, model = table.split("_")
        is_open = "change" not in NOT_BY_FORM.get(table, "").split() and role in who(f"{app}.change_{model}")
        answer = ask(client, "POST", filled(pattern, name, rows))
        assert is_open is not is_refused(answer), f"{name}: {answer.status_code}"


@pytest.mark.parametrize("role", sorted(SPECIAL["signed in"]))
def test_what_is_hers_is_there_for_nobody_else(role: str, rows: dict[str, Any], people: dict[str, Any]) -> None:
    client = browser(people[role])
    hers = [filled(pattern, name, rows) for name, pattern in known_screens() if name in HERS]
    assert len(hers) == len(HERS)
    answers = {ask(client, method, address).status_code for address in hers for method in ("GET", "POST")}
    assert answers <= {404, 405}


def test_dangerous_screens_ask_who_it_is_again(rows: dict[str, Any], people: dict[str, Any]) -> None:
    client = browser(people["owner"])
    let_time_pass(client, 16 * 60)
    for name, pattern in known_screens():
        method = "POST" if name.endswith(ASKED_BY_POST) else "GET"
        if right_of(name) in ASKS_AGAIN:
            assert is_asked_again(ask(client, method, filled(pattern, name, rows))), name


# The API

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
GET    agents                                   governance.view_agent             or her own
POST   agents                                   governance.add_agent
GET    agents/{agent}                           governance.view_agent
PATCH  agents/{agent}                           governance.change_agent
POST   agents/{agent}/resume                    governance.change_agent
POST   agents/{agent}/retire                    governance.retire_agent
POST   agents/{agent}/suspend                   governance.change_agent
POST   agents/{agent}/transfer                  governance.transfer_agent
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
PATCH  roles/{role}                             governance.change_role
DELETE roles/{role}                             governance.delete_role
GET    bundles                                  governance.view_bundle
POST   bundles                                  governance.add_bundle
GET    bundles/{bundle}                         governance.view_bundle
PATCH  bundles/{bundle}                         governance.change_bundle
DELETE bundles/{bundle}                         governance.delete_bundle
POST   bundles/{bundle}/withdraw                governance.publish_bundle
GET    bundles/{bundle}/versions                governance.view_bundleversion
POST   bundles/{bundle}/versions                governance.publish_bundle
GET    bundles/{bundle}/versions/{bundleversion}            governance.view_bundleversion
GET    policies                                 governance.view_policy
POST   policies                                 governance.add_policy
GET    policies/{policy}                        governance.view_policy
PATCH  policies/{policy}                        governance.change_policy
DELETE policies/{policy}                        governance.delete_policy
POST   policies/{policy}/withdraw               governance.publish_policy
GET    policies/{policy}/versions               governance.view_policyversion
POST   policies/{policy}/versions               governance.publish_policy
GET    policies/{policy}/versions/{policyversion}           governance.view_policyversion
GET    connectors                               governance.view_connector
POST   connectors                               governance.add_connector
GET    connectors/{connector}                   governance.view_connector
PATCH  connectors/{connector}                   governance.change_connector
DELETE connectors/{connector}                   governance.delete_connector
POST   connectors/{connector}/discover          governance.discover_connector
GET    tools                                    governance.view_tool
GET    tools/{tool}                             governance.view_tool
PATCH  tools/{tool}                             governance.change_tool
POST   tools/{tool}/quarantine                  governance.change_tool
POST   tools/{tool}/release                     governance.change_tool
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
GET    freezes                                  governance.view_freeze
POST   freezes                                  governance.add_freeze
GET    freezes/{freeze}                         governance.view_freeze
POST   freezes/{freeze}/lift                    governance.change_freeze
GET    offboardings                             governance.view_offboarding
POST   offboardings                             governance.offboard_user
GET    offboardings/{offboarding}               governance.view_offboarding
POST   offboardings/{offboarding}/cancel        governance.offboard_user
GET    events                                   audit.view_eventrow
GET    events/{eventrow}                        audit.view_eventrow
GET    changes                                  governance.view_change
GET    checkpoints                              audit.view_checkpoint
GET    tallies                                  audit.view_calltally
GET    processes                                gateway.view_gatewayprocess
GET    processes/{gatewayprocess}               gateway.view_gatewayprocess
"""
""""Or her own": without the right the list shows what is hers, and what is not hers is not there."""

API_ELSEWHERE = ("api_schema", "api_docs", "api_nowhere")
COLLECTIONS = {
    "people": "user",
    "personal-tokens": "personaltoken",
    "credentials": "agentcredential",
    "policies": "policy",
    "definitions": "tooldefinition",
    "events": "eventrow",
    "processes": "gatewayprocess",
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


@pytest.mark.parametrize("role", ROLES)
def test_api(role: str, rows: dict[str, Any], headers: dict[str, dict[str, str]]) -> None:
    published = {"bundle": rows["bundleversion"].bundle, "policy": rows["policyversion"].policy}
    ids = {table: row.pk for table, row in (rows | published).items()}
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
        transaction.set_rollback(True)
    return answer


def _items(answer: Any) -> list[Any]:
    """Of a person without any agents, keys and tokens but the one that asks, only she herself is to be seen."""
    return [item for item in answer.json()["results"] if "email" in item]


# Bulk actions


@pytest.mark.parametrize("role", ROLES)
def test_actions(role: str, people: dict[str, Any]) -> None:
    if people[role] is None or not people[role].is_active:
        return
    request = RequestFactory().get("/admin/")
    request.user = people[role]
    offered = {
        f"{model._meta.app_label}_{model._meta.model_name}.{action}"
        for model, screen in admin.site._registry.items()
        for action in screen.get_actions(request)
    }
    unknown = sorted(action for action in offered if action not in ACTIONS and not action.endswith(".delete_selected"))
    assert not unknown, f"Add these actions to ACTIONS in the matrix: {unknown}"
    wanted = {action for action, right in ACTIONS.items() if role in who(right)}
    assert {action for action in offered if not action.endswith(".delete_selected")} == wanted


# Commands


def with_actor() -> set[str]:
    names = [module.name for module in iter_modules(commands.__path__)]
    made = {name: import_module(f"{commands.__name__}.{name}").Command() for name in names}
    return {name for name, command in made.items() if _takes_actor(name, command)}


def _takes_actor(name: str, command: BaseCommand) -> bool:
    return "--actor" in command.create_parser("manage.py", name)._option_string_actions


def test_every_command_with_an_actor_is_in_the_matrix() -> None:
    assert with_actor() == COMMANDS.keys(), "Add the command to COMMANDS in the matrix."


@pytest.mark.parametrize("role", [role for role in ROLES if role != "anonymous"])
def test_commands(role: str, people: dict[str, Any], rows: dict[str, Any]) -> None:
    for name, (right, words) in COMMANDS.items():
        code = _exit_code(name, *words, "--actor", people[role].email)
        assert (code == 3) == (role not in who(right) and role != "inactive"), f"{name} for {role}: exit {code}"
        assert role != "inactive" or code == 1


def _exit_code(*words: str) -> int:
    with transaction.atomic():
        try:
            call_command(*words)
        except CommandError as error:
            return int(error.returncode)
        except SystemExit as ended:
            return int(ended.code or 0)
        finally:
            transaction.set_rollback(True)
    return 0
