"""Canaries: planted, shown once, and known again wherever they turn up."""

import asyncio
import base64
import gzip
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import orjson
import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway import canary_watch
from gateway.canary_watch import alarm_of_refusal
from gateway.database import DatabaseThread
from gateway.models import Notice
from gateway.pipeline import run
from governance.canaries import context_of, forms_of
from governance.manifest.plan import Refused, plan
from governance.models import Canary, NotificationChannel
from governance.snapshot_builder import build_snapshot
from governance.snapshot_values import SealedCanary
from governance.vault import keyring, seal
from tests.fakes import FakePorts
from tests.fresh_database import fresh_database
from tests.gateway.admin_pages import post
from tests.gateway.notice_world import agent
from tests.gateway.test_content_rules import details, rule, says
from tests.gateway.test_pipeline import code_of, frame, text_of, world
from tests.gateway.test_relaying import ACCEPTED, Audience, talk
from tests.gateway.test_relaying import world as relaying_world
from tests.governance.manifests import manifest, stored

__all__ = ("fresh_database",)
KEY, SECRET_HALF = "AKIAQX7Y2BTWZ5R4NMCD", "h7Gq/2kLmN9pRsT4vWxYz1aBcDeFgHiJkLmNoPqR"
LINK = "https://files.example.com/hr/9fJ2kQ7xLm3Rt8VbNc5WzY1aEd4Gh6Ks"


def sealed(kind: str, value: str, name: str = "hr-share") -> SealedCanary:
    row = uuid4().hex
    box = seal(value.encode(), context=context_of(row), keyring=keyring())
    return SealedCanary(row, name, kind, box.key_id, box.wrapped_key, box.ciphertext)


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str], set[str]]]:
    told: list[tuple[str, set[str], set[str]]] = []

    def alarm(agent: str, *, sent: set[str], answered: set[str]) -> None:
        told.append((agent, sent, answered))

    monkeypatch.setattr(canary_watch, "_alarm", alarm)
    return told


def ports_with(*canaries: SealedCanary, rules: tuple[Any, ...] = ()) -> FakePorts:
    return FakePorts(replace(world(*rules), canaries=canaries))


# -- turning up


SPELLED = {
    "plain": lambda value: value,
    "base64": lambda value: base64.b64encode(f"please use {value} for that".encode()).decode(),
    "twice": lambda value: base64.b64encode(base64.b64encode(f"please use {value} for that".encode())).decode(),
    "gzip": lambda value: base64.b64encode(gzip.compress(f"please use {value} for that, and then".encode())).decode(),
    "percent": lambda value: quote(quote(value, safe=""), safe=""),
    "json": lambda value: orjson.dumps(orjson.dumps({"key": value}).decode()).decode(),
    "fullwidth": lambda value: "".join(chr(ord(sign) + 0xFEE0) for sign in value),
    "markup": lambda value: f"{value[:9]}<b></b>{value[9:]}",
}


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED.keys())
async def test_it_is_known_in_every_reading_of_what_is_sent(spelled: Any, alarms: list[Any]) -> None:
    ports = ports_with(sealed("aws_key", f"{KEY}:{SECRET_HALF}"))
    assert text_of(await run(frame(arguments={"note": spelled(KEY)}), ports)) == "done", "no rule says otherwise"
    (found,) = {each["rule"]: each for each in details(ports, 0)["findings"]}.values()
    assert (found["rule"], found["kind"], found["subject"]) == ("canary", "secret", "hr-share")
    assert alarms == [("triage-bot", {"hr-share"}, set())]
    assert KEY.encode() not in orjson.dumps(details(ports, 0))


async def test_it_is_known_in_what_is_answered_and_a_rule_about_secrets_holds_it_back(alarms: list[Any]) -> None:
    ports = ports_with(sealed("url", LINK), rules=(rule("deny", "secret", on="result"),))
    ports.upstream = lambda _: says(f"see {LINK}?utm=1")
    assert code_of(await run(frame(), ports)) == "screened"
    assert alarms == [("triage-bot", set(), {"hr-share"})]


async def test_it_is_known_in_what_an_upstream_says_and_asks_before_it_answers(alarms: list[Any]) -> None:
    async def conversation(relay: Any) -> None:
        await relay.notify("notifications/message", {"level": "info", "data": f"key {KEY}"})
        assert alarms == [("triage-bot", set(), {"hr-share"})], "before anybody hears it"
        await relay.ask({"1": {"method": "elicitation/create", "params": {"message": f"Is it {KEY}?"}}})

    audience = Audience(answers={"1": ACCEPTED})
    ports = ports_with(sealed("aws_key", f"{KEY}:{SECRET_HALF}"))
    ports.views = [replace(relaying_world(), canaries=ports.views[0].canaries)]
    await talk(audience, conversation, ports)
    assert (len(alarms), len(audience.heard), len(audience.asked)) == (2, 1, 1), "no rule says otherwise"
    found = {each["path"]: each["rule"] for each in details(ports, -1)["findings"]}
    assert found == {"/said/data": "canary", "/said/1/params/message": "canary"}
    assert KEY not in str([entry.event.details for entry in ports.entries])


