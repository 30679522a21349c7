"""What Okta and Entra ID really send, case by case, through the real addresses. The numbers are those of
docs/directories.md."""

from collections.abc import Callable
from typing import Any

import pytest

from governance.models import DirectoryMember, DirectoryMessage, DirectoryUser, Offboarding, User
from tests.gateway.scim.messages import ENTERPRISE, GROUP, PATCH, USER, Provider, group, okta_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OLD_ENTRA_GROUP = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"


@pytest.fixture
def idp() -> Provider:
    return Provider()


# -- transport


def test_1_two_tokens_work_at_once_and_a_stranger_is_told_nothing(idp: Provider) -> None:
    second = Provider()
    assert idp.gets("/Users").status == second.gets("/Users").status == 200
    for wrong in ("", "Bearer gate_st_nonsense", "Basic abc"):
        answer = idp.sends("GET", "/Users", authorization=wrong)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.body["status"] == "401"


@pytest.mark.parametrize(
    ("method", "path", "raw", "status"),
    [
        ("GET", "/Nothing", b"", 404),
        ("GET", "/Users/unknown", b"", 404),
        ("DELETE", "/Users", b"", 405),
        ("POST", "/Users", b"{nonsense", 400),
        ("POST", "/Users", b'{"userName": "a", "userName": "b"}', 400),
        ("POST", "/Users", b"[" * 40 + b"]" * 40, 400),
        ("POST", "/Users", b"", 400),
        ("PATCH", "/", b"{}", 405),
    ],
)
def test_2_every_error_is_the_protocols(idp: Provider, method: str, path: str, raw: bytes, status: int) -> None:
    answer = idp.sends(method, path, raw=raw)
    assert answer.status == status
    assert answer.body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert answer.body["status"] == str(status)
    assert answer.headers["Content-Type"] == "application/scim+json"


def test_3_looking_for_nobody_is_an_empty_list(idp: Provider) -> None:
    for kind, asked in (("Users", 'userName eq "no"'), ("Groups", 'displayName eq "no"')):
        answer = idp.finds(kind, asked)
        assert (answer.status, answer.body["totalResults"], answer.body["Resources"]) == (200, 0, [])


@pytest.mark.parametrize("name", ["o'hara+x@corp.test", "jörg müller@corp.test", "a b@corp.test", "A%_@corp.test"])
def test_5_names_with_special_characters_are_found(idp: Provider, name: str) -> None:
    idp.adds(name, emails=[])
    assert idp.finds("Users", f'userName eq "{name}"').body["totalResults"] == 1
    assert idp.finds("Users", f'userName eq "{name.upper()}"').body["totalResults"] == 1


@pytest.mark.parametrize(
    "asked", ["userName eq mia", "nonsense", 'userName eq "', "userName", 'nothing eq "x"', "(" * 200, "[" * 31]
)
def test_5_and_21_a_filter_that_cannot_be_evaluated_is_refused(idp: Provider, asked: str) -> None:
    answer = idp.finds("Users", asked)
    assert (answer.status, answer.body["scimType"]) in ((400, "invalidFilter"), (400, "invalidPath"))


def test_6_pages_are_stable_and_numbers_are_numbers(idp: Provider) -> None:
    made = [idp.adds(f"user{n}@corp.test") for n in range(5)]
    seen = []
    for start in (1, 3, 5):
        page = idp.gets(f"/Users?startIndex={start}&count=2").body
        assert (page["totalResults"], page["startIndex"]) == (5, start)
        seen += [each["id"] for each in page["Resources"]]
    assert seen == made
    assert idp.gets("/Users?count=0").body["Resources"] == []
    beyond = idp.gets("/Users?startIndex=100").body
    assert (beyond["Resources"], beyond["totalResults"]) == ([], 5)


def test_6_cursors_page_everybody_once(idp: Provider) -> None:
    made = [idp.adds(f"user{n}@corp.test") for n in range(5)]
    page, seen = idp.gets("/Users?cursor&count=2").body, []
    while True:
        seen += [each["id"] for each in page["Resources"]]
        if "nextCursor" not in page:
            break
        page = idp.gets(f"/Users?count=2&cursor={page['nextCursor']}").body
    assert seen == made


def test_7_versions_are_honoured_and_never_required(idp: Provider) -> None:
    user = idp.adds()
    version = idp.gets(f"/Users/{user}").headers["ETag"]
    change = {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "title", "value": "x"}]}
    assert idp.sends("PATCH", f"/Users/{user}", change, **{"if-match": 'W/"99"'}).status == 412
    assert idp.sends("PATCH", f"/Users/{user}", change, **{"if-match": version}).status == 204
    assert idp.gets(f"/Users/{user}").body["meta"]["version"] != version
    people = idp.adds_group("people")
    assert idp.sends("PATCH", f"/Groups/{people}", change, **{"if-match": 'W/"99"'}).status == 412


