"""The admin through its URLs: who may what, whose name stands beside a change, what a page shows and loads."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.models import Sighting
from gateway.console import base
from governance.models import ApprovalRequest, Change, DirectoryToken, Secret, Team, User
from tests.gateway.admin_pages import PERSON, act, no_inlines, page, post
from tests.gateway.rows import a_waiting_definition, one_of_each, record_one
from tests.gateway.signing_in import sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.database]

MODELS = sorted((model._meta.app_label, model._meta.model_name) for model in admin.site._registry)
READ_ONLY = (
    "governance_agentcredential",
    "governance_tooldefinition",
    "governance_bundleversion",
    "governance_policyversion",
    "governance_secretversion",
    "governance_change",
    "audit_eventrow",
    "audit_leaf",
    "audit_agentsession",
    "audit_checkpoint",
    "audit_findinggroup",
    "audit_anchorreceipt",
    "gateway_gatewayprocess",
    "gateway_notice",
    "governance_directoryuser",
    "governance_directorymessage",
    "governance_grant",
    "governance_erasure",
)
HAS_PAGES_OF_ITS_OWN = {ApprovalRequest, DirectoryToken, Sighting}


# Who may what


@pytest.mark.parametrize(
    ("duty", "may_view", "may_add"),
    [
        (
            "it-admin",
            "user team agent agentcredential connector secret secretversion tool tooldefinition role freeze bundle"
            " bundleversion organization gatewayprocess personaltoken ratelimit grant reaction oncallshift"
            " notificationchannel chatidentity notice trustedissuer directory directoryuser directorymessage"
            " groupmapping rotationtask oauthclient authorization staffidentity upstreamgrant sink deadletter anchor"
            " dataclass externaldetector agentbaseline",
            "user team agent connector secret role freeze ratelimit oncallshift notificationchannel chatidentity"
            " directory groupmapping",
        ),
        (
            "security",
            "policy policyversion bundle bundleversion tool tooldefinition role freeze team organization connector"
            " agent user ratelimit grant reaction oncallshift notificationchannel chatidentity notice trustedissuer"
            " rotationtask oauthclient authorization staffidentity upstreamgrant sink deadletter anchor retentionclass"
            " legalhold erasure findinggroup patternexception dataclass externaldetector agentbaseline"
            " canary",
            "policy bundle role freeze ratelimit reaction oncallshift notificationchannel chatidentity trustedissuer"
            " sink anchor legalhold patternexception dataclass externaldetector canary",
        ),
        ("approver", "agent", ""),
        (
            "auditor",
            "user team agent agentcredential connector tool tooldefinition bundle bundleversion policy policyversion"
            " role freeze organization change eventrow agentsession leaf checkpoint gatewayprocess personaltoken"
            " ratelimit grant reaction oncallshift notificationchannel chatidentity notice trustedissuer directory"
            " directoryuser directorymessage groupmapping rotationtask oauthclient authorization staffidentity"
            " upstreamgrant sink deadletter anchor anchorreceipt retentionclass legalhold erasure findinggroup"
            " patternexception dataclass externaldetector agentbaseline"
            " canary",
            "",
        ),
    ],
)
def test_each_duty_opens_its_screens_and_no_other(duty: str, may_view: str, may_add: str) -> None:
    client = sign_in(duty)
    lists = {model for app, model in MODELS if page(client, f"{app}_{model}_changelist").status_code == 200}
    forms = {model for app, model in MODELS if page(client, f"{app}_{model}_add").status_code == 200}
    assert lists == set(may_view.split())
    assert forms == set(may_add.split())


def test_without_a_duty_nothing_opens() -> None:
    client = sign_in()
    assert {page(client, f"{app}_{model}_changelist").status_code for app, model in MODELS} == {403}


def test_a_box_that_searches_another_table_is_for_those_who_may_view_it() -> None:
    """Both may look at connectors, but of secrets not even the names are for an auditor."""
    Secret.objects.create(name="crm-token")
    search = {"app_label": "governance", "model_name": "connector", "field_name": "secret"}
    found = sign_in("it-admin").get(reverse("admin:autocomplete"), search)
    refused = sign_in("auditor", email="au@example.com").get(reverse("admin:autocomplete"), search)
    assert [row["text"] for row in found.json()["results"]] == ["crm-token"]
    assert (refused.status_code, b"crm-token" in refused.content) == (403, False)


def test_somebody_deactivated_is_out_at_the_next_request(owner: Client) -> None:
    assert page(owner, "index").status_code == 200
    User.objects.filter(email="owner@example.com").update(is_active=False)
    assert page(owner, "index").status_code == 302


def test_somebody_deactivated_has_no_permission_left() -> None:
    person = User(email="noor@example.com", duties=["it-admin", "no-such-duty"])
    assert person.has_perm("governance.add_agent")
    person.is_active = False
    assert (person.get_all_permissions(), person.has_module_perms("governance")) == (set(), False)


def test_an_owner_sees_every_list_and_every_row(owner: Client) -> None:
    rows = one_of_each()
    assert {row._meta.model for row in rows} == {*admin.site._registry, *HAS_PAGES_OF_ITS_OWN}
    for row in rows:
        if row._meta.model in HAS_PAGES_OF_ITS_OWN:
            continue
        screen = row._meta.label_lower.replace(".", "_")
        assert page(owner, f"{screen}_changelist").status_code == 200
        assert page(owner, f"{screen}_change", row.pk).status_code == 200


def test_an_it_admin_cannot_raise_rights() -> None:
    client = sign_in("it-admin")
    mallory = User.objects.create_user("mallory@example.com")
    answer = post(
        client,
        "governance_user_change",
        mallory.pk,
        **PERSON,
        is_staff="on",
        is_superuser="on",
        duties=["security", "auditor"],
    )
    mallory.refresh_from_db()
    assert answer.status_code == 302
    assert (mallory.name, mallory.is_staff, mallory.is_superuser, mallory.duties) == ("Mallory", False, False, [])


def test_an_it_admin_cannot_touch_an_owner() -> None:
    client = sign_in("it-admin")
    boss = User.objects.create_superuser("boss@example.com")
    answer = post(client, "governance_user_change", boss.pk, email="mallory@example.com")
    boss.refresh_from_db()
    assert (answer.status_code, boss.email, boss.is_active) == (403, "boss@example.com", True)


def test_the_last_owner_stays(owner: Client) -> None:
    me = User.objects.get(email="owner@example.com")
    answer = post(owner, "governance_user_change", me.pk, email=me.email, is_active="on", is_staff="on")
    me.refresh_from_db()
    assert b"last active owner" in answer.content
    assert me.is_superuser


def test_an_owner_gives_duties(owner: Client) -> None:
    answer = post(owner, "governance_user_add", **PERSON, is_staff="on", duties=["security", "auditor"])
    mallory = User.objects.get(email="mallory@example.com")
    assert answer.status_code == 302
    assert (mallory.duties, mallory.has_usable_password()) == (["security", "auditor"], False)


def test_whoever_has_a_duty_may_enter_the_admin(owner: Client) -> None:
    post(owner, "governance_user_add", **PERSON, duties=["security"])
    assert User.objects.get(email="mallory@example.com").is_staff


def test_a_person_without_a_duty_may_not_enter_the_admin(owner: Client) -> None:
    post(owner, "governance_user_add", **PERSON)
    assert not User.objects.get(email="mallory@example.com").is_staff


def test_it_decides_who_is_in_a_team_and_security_which_rules_bind_it() -> None:
    it, security = sign_in("it-admin"), sign_in("security", email="sam@example.com")
    assert post(it, "governance_team_add", name="support").status_code == 302
    team = Team.objects.get()
    post(security, "governance_team_change", team.pk, name="renamed", title="renamed")
    team.refresh_from_db()
    assert (team.name, team.title) == ("support", "")


# What is written


def test_a_change_carries_the_name_of_the_person() -> None:
    client, ana = sign_in("it-admin"), User.objects.create_user("ana@example.com")
    fields = {"name": "night-bot", "owner": ana.pk, "status": "live", **no_inlines("credentials")}
    assert post(client, "governance_agent_add", **fields).status_code == 302
    change = Change.objects.filter(relation="governance_agent").latest("id")
    assert (change.actor, change.operation) == ("person:noor@example.com", "insert")


def test_looking_writes_nothing(owner: Client) -> None:
    definition = a_waiting_definition()
    pages = [f"{app}_{model}_changelist" for app, model in MODELS]
    page(owner, "index")  # the first page of a few minutes notes when the session was last seen
    with CaptureQueriesContext(connection) as queries:
        for name in pages:
            page(owner, name)
        page(owner, "governance_tooldefinition_change", definition.pk)
    written = [sql["sql"] for sql in queries if not sql["sql"].startswith("SELECT")]
    assert written == []


def test_a_busy_fence_says_that_nothing_was_saved(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*, by: str) -> Any:
        raise OperationalError("lock timeout")

    monkeypatch.setattr(base, "governed_change", busy)
    answer = post(owner, "governance_team_add", name="support")
    assert answer.status_code == 503
    assert b"nothing of it was saved" in answer.content


def test_read_only_lists_have_no_door_to_change_anything(owner: Client) -> None:
    rows = {row._meta.label_lower.replace(".", "_"): row for row in one_of_each()}
    for name in READ_ONLY:
        refused = [
            post(owner, f"{name}_add"),
            post(owner, f"{name}_change", rows[name].pk),
            post(owner, f"{name}_delete", rows[name].pk, post="yes"),
        ]
        assert {answer.status_code for answer in refused} == {403}
        act(owner, name, "delete_selected", rows[name])
        assert type(rows[name]).objects.filter(pk=rows[name].pk).exists()


# Hostile text and what a page may load


def test_hostile_text_is_escaped_and_made_visible(owner: Client) -> None:
    pages = [
        page(owner, "governance_tooldefinition_change", a_waiting_definition().pk),
        page(owner, "audit_eventrow_change", record_one().pk),
        page(owner, "audit_eventrow_changelist"),
    ]
    for answer in pages:
        text = answer.content.decode()
        assert "⟦U+202E⟧" in text
        assert not any(bad in text for bad in ("\u202e", "\u200b", "<script>alert"))


def test_pages_load_only_our_own_files(owner: Client) -> None:
    admin_policy, plain_policy = (
        page(owner, "index")["Content-Security-Policy"],
        owner.get("/me/")["Content-Security-Policy"],
    )
    assert "script-src 'self' 'unsafe-eval';" in admin_policy
    assert "unsafe" not in plain_policy
    assert all("frame-ancestors 'none'" in policy for policy in (admin_policy, plain_policy))
    assert not re.search(rb'(src|href)="(https?:)?//', page(owner, "index").content)
