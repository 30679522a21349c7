"""Findings, exceptions, detection rules and canaries over the REST API."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from audit.models import EventRow, FindingGroup, Sighting
from governance.fence.actor import governed_change
from governance.models import Canary, Connector, DetectionOff, Organization, PatternException, Tool
from governance.snapshot_builder import build_snapshot
from tests.gateway.calling import Api, fields_of, owner, person, problem, security

__all__ = ("owner",)

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PRINT = "f" * 32


@pytest.fixture
def sam() -> Api:
    return security()


@pytest.fixture
def tool() -> Tool:
    with governed_change(by="test"):
        return Tool.objects.create(connector=Connector.objects.create(name="helpdesk"), name="ticket_get")


def seen(number: int, rule: str, **fields: Any) -> FindingGroup:
    at = NOON + timedelta(minutes=number)
    told = {"kind": "secret", "connector": "helpdesk", "tool": "ticket_get", "records": 1, **fields}
    row = FindingGroup.objects.create(id=UUID(int=number), rule=rule, first_at=at, last_at=at, **told)
    Sighting.objects.create(
        group=row.id, leaf=number, event_id=row.id, at=at, in_result=True, path=f"/content/{number}",
        agent=f"bot-{number}", count=1,
    )  # fmt: skip
    return row


def told(kind: str) -> list[dict[str, Any]]:
    rows = EventRow.objects.filter(kind=kind).order_by("id")
    return [{**orjson.loads(bytes(row.header))["details"], "actor": row.actor} for row in rows]


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def rules(answer: Any) -> list[str]:
    return [each["rule"] for each in answer.json()["results"]]


# -- findings


def test_findings_come_newest_first_page_by_page_and_narrowed(sam: Api) -> None:
    for number, rule in enumerate(("email", "jwt", "card_number")):
        seen(number, rule, verdict="false" if rule == "jwt" else "", kind="card" if rule == "card_number" else "secret")
    first = sam.get("findings?limit=2").json()
    assert [each["rule"] for each in first["results"]] == ["card_number", "jwt"]
    assert rules(sam.get(first["next"].partition("/api/v1/")[2])) == ["email"]
    for question, found in (
        ("verdict=open", ["card_number", "email"]),
        ("verdict=false", ["jwt"]),
        ("kind=card", ["card_number"]),
        ("agent=bot-0", ["email"]),
        ("agent=bot-0&verdict=false", []),
        ("rule=jwt&tool=ticket_get&connector=helpdesk", ["jwt"]),
    ):
        assert rules(sam.get(f"findings?{question}")) == found, question


def test_a_finding_tells_where_it_was_seen_and_how_often_its_rule_was_wrong(sam: Api) -> None:
    row = seen(7, "jwt", verdict="true")
    assert sam.get(f"findings/{row.id}").json()["verdict"] == "true"
    (sighting,) = sam.get(f"findings/{row.id}/sightings").json()["results"]
    assert (sighting["path"], sighting["in_result"], sighting["agent"]) == ("/content/7", True, "bot-7")
    (rate,) = sam.get("finding-rates").json()["results"]
    assert (rate["rule"], rate["true"], rate["false_alarms"]) == ("jwt", 1, 0)
    problem(sam.get(f"findings/{UUID(int=9)}/sightings"), 404, "not_found")


def test_what_somebody_says_is_on_record_and_can_be_taken_back(sam: Api) -> None:
    row = seen(1, "jwt")
    assert fields_of(problem(sam.post(f"findings/{row.id}/judge", {"verdict": "false"}), 422, "refused")) == {"note"}
    problem(sam.post(f"findings/{row.id}/judge", {"verdict": "maybe"}), 400, "invalid_input")
    said = sam.post(f"findings/{row.id}/judge", {"verdict": "false", "note": "A sample of the vendor."}).json()
    assert (said["verdict"], said["judged_by"]) == ("false", "person:sam@example.com")
    assert sam.post(f"findings/{row.id}/judge", {"verdict": "open", "note": "Wait."}).json()["verdict"] == "open"
    assert [(each["verdict"], each["was"], each["token"]) for each in told("finding.judged")] == [
        ("false", "", sam.row.hint),
        ("", "false", sam.row.hint),
    ]


def test_a_finding_is_allowed_at_its_tool_for_a_time(sam: Api, tool: Tool) -> None:
    value, place = seen(1, "card_number", fingerprint=PRINT), seen(2, "email")
    wish = {"name": "vendor-cards", "ends_at": in_days(7), "reason": "Test cards."}
    made = sam.post(f"findings/{value.id}/allow", wish)
    assert (made.status_code, made["Location"]) == (201, f"/api/v1/exceptions/{made.json()['id']}")
    assert (made.json()["fingerprint"], made.json()["path"], made.json()["tool"]) == (PRINT, "", "helpdesk/ticket_get")
    assert sam.post(f"findings/{place.id}/allow", {**wish, "name": "mails"}).json()["path"] == "/content/2"
    assert {each.name for each in build_snapshot().exceptions} == {"vendor-cards", "mails"}
    known = seen(3, "known_value")
    problem(sam.post(f"findings/{known.id}/allow", {**wish, "name": "known"}), 422, "refused")
    gone = seen(4, "email", tool="no_such_tool")
    problem(sam.post(f"findings/{gone.id}/allow", {**wish, "name": "gone"}), 409, "conflict")


# -- exceptions


def exception(**fields: Any) -> dict[str, Any]:
    wish = {"name": "vendor-cards", "rule": "card_number", "path": "/content/*", "tool": "helpdesk/ticket_get"}
    return {**wish, "ends_at": in_days(7), "reason": "Test cards.", **fields}


def test_an_exception_is_set_and_ended_once(sam: Api, tool: Tool) -> None:
    made = sam.post("exceptions", exception()).json()
    assert (made["created_by"], made["awaits_second"], made["tool"]) == ("person:sam@example.com", False, str(tool))
    assert rules(sam.get("exceptions?state=in-force&rule=card_number")) == ["card_number"]
    assert fields_of(problem(sam.post("exceptions", exception()), 422, "refused")) == {"name"}
    assert sam.post(f"exceptions/{made['id']}/end").json()["ended_by"] == "person:sam@example.com"
    problem(sam.post(f"exceptions/{made['id']}/end"), 409, "conflict")
    assert (rules(sam.get("exceptions?state=in-force")), rules(sam.get("exceptions?state=over"))) == (
        [],
        ["card_number"],
    )
    assert [len(told(kind)) for kind in ("exception.set", "exception.ended")] == [1, 1]


@pytest.mark.parametrize(
    ("wish", "fields"),
    [
        ({"rule": "canary"}, {"rule"}),
        ({"path": ""}, {"path"}),
        ({"tool": "helpdesk/nothing"}, {"tool"}),
        ({"connector": "helpdesk"}, {""}),
        ({"ends_at": in_days(-1)}, {"ends_at"}),
        ({"ends_at": in_days(800)}, {"ends_at"}),
        ({"reason": "  "}, {"reason"}),
    ],
    ids=["known", "nothing-named", "no-such-tool", "two-targets", "past", "too-long", "no-reason"],
)
def test_what_no_exception_can_be_is_told_by_field(
    sam: Api, tool: Tool, wish: dict[str, Any], fields: set[str]
) -> None:
    assert fields_of(problem(sam.post("exceptions", exception(**wish)), 422, "refused")) == fields
    assert not PatternException.objects.exists()


def test_where_changes_need_a_second_person_somebody_else_agrees(sam: Api, tool: Tool) -> None:
    with governed_change(by="test"):
        Organization.objects.create(requires_review=True)
    made = sam.post("exceptions", exception()).json()
    assert (made["awaits_second"], build_snapshot().exceptions) == (True, ())
    assert rules(sam.get("exceptions?state=waiting")) == ["card_number"]
    problem(sam.post(f"exceptions/{made['id']}/approve"), 422, "refused")
    other = Api(person("noor@example.com", "security"))
    assert other.post(f"exceptions/{made['id']}/approve").json()["approved_by"] == "person:noor@example.com"
    assert len(build_snapshot().exceptions) == 1


# -- detection rules


def test_a_rule_is_switched_off_and_on_again(sam: Api) -> None:
    assert fields_of(problem(sam.post("switched-off-rules", {"rule": "no", "reason": "x"}), 422, "refused")) == {"rule"}
    made = sam.post("switched-off-rules", {"rule": "card_number", "reason": "Only noise here."})
    assert (made.status_code, build_snapshot().detection_off) == (201, {"card_number"})
    assert rules(sam.get("detection-rules?on=false")) == ["card_number"]
    problem(sam.post("switched-off-rules", {"rule": "card_number", "reason": "x"}), 422, "refused")
    assert sam.delete(f"switched-off-rules/{made.json()['id']}").status_code == 204
    assert [len(told(f"detection.switched_{way}")) for way in ("off", "on")] == [1, 1]


def test_where_changes_need_a_second_person_only_an_owner_switches_off(sam: Api, owner: Api) -> None:
    with governed_change(by="test"):
        Organization.objects.create(requires_review=True)
    wish = {"rule": "card_number", "reason": "Only noise here."}
    problem(sam.post("switched-off-rules", wish), 422, "refused")
    assert not DetectionOff.objects.exists()
    assert owner.post("switched-off-rules", wish).status_code == 201


def test_the_pack_is_listed_to_its_end(sam: Api) -> None:
    found, page = [], sam.get("detection-rules?limit=100").json()
    while page["next"]:
        found += page["results"]
        page = sam.get(page["next"].partition("/api/v1/")[2]).json()
    found += page["results"]
    names = [each["rule"] for each in found]
    assert (names, len(set(names))) == (sorted(names), len(names))
    (card,) = (each for each in found if each["rule"] == "card_number")
    assert (card["kind"], card["severity"], card["on"], len(card["pack"]) > 0) == ("card", "high", True, True)
    assert rules(sam.get("detection-rules?kind=card")) == ["card_number"]


# -- canaries


def test_a_canary_is_made_shown_once_and_withdrawn(sam: Api) -> None:
    made = sam.post("canaries", {"name": "hr-share", "kind": "aws_key", "planted_in": "the wiki"})
    row = f"canaries/{made.json()['id']}"
    assert (made.status_code, made.json()["shown_at"]) == (201, None)
    shown = sam.post(f"{row}/show", Idempotency_Key="once")
    key, secret = shown.json()["values"]
    assert (key[:4], len(secret)) == ("AKIA", 40)
    assert sam.post(f"{row}/show", Idempotency_Key="once").json() == {"values": None}
    problem(sam.post(f"{row}/show"), 409, "conflict")
    told_of = sam.get(row).content + sam.get("canaries").content
    headers = EventRow.objects.values_list("header", flat=True)
    assert not [text for text in (told_of, *map(bytes, headers)) if key.encode() in text or secret.encode() in text]
    assert sam.delete(row).status_code == 204
    assert [len(told(kind)) for kind in ("canary.made", "canary.shown")] == [1, 1]
    assert not Canary.objects.exists()


def test_one_whose_key_is_gone_cannot_be_shown(sam: Api) -> None:
    made = sam.post("canaries", {"name": "hr-share", "kind": "aws_key"}).json()
    with governed_change(by="test"):
        Canary.objects.update(wrapped_key=b"gone")
    assert "Make another one" in problem(sam.post(f"canaries/{made['id']}/show"), 409, "conflict")["detail"]
    assert Canary.objects.get().shown_at is None


@pytest.mark.parametrize(
    "wish",
    [{"kind": "url"}, {"kind": "email", "place": "no domain"}, {"kind": "aws_key", "place": "example.com"}],
    ids=["no-address", "no-domain", "needless"],
)
def test_what_cannot_be_planted_is_refused(sam: Api, wish: dict[str, str]) -> None:
    assert fields_of(problem(sam.post("canaries", {"name": "bait", **wish}), 422, "refused")) == {"place"}


def test_each_act_takes_its_own_scope(sam: Api) -> None:
    reader = Api(person("rea@example.com", "security"), scopes=["read"])
    row = seen(1, "jwt")
    for path in (f"findings/{row.id}/judge", "exceptions", "switched-off-rules", "canaries"):
        problem(reader.post(path, {}), 403, "missing_scope")
    assert reader.get("canaries").status_code == 200
