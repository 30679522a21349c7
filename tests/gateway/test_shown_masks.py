"""Masked and original side by side: who sees it, what is on record before, and what is gone."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from audit.event import uuid7
from audit.models import EventRow
from gateway import actions, shown_masks
from gateway.erasing import erase_person
from gateway.mask_vault import MaskVault, Reader, Wanted
from gateway.models import MaskedValue
from governance.inspection.tokens import Value
from governance.models import SubjectKey, User
from governance.payload_keys import destroy_keys
from governance.vault import keyring
from tests.gateway.signing_in import TOO_LONG, is_asked_again, let_time_pass, sign_in
from tests.gateway.test_evidence_pages import a_call
from tests.gateway.test_mask_vault import Inline, now

pytestmark = pytest.mark.django_db

RUN = UUID(int=5)
HOSTILE = "<script>alert(1)</script>\u202e{{ 7 * 7 }}"
PII = (("personal_data",),)
MAIL = Value("EMAIL", "email", PII, "ana.lima@corp.example")
NAME = Value("NAME", "name", PII, HOSTILE)
REASON = "The customer disputes the refund"


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana@example.com")


@pytest.fixture
def tokens(ana: User) -> dict[Value, str]:
    inline: Any = Inline()
    vault = MaskVault(inline, inline, keyring())
    wanted = [Wanted(MAIL, 0), Wanted(NAME, 0)]
    kept: dict[Value, str] = now(vault.keep(Reader(UUID(int=7).hex, ana.pk.hex, RUN), wanted, retention="standard"))
    return kept


def a_masked_call(*texts: str, session: UUID = RUN) -> UUID:
    body = {"note": " and ".join(texts), "colour": "blue chair"}
    return a_call(sealed=orjson.dumps(body), session=session)


@pytest.fixture
def call(tokens: dict[Value, str]) -> UUID:
    return a_masked_call(*tokens.values())


@pytest.fixture
def security() -> Client:
    return sign_in("security")


def shown(client: Client, call: UUID, reason: str = REASON) -> Any:
    return client.post(reverse("show_masks", args=[call]), {"reason": reason})


def told(kind: str = "masks.shown") -> list[dict[str, Any]]:
    headers = EventRow.objects.filter(kind=kind).values_list("header", flat=True)
    return [orjson.loads(bytes(header)) for header in headers]


def test_each_token_stands_beside_its_value_and_the_record_has_no_value(security: Client, call: UUID) -> None:
    page = security.get(reverse("show_masks", args=[call]))
    assert (page.status_code, MAIL.text in page.content.decode(), told()) == (200, False, [])
    answer = shown(security, call)
    text = answer.content.decode()
    assert text.index("[EMAIL#1~") < text.index(MAIL.text)
    assert "blue chair" not in text
    assert "no-store" in answer["Cache-Control"]
    (record,) = told()
    assert record["details"] == {
        "subject": f"call:{call}",
        "reason": REASON,
        "agent": "triage-bot",
        "tool": "ticket_get",
        "tokens": ["EMAIL#1", "NAME#1"],
    }
    assert record["actor"] == "person:noor@example.com"
    assert not told("payload.opened")
    shown(security, call)
    assert len(told()) == 2


def test_the_whole_text_is_there_for_who_may_open_it_too_and_that_is_on_record(call: UUID) -> None:
    text = shown(sign_in("security", "auditor"), call).content.decode()
    assert "blue chair" in text
    assert MAIL.text in text
    assert [each["details"]["reason"] for each in (*told(), *told("payload.opened"))] == [REASON, REASON]


@pytest.mark.parametrize("duty", ["it-admin", "approver", "auditor"])
def test_who_may_open_the_text_may_not_see_what_is_behind_its_masks(duty: str, call: UUID) -> None:
    client = sign_in(duty)
    answers = [shown(client, each) for each in (call, uuid7())]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].content.replace(str(call).encode(), b"") == answers[1].content.replace(
        answers[1].request["PATH_INFO"].split("/")[3].encode(), b""
    )
    assert told() == []


def test_a_stale_sign_in_or_no_reason_shows_nothing(security: Client, call: UUID) -> None:
    assert shown(security, call, reason="because").status_code == 400
    let_time_pass(security, TOO_LONG)
    answer = shown(security, call)
    assert is_asked_again(answer)
    assert REASON in answer.content.decode()
    assert MAIL.text not in answer.content.decode()
    assert told() == []


def test_without_a_record_nothing_is_shown(security: Client, call: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(**_: Any) -> Any:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(actions, "recorder", down)
    looked_up: list[Any] = []
    monkeypatch.setattr(shown_masks, "originals_in", lambda *asked: looked_up.append(asked) or {})
    answer = shown(security, call)
    assert answer.status_code == 503
    assert MAIL.text not in answer.content.decode()
    assert looked_up == []


def _erase(ana: User) -> None:
    erase_person(ana, reason="She asked for it.", by="person:noor@example.com")


def _expire(ana: User) -> None:
    MaskedValue.objects.update(keep_until=datetime.now(UTC))


def _swept(ana: User) -> None:
    MaskedValue.objects.all().delete()


@pytest.mark.parametrize("end", [_erase, _expire, _swept], ids=["erased", "expired", "swept"])
def test_what_is_gone_is_told_as_gone(end: Any, security: Client, call: UUID, ana: User) -> None:
    end(ana)
    text = shown(security, call).content.decode()
    assert text.count(">Gone<") == 2
    assert MAIL.text not in text
    assert told()[0]["details"]["tokens"] == []


def test_with_its_key_a_value_is_gone(security: Client, tokens: dict[Value, str]) -> None:
    call = a_masked_call(*tokens.values())
    destroy_keys(
        SubjectKey.objects.filter(pk__in=MaskedValue.objects.values("key_id")), cause="expired", now=datetime.now(UTC)
    )
    text = shown(security, call).content.decode()
    assert text.count(">Gone<") == 2
    assert MAIL.text not in text


def test_tokens_of_other_sessions_and_made_up_ones_are_gone_and_leave_no_name(
    security: Client, tokens: dict[Value, str]
) -> None:
    text = shown(security, a_masked_call("[EMAIL#1~aaaaaaaa]", "[sk_live_0123456789#1~aaaaaaaa]")).content.decode()
    assert MAIL.text not in text
    assert "sk_live" not in str(told())
    elsewhere = shown(security, a_masked_call(tokens[MAIL], session=UUID(int=6))).content.decode()
    assert (elsewhere.count(">Gone<"), MAIL.text in elsewhere) == (1, False)


def test_hostile_text_is_harmless(security: Client, call: UUID) -> None:
    text = shown(security, call).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;⟦U+202E⟧{{ 7 * 7 }}" in text
    assert "<script>alert" not in text


def test_only_so_many_are_looked_for(security: Client, call: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_masks, "MOST_TOKENS", 1)
    text = shown(security, call).content.decode()
    assert "1 more are not looked up." in text
    assert told()[0]["details"]["tokens"] == ["EMAIL#1"]


def test_what_is_no_call_is_not_there(security: Client) -> None:
    assert security.get(reverse("show_masks", args=[uuid7()])).status_code == 404
    assert shown(security, uuid7()).status_code == 404
    refused = a_call(session=RUN)
    assert "Nothing was kept" in shown(security, refused).content.decode()
