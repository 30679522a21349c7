"""Credentials of every kind, rotation and emergency rotation, by API and command."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from governance.agent_keys import key_digest
from governance.models import AgentCredential, CredentialUse, RotationTask
from governance.snapshot_builder import build_snapshot
from tests.gateway.calling import Api, it_admin, owner, problem
from tests.gateway.rows import a_key, an_agent
from tests.governance.key_texts import P256_D, P256_JWK, P256_MEMBERS

__all__ = ("owner",)

pytestmark = pytest.mark.django_db


def test_each_kind_is_issued_and_shown_with_what_it_was_used_for(owner: Api) -> None:
    agent = an_agent()
    path = f"agents/{agent.pk}/credentials"

    secret = owner.post(path, {"kind": "client_secret", "label": "nightly job"}).json()
    public = owner.post(path, {"public_key": P256_JWK}).json()
    assert secret["key"].startswith("gate_cs_")
    assert (public["kind"], public["key"]) == ("public_key", None)
    assert not build_snapshot().credentials, "neither is a key that calls tools"

    at = datetime.now(UTC)
    CredentialUse.objects.create(
        credential_id=secret["key_id"], first_used_at=at, last_used_at=at, last_used_from="192.0.2.1", last_client="cli"
    )
    shown = owner.get(f"credentials/{secret['key_id']}").json()
    assert (shown["kind"], shown["label"], shown["last_used_from"]) == ("client_secret", "nightly job", "192.0.2.1")
    assert owner.get(f"credentials/{public['key_id']}").json()["last_used_at"] is None
    assert len(owner.get("credentials?kind=public_key").json()["results"]) == 1


@pytest.mark.parametrize(
    ("wish", "field", "why"),
    [
        ({"public_key": json.dumps({**P256_MEMBERS, "d": P256_D})}, "public_key", "compromised"),
        ({"public_key": "{}"}, "public_key", "Use RSA"),
        ({"kind": "public_key"}, "public_key", "sent along"),
        ({"kind": "key", "public_key": P256_JWK}, "public_key", "sent along"),
        ({"overlap_hours": 1}, "overlap_hours", "rotates"),
        ({"rotates": "00000000-0000-0000-0000-000000000000"}, "rotates", "no live credential"),
    ],
)
def test_what_cannot_be_issued_is_told_by_field(owner: Api, wish: dict[str, Any], field: str, why: str) -> None:
    answer = owner.post(f"agents/{an_agent().pk}/credentials", wish)
    assert answer.status_code in (400, 422)
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert why in error["message"]
    assert P256_D not in answer.content.decode()


def test_a_successor_is_like_what_it_rotates(owner: Api) -> None:
    agent = an_agent()
    path = f"agents/{agent.pk}/credentials"
    old = owner.post(path, {"kind": "client_secret"}).json()["key_id"]
    new = owner.post(path, {"rotates": old, "overlap_hours": 1}).json()

    assert new["kind"] == "client_secret"
    assert owner.get(f"credentials/{new['key_id']}").json()["rotates"] == old
    ends = AgentCredential.objects.get(pk=old).expires_at
    assert ends is not None
    assert ends - datetime.now(UTC) <= timedelta(hours=1)
    problem(owner.post(path, {"rotates": old}), 422, "refused")


def test_an_emergency_is_looked_at_and_then_done() -> None:
    api, key = it_admin(), a_key(an_agent())
    wish = {"agent": "triage-bot", "reason": "leaked"}

    seen = api.post("emergency-rotations", {**wish, "dry_run": True}).json()
    assert (seen["counts"], seen["at"], seen["key"]) == ({"key": 1}, None, None)
    key.refresh_from_db()
    assert key.revoked_at is None

    done = api.post("emergency-rotations", wish, Idempotency_Key="e1").json()
    assert build_snapshot().credentials.keys() == {key_digest(done["key"])}
    again = api.post("emergency-rotations", wish, Idempotency_Key="e1").json()
    assert again == {**done, "key": None}
    assert api.post("emergency-rotations", {"team": "nobody", "reason": "x"}).status_code in (400, 422)
    assert api.post("emergency-rotations", {"agent": "a", "everything": True, "reason": "x"}).status_code in (400, 422)


def test_the_queue_is_settled_once_with_a_word() -> None:
    api, key = it_admin(), a_key(an_agent())
    task = RotationTask.objects.create(
        subject_kind="other", subject_id=key.pk, reason="asked", created_at=key.created_at, due_at=key.created_at
    )
    assert api.post(f"rotation-tasks/{task.pk}/confirm", {}).status_code in (400, 422)
    done = api.post(f"rotation-tasks/{task.pk}/confirm", {"note": "at the vendor"}).json()
    assert (done["state"], done["evidence"]) == ("done", {"confirmed": "at the vendor"})
    problem(api.post(f"rotation-tasks/{task.pk}/drop", {"note": "twice"}), 409, "conflict")
    assert api.get("rotation-tasks?state=open").json()["results"] == []


def issue_key(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("issue_key", "triage-bot", *arguments, "--json", stdout=out)
    shown: dict[str, Any] = json.loads(out.getvalue())
    return shown


def test_the_command_makes_every_kind_and_rotates(tmp_path: Path) -> None:
    an_agent()
    file = tmp_path / "key.json"
    file.write_text(P256_JWK)
    secret = issue_key("--kind", "client_secret", "--label", "nightly")
    assert secret["key"].startswith("gate_cs_")
    assert issue_key("--public-key", str(file))["key"] is None
    new = issue_key("--kind", "client_secret", "--rotates", secret["key_id"])
    assert AgentCredential.objects.get(pk=secret["key_id"]).successors.get().pk.hex == new["key_id"].replace("-", "")
    for wrong in (["--rotates", "nonsense"], ["--public-key", str(tmp_path / "none")]):
        with pytest.raises(CommandError):
            issue_key(*wrong)
    file.write_text(json.dumps({**P256_MEMBERS, "d": P256_D}))
    with pytest.raises(CommandError, match="compromised") as refused:
        issue_key("--public-key", str(file))
    assert P256_D not in str(refused.value)