def test_8_discovery_is_what_clients_read(idp: Provider) -> None:
    types = idp.gets("/ResourceTypes").body
    assert types["totalResults"] == len(types["Resources"]) == 2
    assert {each["endpoint"] for each in types["Resources"]} == {"/Users", "/Groups"}
    schemas = idp.gets("/Schemas")
    assert b"null" not in str(schemas.body).encode()
    assert schemas.body["totalResults"] == len(schemas.body["Resources"])
    assert idp.gets("/ServiceProviderConfig").body["patch"]["supported"] is True


# -- users


def test_10_what_okta_creates(idp: Provider) -> None:
    answer = idp.sends("POST", "/Users", okta_user(password="Xq7-very-secret"))
    assert answer.status == 201
    assert answer.body["userName"] == "mia.o@corp.test"
    assert answer.headers["Location"].endswith(f"/scim/v2/Users/{answer.body['id']}")
    kept = DirectoryUser.objects.get()
    message = DirectoryMessage.objects.get()
    assert "Xq7" not in f"{answer.body}{kept.body}{message.body}{message.changes}"
    person = User.objects.get(email="mia.o@corp.test")
    assert (kept.person, person.name, person.is_active, person.has_usable_password()) == (
        person,
        "Mia Ode",
        True,
        False,
    )


def test_11_what_entra_creates(idp: Provider) -> None:
    body = {
        "schemas": [USER, ENTERPRISE],
        "userName": "lee@corp.test",
        "externalId": "lee",
        "active": "True",
        "roles": [],
        "emails": [{"type": "work", "value": "lee@corp.test", "primary": True}],
        "meta": {"resourceType": "User"},
        ENTERPRISE: {"department": "R&D", "manager": "5f0c"},
    }
    answer = idp.sends("POST", "/Users", body)
    assert (answer.status, answer.body["active"]) == (201, True)
    assert answer.body[ENTERPRISE]["manager"]["value"] == "5f0c"
    assert User.objects.get(email="lee@corp.test").is_active


def test_12_a_name_is_taken_whatever_its_case_and_accents(idp: Provider) -> None:
    user = idp.adds("jörg@corp.test", emails=[])
    for name in ("JÖRG@corp.test", "jo\u0308rg@corp.test"):
        answer = idp.sends("POST", "/Users", okta_user(name, emails=[]))
        assert (answer.status, answer.body["scimType"]) == (409, "uniqueness")
    assert idp.sends("DELETE", f"/Users/{user}").status == 204
    assert idp.gets(f"/Users/{user}").status == 404
    assert idp.adds("jörg@corp.test", emails=[]) != user


def test_13_who_is_inactive_is_still_seen(idp: Provider) -> None:
    user = idp.adds(active=False)
    assert idp.gets(f"/Users/{user}").body["active"] is False
    assert idp.finds("Users", "active eq false").body["totalResults"] == 1


MANAGERS: list[dict[str, Any]] = [
    {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "{id}"},
    {"op": "Replace", "path": f"{ENTERPRISE}:manager", "value": {"value": "{id}"}},
    {"op": "replace", "value": {f"{ENTERPRISE}:manager": "{id}"}},
    {"op": "replace", "value": {ENTERPRISE: {"manager": "{id}"}}},
    {"op": "add", "path": f"{ENTERPRISE}:manager.value", "value": "{id}"},
]


@pytest.mark.parametrize("operation", MANAGERS, ids=range(len(MANAGERS)))
def test_14_managers_in_every_form_also_before_they_come(idp: Provider, operation: dict[str, Any]) -> None:
    boss, mia = idp.adds("boss@corp.test"), idp.adds()
    assert idp.patches(f"/Users/{mia}", _filled(operation, boss)).status in (200, 204)
    assert User.objects.get(email="mia.o@corp.test").manager == User.objects.get(email="boss@corp.test")
    unknown = _filled(operation, "00u-later")
    assert idp.patches(f"/Users/{mia}", unknown).status in (200, 204)
    assert idp.gets(f"/Users/{mia}").body[ENTERPRISE]["manager"]["value"] == "00u-later"
    idp.adds("later@corp.test", externalId="00u-later")
    assert User.objects.get(email="mia.o@corp.test").manager == User.objects.get(email="later@corp.test")


def _filled(value: Any, found: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, found) for key, each in value.items()}
    return found if value == "{id}" else value


