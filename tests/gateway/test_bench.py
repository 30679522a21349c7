"""The test bench: what would be found in a text, what rules would do, and that nothing of the text is kept."""

import orjson
import pytest
from django.urls import reverse

from audit.models import EventRow
from gateway.bench import NotJson, Trial, look
from governance.inspection.findings import NAMED
from governance.snapshot import Snapshot
from tests import factories as make
from tests.fakes import FakePorts
from tests.gateway.signing_in import sign_in
from tests.gateway.test_content_rules import CARD, TOKEN, rule
from tests.gateway.test_exceptions import allowed

ALL = frozenset(NAMED) & {"secret", "personal_data", "injection"}
NOW = FakePorts(make.snapshot()).now()


def world(**fields: object) -> Snapshot:
    rules = (
        rule("deny", "secret", reason="No keys."),
        rule("mask", "personal_data", on="result", position=2),
        rule("flag", "personal_data", when="agent.name == 'x'", position=3),
    )
    return make.snapshot(bundles=(make.bundle(rules=rules),), rules={"policy": rules}, **fields)


def test_it_tells_what_is_there_where_and_what_each_rule_would_do() -> None:
    seen = look(Trial(orjson.dumps({"note": f"use {TOKEN}"}).decode(), "arguments", ALL), world(), now=NOW)
    (line,) = seen.lines
    assert (line.finding.rule, line.path, line.text, line.counts) == ("github_token", "/arguments/note", TOKEN, True)
    assert [(each.rule, each.does, each.condition) for each in seen.effects] == [
        ("policy v1#1", "would refuse it", ""),
        ("policy v1#3", "", "agent.name == 'x'"),
    ]
    assert orjson.loads(seen.masked) == {"arguments": {"note": "use [SECRET:github_token]"}}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (CARD, "/content/0/text"),
        (f'{{"card":"{CARD}"}}', "/structuredContent/card"),
        (f'{{"structuredContent":{{"card":"{CARD}"}}}}', "/structuredContent/card"),
        (f'["{CARD}"]', "/structuredContent/0"),
    ],
    ids=["text", "value", "result", "list"],
)
def test_an_answer_is_read_as_it_would_come(text: str, path: str) -> None:
    seen = look(Trial(text, "result", ALL), world(), now=NOW)
    assert [line.path for line in seen.lines] == [path]
    assert [each.does for each in seen.effects] == ["would mask it"]


def test_only_what_was_asked_for_is_looked_for() -> None:
    assert look(Trial(f"{CARD} {TOKEN}", "arguments", frozenset({"secret"})), world(), now=NOW).lines[0].names == (
        "secret",
    )


def test_what_is_excepted_at_the_tool_is_told_and_counts_for_nothing() -> None:
    snapshot = world()
    (tool,) = (tool for tool in snapshot.tools.values() if tool.name == "ticket_get")
    pattern = allowed("github_token", path="*", bundle_id="", tool_id=tool.id)
    seen = look(Trial(TOKEN, "arguments", ALL, tool), world(exceptions=(pattern,)), now=NOW)
    assert [(line.finding.exception, line.counts) for line in seen.lines] == [("vendor-cards", False)]
    assert not any(each.does for each in seen.effects)
    assert TOKEN in seen.masked


def test_what_could_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(NotJson):
        look(Trial('{"a": 1, "a": 2}', "arguments", ALL), world(), now=NOW)


@pytest.mark.django_db
def test_nothing_of_the_text_is_kept_but_that_it_was_tried() -> None:
    asked = {"text": f"<b>{TOKEN}</b>", "direction": "result", "kinds": ["secret", "personal_data"], "tool": ""}
    answer = sign_in("security").post(reverse("test_bench"), asked)
    shown = answer.content.decode()
    assert answer.status_code == 200
    assert "github_token" in shown
    assert "[SECRET:github_token]" in shown
    assert "<b>gh" not in shown
    headers = [bytes(header) for header in EventRow.objects.values_list("header", flat=True)]
    assert not any(TOKEN.encode() in header for header in headers)
    (tried,) = (orjson.loads(header) for header in headers if b"inspection.tried" in header)
    assert tried["details"]["found"] == 1
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "asked",
    [{"text": "x" * 100_001}, {"kinds": []}, {"tool": "no/such"}, {"direction": "both"}, {"text": "{"}],
    ids=["long", "nothing", "tool", "direction", "json"],
)
def test_what_will_not_do_is_said(asked: dict[str, object]) -> None:
    usual = {"text": "x", "direction": "result", "kinds": ["secret"], "tool": ""}
    assert sign_in("security").post(reverse("test_bench"), usual | asked).status_code == 400