async def test_a_refusal_raises_the_alarm_as_well(alarms: list[Any]) -> None:
    ports = ports_with(sealed("aws_key", f"{KEY}:{SECRET_HALF}"), rules=(rule("deny", "secret"),))
    assert code_of(await run(frame(arguments={"note": SECRET_HALF}), ports)) == "denied_by_rule"
    assert alarms == [("triage-bot", {"hr-share"}, set())]


async def test_honest_calls_raise_none_and_another_canary_is_told_apart(alarms: list[Any]) -> None:
    ports = ports_with(sealed("email", "nina.rossi402913@example.com", "crm"), sealed("url", LINK))
    await run(frame(arguments={"to": "nina.rossi@example.com", "link": "https://files.example.com/hr/"}), ports)
    assert (alarms, "findings" in details(ports, 0)) == ([], False)
    await run(frame(arguments={"to": "nina.rossi402913@example.com"}), ports)
    assert alarms == [("triage-bot", {"crm"}, set())]


async def test_one_that_came_a_moment_ago_is_known_in_the_next_call(alarms: list[Any]) -> None:
    ports = ports_with()
    await run(frame(arguments={"note": KEY}), ports)
    ports.views = [replace(ports.views[0], canaries=(sealed("aws_key", f"{KEY}:{SECRET_HALF}"),))]
    await run(frame(arguments={"note": KEY}), ports)
    assert len(alarms) == 1


@pytest.mark.database
def test_security_is_told_once_and_each_time_is_on_record(fresh_database: None) -> None:
    NotificationChannel.objects.create(name="soc", kind="slack", target="C1")
    agent()
    facts = {"agent": "triage-bot", "findings": [{"rule": "canary", "kind": "secret", "subject": "hr-share"}]}

    async def twice() -> None:
        thread = DatabaseThread("test")
        try:
            await alarm_of_refusal(facts, thread)
            await alarm_of_refusal(facts, thread)
        finally:
            await thread.close()

    asyncio.run(twice())
    assert EventRow.objects.filter(kind="canary.seen").count() == 2
    (notice,) = Notice.objects.all()
    assert (notice.kind, notice.subject) == ("canary", "Canary: hr-share")
    assert "turned up with agent triage-bot" in notice.body["lines"][0]


# -- planting


@pytest.mark.django_db
def test_it_is_made_by_us_and_shown_once(security: Client) -> None:
    wish = {"name": "hr-share", "kind": "aws_key", "planted_in": "the wiki"}
    assert "Only a web address" in str(post(security, "governance_canary_add", **wish, place="example.com").content)
    assert post(security, "governance_canary_add", **wish).status_code == 302
    row = Canary.objects.get()
    assert (row.created_by, row.shown_at) == ("person:sam@example.com", None)
    assert b"AKIA" not in bytes(row.ciphertext)
    page = reverse("show_canary", args=[row.pk])
    assert "AKIA" not in security.get(page).content.decode()
    shown = security.post(page)
    assert "AKIA" in shown.content.decode()
    again = security.post(page)
    assert (again.status_code, "AKIA" in again.content.decode()) == (409, False)
    assert "AKIA" not in security.get(reverse("admin:governance_canary_change", args=[row.pk])).content.decode()
    assert list(EventRow.objects.filter(kind__startswith="canary.").order_by("id").values_list("kind", flat=True)) == [
        "canary.made",
        "canary.shown",
    ]


def test_a_key_is_known_by_either_half_and_a_link_by_what_is_only_its_own() -> None:
    assert {KEY.encode(), SECRET_HALF.encode()} <= set(forms_of("aws_key", f"{KEY}:{SECRET_HALF}"))
    assert not any(b"files.example.com" in form for form in forms_of("url", LINK))


def test_a_manifest_plants_and_does_not_replant() -> None:
    text = "canaries: [{name: bait, kind: email, place: example.com}]"
    (step,) = plan(manifest(text), stored(""), new_values=(), prune=False).steps
    assert (step.kind, step.action) == ("canaries", "create")
    with pytest.raises(Refused, match="what is planted stays as it is"):
        plan(manifest(text.replace("example.com", "example.org")), stored(text), new_values=(), prune=False)
    with pytest.raises(Exception, match="write the domain"):
        manifest("canaries: [{name: bait, kind: email}]")


@pytest.mark.database
def test_it_reaches_the_snapshot_with_the_epoch(fresh_database: None) -> None:
    before = build_snapshot()
    Canary.objects.create(
        name="bait", kind="email", key_id="k", wrapped_key=b"w", ciphertext=b"c", created_at=datetime.now(UTC)
    )
    after = build_snapshot(before)
    assert (after.epoch > before.epoch, [each.name for each in after.canaries]) == (True, ["bait"])