Off = Callable[[Provider, str], Any]
WAYS_OUT: dict[str, Off] = {
    "okta": lambda idp, user: idp.patches(f"/Users/{user}", {"op": "replace", "value": {"active": False}}),
    "old entra": lambda idp, user: idp.patches(f"/Users/{user}", {"op": "Replace", "path": "active", "value": "False"}),
    "entra": lambda idp, user: idp.patches(f"/Users/{user}", {"op": "replace", "path": "active", "value": False}),
    "put": lambda idp, user: idp.sends("PUT", f"/Users/{user}", okta_user(active=False)),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_15_every_way_to_say_that_she_left_ends_her_exactly_once(idp: Provider, way: str) -> None:
    user = idp.adds()
    for _ in range(2):
        assert WAYS_OUT[way](idp, user).status in (200, 204)
        assert idp.gets(f"/Users/{user}").body["active"] is False
    person = User.objects.get(email="mia.o@corp.test")
    assert not person.is_active
    assert Offboarding.objects.filter(person=person).count() == 1
    back = {"op": "Add", "path": "active", "value": "True"}
    assert idp.patches(f"/Users/{user}", back).status in (200, 204)
    person.refresh_from_db()
    assert person.is_active
    assert WAYS_OUT[way](idp, user).status in (200, 204)
    person.refresh_from_db()
    assert not person.is_active


def test_16_deleting_ends_her_and_leaves_a_tombstone(idp: Provider) -> None:
    user = idp.adds()
    assert [idp.sends("DELETE", f"/Users/{user}").status for _ in range(2)] == [204, 404]
    person = User.objects.get(email="mia.o@corp.test")
    assert not person.is_active
    assert Offboarding.objects.filter(person=person).count() == 1


def test_17_dotted_and_qualified_names_without_a_path(idp: Provider) -> None:
    user = idp.adds()
    value = {"displayName": "M. Ode", "name.givenName": "M", f"{ENTERPRISE}:department": "R&D"}
    assert idp.patches(f"/Users/{user}", {"op": "replace", "value": value}).status in (200, 204)
    body = idp.gets(f"/Users/{user}").body
    assert (body["displayName"], body["name"]["givenName"]) == ("M. Ode", "M")
    assert body[ENTERPRISE]["department"] == "R&D"
    assert User.objects.get().name == "M. Ode"


def test_18_entries_that_are_not_there_yet_are_made(idp: Provider) -> None:
    user = idp.adds()
    answer = idp.patches(
        f"/Users/{user}",
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+4411"},
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "m@corp.test"},
    )
    assert answer.status in (200, 204)
    body = idp.gets(f"/Users/{user}").body
    assert [each["value"] for each in body["phoneNumbers"]] == ["+4411"]
    assert [each["value"] for each in body["emails"]] == ["m@corp.test"]
    assert idp.finds("Users", 'emails[type eq "work"].value eq "M@corp.test"').body["totalResults"] == 1
    assert idp.finds("Users", 'emails[type eq "home" and value eq "m@corp.test"]').body["totalResults"] == 0


def test_19_roles_of_the_directory_are_none_of_ours(idp: Provider) -> None:
    user = idp.adds()
    operation = {"op": "Add", "path": 'roles[primary eq "True"].value', "value": "Owner"}
    assert idp.patches(f"/Users/{user}", operation).status in (200, 204)
    person = User.objects.get()
    assert (person.duties, person.is_staff, person.is_superuser) == ([], False, False)


def test_20_adding_what_is_there_and_removing_what_is_not(idp: Provider) -> None:
    user = idp.adds()
    answer = idp.patches(
        f"/Users/{user}",
        {"op": "Add", "path": "displayName", "value": "Other"},
        {"op": "Replace", "path": "title", "value": "Boss"},
        {"op": "Remove", "path": "nickName"},
    )
    assert answer.status in (200, 204)
    body = idp.gets(f"/Users/{user}").body
    assert (body["displayName"], body["title"]) == ("Other", "Boss")


def test_21_what_entra_and_okta_look_for(idp: Provider) -> None:
    user = idp.adds(externalId="00uA1")
    for asked in (
        'userName eq "MIA.O@corp.test"',
        'externalId eq "00uA1"',
        'emails[type eq "work"].value eq "mia.o@corp.test"',
        'emails.value eq "mia.o@corp.test"',
        f'id eq "{user}"',
        'userName eq "mia.o@corp.test" and active eq true',
        'title eq "x" or userName eq "mia.o@corp.test"',
        'not (userName eq "x")',
        'userName sw "mia"',
        f'{USER}:userName eq "mia.o@corp.test"',
        'meta.lastModified gt "2020-01-01T00:00:00Z"',
    ):
        assert [each["id"] for each in idp.finds("Users", asked).body["Resources"]] == [user], asked
    for asked in ('externalId eq "00ua1"', 'meta.lastModified lt "2020-01-01T00:00:00Z"', "active eq false"):
        assert idp.finds("Users", asked).body["Resources"] == [], asked


