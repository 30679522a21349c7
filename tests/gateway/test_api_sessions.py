"""The runs of agents through the API."""

import zipfile
from datetime import timedelta
from io import BytesIO

import pytest

from audit.checkpoint import Signer
from audit.models import EventRow
from audit.tally import count_new_calls
from tests.gateway.calling import Api, owner
from tests.gateway.test_evidence_pages import ARGUMENTS, NOW
from tests.gateway.test_session_pages import RUN, a_run, seal, signer

__all__ = ("owner", "signer")

pytestmark = pytest.mark.django_db
BUNDLE = f"agent-sessions/{RUN}/bundle"


def test_a_session_and_its_lines(owner: Api, signer: Signer) -> None:
    call, refusal = a_run()
    seal(signer)
    count_new_calls()
    (found,) = owner.get("agent-sessions?agent=triage-bot").json()["results"]
    assert (found["id"], found["calls"], found["refused"]) == (str(RUN), 2, 1)
    assert owner.get(f"agent-sessions/{RUN}").json() == found
    later = (NOW + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert owner.get(f"agent-sessions?since={later}").json()["results"] == []
    first, second = owner.get(f"agent-sessions/{RUN}/lines").json()["results"]
    assert (first["call_id"], first["end"]["outcome"]) == (str(call), "ok")
    assert (second["id"], second["end"]) == (str(refusal), None)


def test_lines_come_in_pages(owner: Api) -> None:
    a_run()
    page = owner.get(f"agent-sessions/{RUN}/lines?limit=1").json()
    rest = owner.get(page["next"].partition("/api/v1/")[2]).json()
    assert [line["kind"] for line in (*page["results"], *rest["results"])] == ["call.intent", "call.refused"]
    assert rest["next"] is None


def test_a_bundle_is_recorded_and_holds_payloads_only_for_a_reason(owner: Api, signer: Signer) -> None:
    a_run(sealed=ARGUMENTS)
    assert owner.post(BUNDLE).status_code == 409, "nothing is signed yet"
    seal(signer)
    bare, whole = owner.post(BUNDLE), owner.post(f"{BUNDLE}-with-payloads", {"reason": "For the court, case 17"})
    names = [zipfile.ZipFile(BytesIO(b"".join(each.streaming_content))).namelist() for each in (bare, whole)]
    assert ["payloads.log" in each for each in names] == [False, True]
    assert owner.post(f"{BUNDLE}-with-payloads", {"reason": "why"}).status_code == 400
    assert EventRow.objects.filter(kind="payload.opened").count() == 1


def test_what_is_no_session_is_not_there(owner: Api) -> None:
    assert owner.get(f"agent-sessions/{RUN}/lines").status_code == 404
    assert owner.post(BUNDLE).status_code == 404
