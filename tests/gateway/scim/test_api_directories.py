"""Directories by the REST API: connections and their tokens, what groups give, and what the brake keeps waiting."""

import pytest

from governance.models import Directory, Team, User
from tests.gateway.calling import Api, fields_of, it_admin, owner, problem
from tests.gateway.scim.messages import Provider

__all__ = ("owner",)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OFF = {"op": "replace", "path": "active", "value": False}


def test_a_directory_is_made_changed_and_connected() -> None:
    it = it_admin()
    made = it.post("directories", {"name": "okta", "networks": ["127.0.0.0/8"]})
    assert made.status_code == 201, made.content
    path = f"directories/{made.json()['id']}"
    assert made.json()["created_by"] == "person:noor@example.com"
    assert it.patch(path, {"brake_number": 3, "enabled": False}).json()["brake_number"] == 3
    problem(it.patch(path, {"name": "entra"}), 422, "refused")
    problem(it.patch(path, {"networks": ["here"]}), 422, "refused")
    assert it.patch(path, {"enabled": True}).status_code == 200

    issued = it.post(f"{path}/issue-token", {})
    assert issued.status_code == 201
    (shown,) = it.get(path).json()["tokens"]
    assert shown["id"] == issued.json()["id"]
    assert issued.json()["token"] not in it.get(path).content.decode()
    answer = it.client.get("/scim/v2/Users", headers={"authorization": f"Bearer {issued.json()['token']}"})
    assert answer.status_code == 200
    assert it.post(f"{path}/revoke-token", {"token": shown["id"]}).json()["tokens"] == []
    problem(it.post(f"{path}/revoke-token", {"token": shown["id"]}), 409, "conflict")
    answer = it.client.get("/scim/v2/Users", headers={"authorization": f"Bearer {issued.json()['token']}"})
    assert answer.status_code == 401


def test_where_its_list_is_read_takes_a_token_that_goes_nowhere_else(owner: Api) -> None:
    path = f"directories/{Directory.objects.create(name='okta').id}"
    told = problem(owner.patch(path, {"pull_url": "https://idp.example.com/scim/v2"}), 422, "refused")
    assert fields_of(told) == {"pull_secret"}
    owner.post("secrets", {"name": "okta-list", "kind": "bearer"})
    wish = {"pull_url": "https://idp.example.com/scim/v2", "pull_secret": "okta-list", "pull_applies": True}
    changed = owner.patch(path, wish)
    assert changed.status_code == 200, changed.content
    assert wish.items() <= changed.json().items()


def test_what_waits_is_seen_and_decided() -> None:
    it, idp = it_admin(), Provider()
    Directory.objects.update(brake_number=1)
    for name in ("ana", "bob", "eve"):
        idp.patches(f"/Users/{idp.adds(f'{name}@corp.test')}", OFF)
    path = f"directories/{idp.directory.id}"
    waiting = it.get(f"{path}/losses?state=held").json()["results"]
    assert {loss["person"] for loss in waiting} == {"bob@corp.test", "eve@corp.test"}
    eve, bob = waiting
    assert it.post(f"{path}/decide-losses", {"decision": "release", "losses": [bob["id"]]}).status_code == 200
    assert it.post(f"{path}/decide-losses", {"decision": "drop", "losses": [eve["id"]]}).status_code == 200
    assert it.get(f"{path}/losses?state=held").json()["results"] == []
    active = User.objects.filter(email__endswith="@corp.test", is_active=True)
    assert list(active.values_list("email", flat=True)) == ["eve@corp.test"]
    assert Api(User.objects.get(email="eve@corp.test")).get(f"{path}/losses").status_code in (403, 404)


def test_what_a_group_gives_is_in_force_at_once_and_rights_after_a_second_human(owner: Api) -> None:
    it, idp = it_admin(), Provider()
    devs = Team.objects.create(name="devs")
    mia = idp.adds("mia@corp.test")
    idp.adds_group("gw-devs", mia)
    wish = {"directory": "okta", "group": "gw-devs", "teams": ["devs"], "duties": ["approver"]}
    made = it.post("group-mappings", wish)
    assert made.status_code == 201, made.content
    person = User.objects.get(email="mia@corp.test")
    assert (list(person.teams.all()), person.duties) == ([devs], [])
    path = f"group-mappings/{made.json()['id']}"
    problem(it.post(f"{path}/approve", {}), 422, "refused")
    assert owner.post(f"{path}/approve", {}).json()["approved_by"] == "owner@example.com"
    person.refresh_from_db()
    assert person.duties == ["approver"]
    assert it.patch(path, {"admin_access": True}).json()["approved_by"] is None
    assert it.delete(path).status_code == 204
    person.refresh_from_db()
    assert (list(person.teams.all()), person.duties) == ([], [])