def test_22_names_change_and_the_person_stays(idp: Provider) -> None:
    user = idp.adds()
    person = User.objects.get()
    answer = idp.patches(
        f"/Users/{user}",
        {"op": "replace", "path": "userName", "value": "mia.new@corp.test"},
        {"op": "replace", "path": 'emails[type eq "work"].value', "value": "mia.new@corp.test"},
        {"op": "replace", "path": "externalId", "value": "other"},
    )
    assert answer.status in (200, 204)
    person.refresh_from_db()
    assert person.email == "mia.new@corp.test"


def test_23_operations_happen_in_order_and_all_or_none(idp: Provider) -> None:
    user = idp.adds()
    ops = [{"op": "Add", "path": "nickName", "value": "x"}, {"op": "Remove", "path": "nickName"}]
    assert idp.patches(f"/Users/{user}", *ops).status in (200, 204)
    assert "nickName" not in idp.gets(f"/Users/{user}").body
    wrong = [{"op": "replace", "path": "title", "value": "x"}, {"op": "replace", "path": "active", "value": "maybe"}]
    assert idp.patches(f"/Users/{user}", *wrong).status == 400
    assert "title" not in idp.gets(f"/Users/{user}").body


def test_24_unknown_schemas_are_accepted_and_not_repeated(idp: Provider) -> None:
    strange = "urn:example:params:scim:schemas:extension:Shoes:2.0:User"
    body = okta_user(schemas=[USER, strange], **{strange: {"size": 43}})
    answer = idp.sends("POST", "/Users", body)
    assert answer.status == 201
    assert strange not in str(answer.body)
    assert idp.gets("/Users").body["Resources"][0]["schemas"] == [USER]


def test_25_values_are_repeated_as_sent_and_empty_ones_are_none(idp: Provider) -> None:
    user = idp.adds(phoneNumbers=[{"type": "work", "value": "(49) 030-12 34"}], title="", locale="de-DE")
    body = idp.gets(f"/Users/{user}").body
    assert body["phoneNumbers"][0]["value"] == "(49) 030-12 34"
    assert (body["locale"], "title" in body) == ("de-DE", False)
    assert idp.patches(f"/Users/{user}", {"op": "replace", "path": "locale", "value": ""}).status in (200, 204)
    assert "locale" not in idp.gets(f"/Users/{user}").body


# -- groups


def test_26_what_okta_and_entra_create(idp: Provider) -> None:
    entra = {
        "schemas": [GROUP, OLD_ENTRA_GROUP],
        "externalId": "8aa1",
        "displayName": "gw-approvers",
        "meta": {"resourceType": "Group"},
    }
    answer = idp.sends("POST", "/Groups", entra)
    assert (answer.status, answer.body["schemas"], answer.body["externalId"]) == (201, [GROUP], "8aa1")
    assert idp.sends("POST", "/Groups", group("gw-readers")).status == 201


def test_27_names_of_groups_are_unique_and_found_without_their_members(idp: Provider) -> None:
    user = idp.adds()
    people = idp.adds_group("gw-approvers", user)
    assert idp.sends("POST", "/Groups", group("GW-Approvers")).status == 409
    found = idp.finds("Groups", 'displayName eq "gw-APPROVERS"', excludedAttributes="members").body["Resources"]
    assert [each["id"] for each in found] == [people]
    assert "members" not in found[0]
    assert [each["value"] for each in idp.gets(f"/Groups/{people}").body["members"]] == [user]


REMOVALS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "a list in the value": lambda u: {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": u[0]}]},
    "a filter in the path": lambda u: {"op": "remove", "path": f'members[value eq "{u[0]}"]'},
    "the whole list": lambda u: {
        "op": "replace",
        "path": "members",
        "value": [{"value": each, "display": "x"} for each in u[1:]],
    },
}


@pytest.mark.parametrize("way", REMOVALS)
def test_28_removing_one_member_removes_only_her(idp: Provider, way: str) -> None:
    users = [idp.adds(f"u{n}@corp.test") for n in range(3)]
    people = idp.adds_group("people", *users)
    for _ in range(2):
        assert idp.patches(f"/Groups/{people}", REMOVALS[way](users)).status == 204
        assert {each.value for each in DirectoryMember.objects.all()} == set(users[1:])


