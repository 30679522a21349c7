"""Directories on screen and on the command line."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from gateway.console.once import new_ticket
from governance.models import Directory, DirectoryLoss, DirectoryUser, GroupMapping, Team, User
from tests.gateway.scim.messages import Provider
from tests.gateway.signing_in import sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def idp() -> Provider:
    return Provider()


@pytest.fixture
def admin() -> Client:
    return sign_in("it-admin")


def path(name: str, *ids: Any) -> str:
    return reverse(name, args=ids)


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_the_command_makes_a_directory_and_a_token_that_works() -> None:
    made = json.loads(run("scim_token", "--name", "entra", "--json"))
    assert made["connection"] == "entra"
    answer = Client().get("/scim/v2/Users", headers={"authorization": f"Bearer {made['token']}"})
    assert answer.status_code == 200
    assert "/scim/v2" in run("scim_token", "--name", "entra")
    for wrong in ("entra", "No Name"):
        with pytest.raises(CommandError):
            run("scim_token", "--name", wrong)


def test_a_token_is_shown_once_and_revoked_by_a_button(admin: Client, idp: Provider) -> None:
    page, ticket = path("directory_token", idp.directory.pk), new_ticket()
    shown = admin.post(page, {"once": ticket}).content.decode()
    token = shown.partition('id="new-token" tabindex="0">')[2].partition("<")[0]
    assert token.startswith("gate_st_")
    again = admin.post(page, {"once": ticket}, follow=True).content.decode()
    assert token not in again
    assert idp.directory.tokens.count() == 2
    overview = admin.get(path("directory", idp.directory.pk)).content.decode()
    assert token not in overview
    assert "http://127.0.0.1:8000/scim/v2" in overview or "/scim/v2" in overview
    admin.post(path("revoke_directory_token", idp.token.pk))
    assert idp.gets("/Users").status == 401


def test_what_waits_is_shown_and_released_or_kept(admin: Client, idp: Provider) -> None:
    Directory.objects.update(brake_number=0, brake_share=0)
    for name in ("a@corp.test", "b@corp.test"):
        user = idp.adds(name)
        idp.patches(f"/Users/{user}", {"op": "replace", "value": {"active": False}})
    page = path("directory_losses", idp.directory.pk)
    shown = admin.get(page).content.decode()
    assert "a@corp.test" in shown
    assert "2 users would be offboarded" in shown
    first, second = DirectoryLoss.objects.order_by("id")
    assert admin.post(page, {"act": "release"}).status_code == 400
    admin.post(page, {"act": "release", "loss": [first.pk]})
    admin.post(page, {"act": "drop", "loss": [second.pk]})
    assert set(User.objects.filter(is_active=False).values_list("email", flat=True)) == {"a@corp.test"}
    assert "Nothing waits" in admin.get(page).content.decode()


def test_somebody_who_was_here_is_confirmed_side_by_side(admin: Client, idp: Provider) -> None:
    User.objects.create_user("mia.o@corp.test")
    row = DirectoryUser.objects.get(id=idp.adds())
    waiting = admin.get(f"{path('admin:governance_directoryuser_changelist')}?waits=problem").content.decode()
    assert path("adopt_directory_user", row.pk) in waiting
    assert "mia.o@corp.test" in admin.get(path("adopt_directory_user", row.pk)).content.decode()
    admin.post(path("adopt_directory_user", row.pk))
    row.refresh_from_db()
    assert row.person == User.objects.get(email="mia.o@corp.test")


def test_a_mapping_by_form_takes_effect_at_once_on_who_is_in_the_group(admin: Client, idp: Provider) -> None:
    team = Team.objects.create(name="leads")
    idp.adds_group("gw-leads", idp.adds())
    form = {"directory": idp.directory.pk, "group_name": "gw-leads", "is_enabled": "on"}
    answer = admin.post(path("admin:governance_groupmapping_add"), {**form, "teams": [team.pk]})
    assert answer.status_code == 302
    assert team.members.count() == 1
    mapping = GroupMapping.objects.get()
    answer = admin.post(path("admin:governance_groupmapping_change", mapping.pk), {"is_enabled": "on"})
    assert answer.status_code == 302
    assert team.members.count() == 0


def test_a_mapping_that_raises_rights_waits_for_an_owner(admin: Client, idp: Provider) -> None:
    idp.adds_group("gw-auditors", idp.adds())
    form = {"directory": idp.directory.pk, "group_name": "gw-auditors", "is_enabled": "on", "duties": ["auditor"]}
    admin.post(path("admin:governance_groupmapping_add"), form)
    mapping = GroupMapping.objects.get()
    approve = path("approve_group_mapping", mapping.pk)
    assert "yourself" in admin.get(approve).content.decode()
    assert admin.post(approve).status_code == 400
    assert User.objects.get(email="mia.o@corp.test").duties == []
    owner = sign_in(owner=True, email="boss@corp.test")
    assert "I agree" in owner.get(approve).content.decode()
    owner.post(approve)
    assert User.objects.get(email="mia.o@corp.test").duties == ["auditor"]
    admin.post(
        path("admin:governance_groupmapping_change", mapping.pk),
        {"is_enabled": "on", "duties": ["auditor", "security"]},
    )
    assert User.objects.get(email="mia.o@corp.test").duties == []


def test_networks_are_checked_as_they_are_written(admin: Client) -> None:
    form = {"name": "okta", "is_enabled": "on", "brake_number": 10, "brake_share": 10, "pull_minutes": 60}
    wrong = admin.post(path("admin:governance_directory_add"), {**form, "networks": "203.0.113.0/24\nnonsense"})
    assert "is no network" in wrong.content.decode()
    admin.post(path("admin:governance_directory_add"), {**form, "networks": "203.0.113.0/24"})
    assert Directory.objects.get().networks == ["203.0.113.0/24"]


def test_what_a_message_changed_is_told_in_words(admin: Client, idp: Provider) -> None:
    user = idp.adds()
    idp.patches(f"/Users/{user}", {"op": "replace", "value": {"active": False}})
    idp.adds_group("gw-leads")
    told = admin.get(path("admin:governance_directorymessage_changelist")).content.decode()
    assert "user changed (user: mia.o@corp.test; fields: active yes → no)" in told
    assert "group added (group: gw-leads)" in told


def test_a_third_token_is_not_offered(admin: Client, idp: Provider) -> None:
    page = path("directory_token", idp.directory.pk)
    assert "Make the token" in admin.get(page).content.decode()
    admin.post(page, {"once": new_ticket()})
    full = admin.get(page).content.decode()
    assert "Make the token" not in full
    assert "Revoke the one" in full
