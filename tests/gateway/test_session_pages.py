"""The page of one session: its timeline, what stays sealed without a reason, and the bundle that leaves the house."""

import io
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client
from django.urls import reverse

from audit import auditverify
from audit.checkpoint import Signer
from audit.event import uuid7
from audit.models import AgentSession, EventRow
from audit.record import record
from audit.sequencer import Sequencer
from audit.tally import count_anew, count_new_calls
from gateway import session_bundles
from gateway.session_story import PER_PAGE, page_of
from tests.gateway.signing_in import sign_in
from tests.gateway.test_evidence_pages import ARGUMENTS, HOSTILE, NOW, RULE, a_call, a_refusal, an_event

pytestmark = [pytest.mark.django_db, pytest.mark.database]

RUN = UUID("4b9c1c3e-7c57-8d3a-9f5e-0123456789ab")


def a_run(*, sealed: bytes = b"") -> tuple[UUID, UUID]:
    """A call and a refusal of one session."""
    call = a_call(session=RUN, sealed=sealed)
    return call, a_refusal(session=RUN, id=uuid7(int(NOW.timestamp() * 1000) + 2000), at=NOW + timedelta(seconds=2))


def page(client: Client, **query: object) -> str:
    answer = client.get(reverse("session_page", args=[RUN]), query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def seal(signer: Signer) -> None:
    Sequencer(signer).advance(NOW, sign_every=timedelta(0))


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> Signer:
    signer = Signer("gatehouse.test/audit", Ed25519PrivateKey.generate())
    monkeypatch.setattr(session_bundles, "installation_verifier", lambda: signer.verifier)
    return signer


def test_the_timeline_tells_each_call_with_its_time_since_the_beginning() -> None:
    call, refusal = a_run()
    a_call(session=uuid4(), tool="of_another_session")
    text = page(sign_in("auditor"))
    assert "of_another_session" not in text
    assert text.index(str(call)) < text.index(str(refusal))
    assert RULE["reason"] in text
    assert "+0:02.000" in text
    assert "Refused" in text


def test_what_else_happened_stands_between_the_calls() -> None:
    call, _ = a_run()
    told = {"call": str(call), "problem": "timed_out"}
    record(an_event("call.told", id=uuid7(int(NOW.timestamp() * 1000) + 1), session=RUN, details=told))
    record(an_event("tools.listed", id=uuid7(int(NOW.timestamp() * 1000) - 9), session=RUN, details={"tools": 3}))
    text = page(sign_in("auditor"))
    assert (
        text.index("Tools: listed") < text.index("ticket_get") < text.index("timed_out") < text.index("ticket_delete")
    )


def test_what_agents_chose_is_shown_and_never_obeyed() -> None:
    a_refusal(session=RUN, tool=HOSTILE)
    text = page(sign_in("auditor"))
    assert "<script>alert(1)" not in text
    assert "⟦U+202E⟧" in text


def test_what_rules_masked_is_told_by_place() -> None:
    place = {"rule": "no-mail", "path": "$.customer.email", "count": 2}
    a_call(session=RUN, details={"masked": [], "masked_fields": [place]})
    assert "$.customer.email (2)" in page(sign_in("auditor"))


def test_a_long_session_pages_by_key_and_a_link_leads_to_one_step() -> None:
    ms = int(NOW.timestamp() * 1000)
    ids = [a_refusal(session=RUN, id=uuid7(ms + n), tool=f"tool_{n}") for n in range(PER_PAGE + 3)]
    first = page_of(RUN)
    assert first is not None
    assert [len(first.entries), first.newer, first.older] == [PER_PAGE, ids[PER_PAGE], None]
    second = page_of(RUN, start=ids[PER_PAGE])
    assert second is not None
    assert ([entry.id for entry in second.entries], second.older) == (ids[PER_PAGE:], ids[0])
    text = page(sign_in("auditor"), at=ids[-1])
    assert f"tool_{PER_PAGE + 2}" in text
    assert f"tool_{PER_PAGE + 1}" not in text


def test_a_page_of_fifty_calls_asks_no_more_than_one_of_two(django_assert_max_num_queries: Any) -> None:
    for n in range(PER_PAGE):
        a_call(session=RUN, at=NOW + timedelta(milliseconds=10 * n))
    with django_assert_max_num_queries(6):
        shown = page_of(RUN)
    assert shown is not None
    assert all(entry.story and entry.story.end for entry in shown.entries)


def test_no_session_no_page_and_nonsense_in_the_address_is_the_beginning() -> None:
    client = sign_in("auditor")
    assert client.get(reverse("session_page", args=[RUN])).status_code == 404
    a_run()
    assert "ticket_get" in page(client, at="nonsense")
    assert "Nothing after this moment" in page(client, at=uuid7(int(NOW.timestamp() * 1000) + 90_000))


def opened(client: Client, reason: str) -> Any:
    return client.post(reverse("open_session", args=[RUN]), {"reason": reason})


def test_one_reason_opens_a_page_and_its_record_names_all_calls() -> None:
    call, refusal = a_run(sealed=ARGUMENTS)
    client = sign_in("auditor")
    assert "blue chair" not in page(client)
    text = opened(client, "Complaint 17 of a customer").content.decode()
    assert "blue chair" in text
    told = orjson.loads(bytes(EventRow.objects.get(kind="payload.opened").header))["details"]
    assert told["subject"] == f"session:{RUN}"
    assert told["reason"] == "Complaint 17 of a customer"
    assert told["calls"] == sorted([str(call), str(refusal)])


def test_without_a_reason_nothing_is_opened() -> None:
    a_run(sealed=ARGUMENTS)
    answer = opened(sign_in("auditor"), "because")
    assert answer.status_code == 400
    assert "blue chair" not in answer.content.decode()
    assert not EventRow.objects.filter(kind="payload.opened").exists()


def bundle(client: Client, **form: str) -> Any:
    return client.post(reverse("session_bundle", args=[RUN]), form)


def verified(answer: Any, signer: Signer, folder: Path) -> tuple[zipfile.ZipFile, str]:
    """By the verifier, alone."""
    file = folder / "session.zip"
    file.write_bytes(b"".join(answer.streaming_content))
    words = [sys.executable, "-I", auditverify.__file__, "bundle", str(file), "--key", str(signer.verifier)]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return zipfile.ZipFile(io.BytesIO(file.read_bytes())), told.stdout


def test_the_bundle_is_verified_by_one_file_and_holds_no_payloads(signer: Signer, tmp_path: Path) -> None:
    a_run(sealed=ARGUMENTS)
    a_call(session=uuid4(), tool="of_another_session")
    seal(signer)
    archive, told = verified(bundle(sign_in("auditor")), signer, tmp_path)
    assert "sound: 3 events" in told
    assert "payloads.log" not in archive.namelist()
    assert b"of_another_session" not in archive.read("events.log")
    assert EventRow.objects.filter(kind="session.exported").count() == 1
    assert not EventRow.objects.filter(kind="payload.opened").exists()


def test_with_a_reason_the_payloads_go_along_and_are_bound_to_their_events(signer: Signer, tmp_path: Path) -> None:
    a_run(sealed=ARGUMENTS)
    seal(signer)
    answer = bundle(sign_in("auditor"), **{"bundle-reason": "For the court, case 17"})
    archive, told = verified(answer, signer, tmp_path)
    assert "1 payloads" in told
    assert archive.read("payloads.log").count(b"\n") == 1
    assert EventRow.objects.filter(kind="payload.opened").count() == 1


def test_what_is_not_signed_yet_is_left_out_and_nothing_signed_is_no_bundle(signer: Signer, tmp_path: Path) -> None:
    a_refusal(session=RUN)
    client = sign_in("auditor")
    assert bundle(client).status_code == 400
    seal(signer)
    a_refusal(session=RUN)
    archive, told = verified(bundle(client), signer, tmp_path)
    assert "sound: 1 events" in told
    assert b"1 newer events" in archive.read("README.txt")


def test_a_session_is_summed_up_once_and_again_the_same(signer: Signer) -> None:
    a_run()
    a_call(session=RUN, outcome="failed", at=NOW + timedelta(seconds=5))
    a_call(session=None)
    seal(signer)
    for again in (False, True):
        if again:
            count_anew()
        count_new_calls()
        (found,) = AgentSession.objects.all()
        assert (found.id, found.agent, found.calls, found.refused, found.failed) == (RUN, "triage-bot", 3, 1, 1)
        assert found.last_at == NOW + timedelta(seconds=5)
    assert str(RUN) in sign_in("auditor").get(reverse("admin:audit_agentsession_changelist")).content.decode()


def test_the_evidence_list_finds_a_session() -> None:
    a_run()
    a_call(session=uuid4(), tool="of_another_session")
    rows = sign_in("auditor").get(reverse("admin:audit_eventrow_changelist"), {"session": str(RUN)})
    assert [row.kind for row in rows.context["cl"].result_list] == ["call.refused", "call.intent"]