def test_28_removing_without_saying_whom_empties_the_group(idp: Provider) -> None:
    people = idp.adds_group("people", idp.adds())
    assert idp.patches(f"/Groups/{people}", {"op": "remove", "path": "members"}).status == 204
    assert "members" not in idp.gets(f"/Groups/{people}").body


def test_29_adding_members_in_every_form(idp: Provider) -> None:
    users = [idp.adds(f"u{n}@corp.test") for n in range(4)]
    people = idp.adds_group("people", users[0])
    for operation in (
        {"op": "Add", "path": "members", "value": [{"$ref": None, "value": users[1]}]},
        {"op": "add", "path": "members", "value": {"value": users[2]}},
        {"op": "add", "value": {"members": [{"value": users[3]}, {"value": users[0]}]}},
    ):
        assert idp.patches(f"/Groups/{people}", operation).status == 204
    assert {each.value for each in DirectoryMember.objects.all()} == set(users)


def test_29_an_unknown_member_undoes_the_whole_message(idp: Provider) -> None:
    user = idp.adds()
    people = idp.adds_group("people")
    answer = idp.patches(
        f"/Groups/{people}",
        {"op": "Add", "path": "members", "value": [{"value": user}]},
        {"op": "Add", "path": "members", "value": [{"value": "5f0c0000-0000-4000-8000-000000000000"}]},
    )
    assert (answer.status, answer.body["scimType"]) == (400, "invalidValue")
    assert not DirectoryMember.objects.exists()


def test_30_okta_renames_with_the_id_in_the_value(idp: Provider) -> None:
    people = idp.adds_group("old")
    value = {"id": people, "displayName": "new"}
    assert idp.patches(f"/Groups/{people}", {"op": "replace", "value": value}).status == 204
    assert idp.gets(f"/Groups/{people}").body["displayName"] == "new"
    other = {"id": "another", "displayName": "newer"}
    answer = idp.patches(f"/Groups/{people}", {"op": "replace", "value": other})
    assert (answer.status, answer.body["scimType"]) == (400, "mutability")


def test_30_a_put_replaces_the_members_only_if_it_names_them(idp: Provider) -> None:
    people = idp.adds_group("people", idp.adds())
    assert idp.sends("PUT", f"/Groups/{people}", {"schemas": [GROUP], "displayName": "same"}).status == 200
    assert DirectoryMember.objects.count() == 1
    assert idp.sends("PUT", f"/Groups/{people}", group("same")).status == 200
    assert not DirectoryMember.objects.exists()


def test_31_whether_somebody_is_in_a_group(idp: Provider) -> None:
    user, other = idp.adds(), idp.adds("other@corp.test")
    people = idp.adds_group("people", user)
    for who, expected in ((user, 1), (other, 0)):
        asked = f'id eq "{people}" and members[value eq "{who}"]'
        assert idp.finds("Groups", asked, excludedAttributes="members").body["totalResults"] == expected


def test_32_a_changed_group_is_answered_without_a_body(idp: Provider) -> None:
    people = idp.adds_group("people")
    answer = idp.patches(f"/Groups/{people}", {"op": "replace", "path": "displayName", "value": "others"})
    assert (answer.status, answer.body) == (204, None)


def test_33_groups_in_groups_are_kept_and_not_resolved(idp: Provider) -> None:
    inner, outer = idp.adds_group("inner"), idp.adds_group("outer")
    nested = {"op": "add", "path": "members", "value": [{"value": inner, "type": "Group"}]}
    assert idp.patches(f"/Groups/{outer}", nested).status == 204
    assert idp.gets(f"/Groups/{outer}").body["members"][0]["type"] == "Group"
    assert idp.sends("DELETE", f"/Groups/{outer}").status == 204
    assert idp.gets(f"/Groups/{outer}").status == 404


def test_bulk_creates_people_and_their_group(idp: Provider) -> None:
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [
            {"method": "POST", "path": "/Users", "bulkId": "u", "data": okta_user(password="secret-word")},
            {"method": "POST", "path": "/Users", "bulkId": "v", "data": okta_user()},
            {
                "method": "POST",
                "path": "/Groups",
                "bulkId": "g",
                "data": {"schemas": [GROUP], "displayName": "people", "members": [{"value": "bulkId:u"}]},
            },
        ],
    }
    answer = idp.sends("POST", "/Bulk", body)
    assert [int(each["status"]) for each in answer.body["Operations"]] == [201, 409, 201]
    assert DirectoryMember.objects.get().user == DirectoryUser.objects.get()
    assert "secret-word" not in str(list(DirectoryMessage.objects.values()))
