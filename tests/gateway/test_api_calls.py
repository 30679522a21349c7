"""A call through the API: its story, its proof, and what was sealed of it, for a reason on record."""

import base64
from datetime import timedelta
from uuid import uuid4

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.checkpoint import Signer
from audit.merkle import is_included, leaf_hash
from audit.models import Checkpoint, EventRow, Leaf
from audit.sequencer import Sequencer
from gateway.models import IdempotentAnswer
from governance.personal_tokens import SCOPES
from tests.gateway.calling import Api, it_admin, owner, person, problem
from tests.gateway.test_evidence_pages import ARGUMENTS, HOSTILE, NOW, a_call, a_refusal, some_talk

__all__ = ("owner",)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

REASON = "Ticket 4711: was it the blue chair?"


def test_the_story_in_order(owner: Api) -> None:
    call = a_call()

    told = owner.get(f"calls/{call}")

    story = told.json()
    assert [step["title"] for step in story["steps"]] == [
        "Asked", "Decided", "Sent", "Came back", "Changed", "Answered",
    ]  # fmt: skip
    assert (story["id"], story["outcome"], story["is_sealed"]) == (str(call), "ok", False)
    assert story["steps"][1]["rules"][0]["name"] == "refunds v3, rule 2"
    assert owner.get(f"events/{story['events'][0]}").json()["call_id"] == str(call)
    assert owner.get(f"calls/{call}", If_None_Match=told["ETag"]).status_code == 304


def test_what_the_system_asked_back_is_told(owner: Api) -> None:
    call = a_call()
    some_talk(call, elsewhere=a_call())

    story = owner.get(f"calls/{call}").json()

    asked, told = story["steps"][3:5]
    assert [step["title"] for step in story["steps"]] == [
        "Asked", "Decided", "Sent", "Asked back", "Told", "Came back", "Changed", "Answered",
    ]  # fmt: skip
    assert asked["facts"][0]["value"] == "elicitation/create"
    assert told["facts"][0]["value"] == "She went home."
    assert len(story["events"]) == 4
    assert (story["agent"], story["outcome"]) == ("triage-bot", "ok")


def test_a_refused_call_goes_by_the_id_of_its_event(owner: Api) -> None:
    story = owner.get(f"calls/{a_refusal(tool=HOSTILE)}").json()

    assert [step["title"] for step in story["steps"]] == ["Asked", "Decided", "Answered"]
    assert "⟦U+202E⟧" in story["steps"][0]["sentence"]
    problem(owner.get(f"calls/{uuid4()}"), 404, "not_found")


def test_a_proof_holds_elsewhere(owner: Api) -> None:
    call = a_call()
    assert owner.get(f"calls/{call}/proof").json() == {"call": str(call), "proofs": []}
    Sequencer(Signer("gatehouse.test", Ed25519PrivateKey.generate())).advance(NOW, sign_every=timedelta(0))

    proofs = owner.get(f"calls/{call}/proof").json()["proofs"]

    assert len(proofs) == 2
    for proof in proofs:
        leaf = leaf_hash(base64.b64decode(proof["leaf_entry"]))
        path = tuple(bytes.fromhex(node) for node in proof["path"])
        assert is_included(leaf, proof["leaf_index"], proof["tree_size"], bytes.fromhex(proof["root_hash"]), path)


def test_the_log_is_read_in_its_order(owner: Api) -> None:
    a_call()
    Sequencer(Signer("gatehouse.test", Ed25519PrivateKey.generate())).advance(NOW, sign_every=timedelta(0))

    page = owner.get("leaves?limit=1").json()

    (first,) = page["results"]
    assert (first["index"], first["hash"]) == (0, bytes(Leaf.objects.get(index=0).hash).hex())
    assert owner.get("leaves?since=1&limit=1").json()["results"][0]["index"] == 1
    assert page["next"]
    assert owner.get(f"leaves?event_id={first['event_id']}").json()["results"] == [first]
    assert owner.get("checkpoints").json()["results"][0]["size"] == Checkpoint.objects.latest("size").size


def test_what_was_sealed_is_opened_for_a_reason(owner: Api) -> None:
    call = a_call(sealed=ARGUMENTS)

    opened = owner.post(f"calls/{call}/payloads", {"reason": REASON}, Idempotency_Key="k")
    again = owner.post(f"calls/{call}/payloads", {"reason": REASON}, Idempotency_Key="k")

    (payload,) = opened.json()["payloads"]
    assert (payload["body"], payload["problem"]) == (ARGUMENTS.decode(), "")
    event = EventRow.objects.get(kind="payload.opened")
    details = orjson.loads(bytes(event.header))["details"]
    assert (event.actor, details["reason"], details["token"]) == (
        "person:owner@example.com", REASON, owner.row.hint,
    )  # fmt: skip
    assert again.json() == {"call": str(call), "payloads": None}
    assert b"blue chair" not in bytes(IdempotentAnswer.objects.get().body)


@pytest.mark.parametrize("body", [{}, {"reason": "short"}, {"reason": "x" * 501}])
def test_without_a_reason_nothing_is_opened(owner: Api, body: dict[str, str]) -> None:
    problem(owner.post(f"calls/{a_call(sealed=ARGUMENTS)}/payloads", body), 400, "invalid_input")

    assert not EventRow.objects.filter(kind="payload.opened").exists()


def test_opening_takes_its_own_duty_and_its_own_scope() -> None:
    path = f"calls/{a_call(sealed=ARGUMENTS)}/payloads"
    ira = person("ira@example.com", "auditor")

    problem(it_admin().post(path, {"reason": REASON}), 403, "permission_denied")
    others = [scope for scope in SCOPES if scope != "payloads:open"]
    told = problem(Api(ira, scopes=others).post(path, {"reason": REASON}), 403, "missing_scope")
    assert "payloads:open" in told["detail"]
    assert Api(ira, scopes=["payloads:open"]).post(path, {"reason": REASON}).status_code == 200
