"""Evidence reports through the command, the worker and the screen, checked by the verifier that auditors get."""

import csv
import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from audit.checkpoint import InstallationKeys, installation_signer
from audit.event import AuditEvent
from audit.kinds import KINDS
from audit.models import EventRow
from audit.record import record
from audit.sequencer import Sequencer
from gateway import offboardings
from gateway.actions import act
from gateway.compliance.keeping import make_due
from gateway.compliance.lines import Line
from gateway.compliance.packs import PACKS
from gateway.compliance.sections import SECTIONS
from gateway.models import Report
from governance.facts import Fact
from governance.fence.actor import governed_change
from governance.models import Agent, Bundle, BundleTool, Connector, Role, Team, User
from governance.offboarding import Plan
from tests.audit.writing import seal
from tests.gateway.signing_in import sign_in

pytestmark = pytest.mark.django_db

IT = "person:noor@example.com"
HOSTILE = '=HYPERLINK("http://evil.example","<b>click</b>")'


@pytest.fixture(autouse=True)
def _log(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_SIGNING_KEY_FILE = tmp_path / "key"
    settings.PUBLIC_URL = "https://gw.corp.example"


@pytest.fixture
def triage_bot() -> Agent:
    """Holds `support` by a role; its owner does so by her team's parent."""
    with governed_change(by=IT):
        support = Team.objects.create(name="support")
        ana = User.objects.create_user("ana@example.com", name="Ana Lima")
        ana.teams.add(Team.objects.create(name="support-leads", parent=support))
        bundle = Bundle.objects.create(name="support")
        helpdesk = Connector.objects.create(name="helpdesk", urls=["https://helpdesk.example.com/mcp"])
        version = bundle.versions.create(number=1, state="published", created_by=IT)
        BundleTool.objects.create(version=version, connector=helpdesk, allow=["ticket_*"], deny=["ticket_delete"])
        role = Role.objects.create(name="support-agent")
        role.bundles.add(bundle)
        role.teams.add(support)
        agent = Agent.objects.create(name="triage-bot", owner=ana, purpose=HOSTILE)
        role.agents.add(agent)
    return agent


def report(pack: str, folder: Path, **options: Any) -> Path:
    seal(installation_signer(), now=datetime.now(UTC))
    call_command("report", pack, **{"since": "2026-01-01", "out": folder, **options})
    return folder


def lines_of(folder: Path, section: str) -> list[dict[str, str]]:
    with (folder / "lines" / f"{section}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def verified(folder: Path, *, key: str = "") -> tuple[int, str]:
    words = [folder / "auditverify.py", "bundle", folder, "--key", key or str(installation_signer().verifier)]
    done = subprocess.run(
        [sys.executable, "-I", *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.database
def test_its_leaf_links_verify_and_a_line_that_rests_on_nothing_does_not(triage_bot: Agent, tmp_path: Path) -> None:
    folder = report("soc2", tmp_path / "out")
    code, told = verified(folder)
    assert (code, "sound: " in told) == (0, True), told
    table = folder / "lines" / "access.csv"
    table.write_text(table.read_text().replace("role support-agent", "role nobody", 1))
    assert verified(folder)[0] == 0, "words are no proof, and the verifier says that it does not check them"
    leaf = lines_of(folder, "access")[0]["leaf_hash"]
    table.write_text(table.read_text().replace(leaf, "00" * 32, 1))
    code, told = verified(folder)
    assert (code, "lines/access.csv, record" in told) == (1, True), told


def test_an_event_that_was_edited_leads_to_no_signed_root(triage_bot: Agent, tmp_path: Path) -> None:
    folder = report("soc2", tmp_path / "out")
    events = folder / "events.log"
    events.write_bytes(events.read_bytes().replace(b"triage-bot", b"forged-bot"))
    assert verified(folder)[0] == 1


def test_whoever_holds_an_older_key_of_the_log_can_check_a_report(triage_bot: Agent, tmp_path: Path) -> None:
    seal(installation_signer(), now=datetime.now(UTC))
    older = installation_signer().verifier
    call_command("rotate", "--signing-key", verbosity=0)
    Sequencer(installation_signer(), InstallationKeys()).advance(datetime.now(UTC), sign_every=timedelta(0))
    act(lambda record, _: record(Fact("hold.set", "under the new key alone", {})), by=IT)
    folder = report("soc2", tmp_path / "out")
    assert installation_signer().verifier != older
    code, told = verified(folder, key=str(older))
    assert (code, "sound: " in told) == (0, True), told
    (folder / "rotations.jsonl").unlink()
    assert verified(folder, key=str(older))[0] == 1


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        ("audit.subject_erased", "erasures"),
        ("audit.pruned", "erasures"),
        ("hold.set", "erasures"),
        ("signing_key.rotated", "keys"),
    ],
)
def test_what_auditors_look_for_stands_in_its_section(kind: str, section: str, tmp_path: Path) -> None:
    act(lambda record, _: record(Fact(kind, "person:ana@example.com", {})), by=IT)
    pack = next(each.key for each in PACKS.values() if section in each.sections)
    folder = report(pack, tmp_path / "out")
    assert KINDS[kind] in (folder / "lines" / f"{section}.csv").read_text()


@pytest.mark.database
def test_access_is_told_as_it_stood_at_each_end(triage_bot: Agent, tmp_path: Path) -> None:
    """Given before the period, taken in it: it is there at the beginning and not at the end."""
    between = datetime.now(UTC)
    with governed_change(by=IT):
        Agent.objects.get(name="triage-bot").roles.clear()
    folder = report("soc2", tmp_path / "out", since=between.isoformat())
    told = [(line["as of (UTC)"], line["who"], line["tools"]) for line in lines_of(folder, "access")]
    tools = "helpdesk: ticket_* (not ticket_delete)"
    began = min(at for at, *_ in told)
    assert began[:16] == f"{between:%Y-%m-%d %H:%M}"
    assert told.count((began, "agent:triage-bot", tools)) == 1
    assert sum(who == "agent:triage-bot" for _, who, _ in told) == 1
    assert sum(who == "person:ana@example.com" for _, who, _ in told) == 2
    changes = [line for line in lines_of(folder, "access-changes") if line["what"] == "role agents: delete"]
    assert [line["by"] for line in changes] == [IT]


def test_who_may_administer_is_told(tmp_path: Path) -> None:
    with governed_change(by="command:root"):
        User.objects.create_superuser("owner@example.com")
        User.objects.create_user("left@example.com", duties=["security"], is_active=False)
    folder = report("iso27001", tmp_path / "out")
    assert [(line["who"], line["duties"]) for line in lines_of(folder, "duties")] == [
        ("person:owner@example.com", "owner")
    ]


def test_what_happened_is_in_its_section(triage_bot: Agent, tmp_path: Path) -> None:
    approved = {"request": "APR-7", "tool": "helpdesk/billing_refund", "approval_digest": "ab" * 32, "note": "fine"}
    act(lambda record, _: record(Fact("approval.approved", "agent:triage-bot", approved)), by="person:lee@example.com")
    kept = Fact("access_review.kept", "agent:triage-bot", {"reason": "needed"})
    act(lambda record, _: record(kept), by="person:lee@example.com")
    offboardings.begin_offboarding(triage_bot.owner, plan=Plan(), by=IT)
    now = datetime.now(UTC)
    record(AuditEvent(kind="call.refused", at=now, actor="agent:triage-bot", agent="triage-bot", outcome="refused"))
    folder = report("soc2", tmp_path / "out")
    (approval,) = lines_of(folder, "approvals")
    assert (approval["by"], approval["asked by"]) == ("person:lee@example.com", "agent:triage-bot")
    assert approval["digest of exactly what"] == "ab" * 32
    assert [line["details"] for line in lines_of(folder, "access-reviews")] == ["reason: needed"]
    assert any("ana@example.com" in line["about"] for line in lines_of(folder, "offboardings"))
    assert [line["agent"] for line in lines_of(folder, "denied")] == ["triage-bot"]


def test_cells_that_a_spreadsheet_would_run_are_kept_from_it(triage_bot: Agent, tmp_path: Path) -> None:
    note = {"subject": HOSTILE, "note": HOSTILE}
    act(lambda record, _: record(Fact("freeze.set", HOSTILE, note)), by=IT)
    folder = report("soc2", tmp_path / "out")
    cells = [cell for table in PACKS["soc2"].sections for line in lines_of(folder, table) for cell in line.values()]
    assert sum(cell.startswith("'=HYPERLINK") for cell in cells) == 1
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]


def test_everything_about_one_person_under_every_address_she_had(triage_bot: Agent, tmp_path: Path) -> None:
    act(lambda record, _: record(Fact("person.signed_in", "person:ana@example.com")), by="person:ana@example.com")
    with governed_change(by=IT):
        User.objects.filter(email="ana@example.com").update(email="ana.lima@example.com")
    act(lambda record, _: record(Fact("person.signed_out", "person:ana.lima@example.com")), by=IT)
    folder = report("gdpr", tmp_path / "out", person="ana.lima@example.com")
    told = [line["what"] for line in lines_of(folder, "person")]
    assert {"Person: signed in", "Person: signed out", "user: update"} <= set(told)
    assert len(lines_of(folder, "person")) == len({line["event_id"] for line in lines_of(folder, "person")})
    assert not (report("gdpr", tmp_path / "other") / "lines" / "person.csv").exists()


def test_only_what_is_under_the_checkpoint_is_told(triage_bot: Agent, tmp_path: Path) -> None:
    seal(installation_signer(), now=datetime.now(UTC))
    act(lambda record, _: record(Fact("freeze.set", "everything")), by=IT)
    call_command("report", "soc2", since="2026-01-01", out=tmp_path / "out")
    assert lines_of(tmp_path / "out", "incidents") == []
    assert json.loads((tmp_path / "out" / "bundle.json").read_text())["report"]["unsigned"] >= 1


def test_a_section_that_is_too_long_says_so(
    triage_bot: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.compliance.making.MOST_LINES", 2)
    folder = report("soc2", tmp_path / "out")
    assert "access-changes: cut after 2 lines" in capsys.readouterr().err
    assert "access-changes" in json.loads((folder / "bundle.json").read_text())["report"]["cut"]
    assert verified(folder)[0] == 0


@pytest.mark.parametrize("pack", sorted(PACKS))
def test_each_pack_makes_a_paper(pack: str, triage_bot: Agent, tmp_path: Path) -> None:
    folder = report(pack, tmp_path / "out", person="ana@example.com")
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    for control in PACKS[pack].controls:
        assert set(control.sections) <= SECTIONS.keys()
        assert control.shows
        assert control.does_not


def test_there_is_no_line_without_a_leaf() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        Line(("who", "what"), ())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"since": "soon"}, "is no time"),
        ({"until": "2025-12-31"}, "ends before it begins"),
        ({"until": "2999-01-01"}, "ends in the future"),
        ({"person": "nobody@example.com"}, "no person"),
    ],
)
def test_a_period_that_cannot_be_is_refused(options: dict[str, str], why: str, tmp_path: Path) -> None:
    seal(installation_signer(), now=datetime.now(UTC))
    with pytest.raises(CommandError, match=why):
        report("soc2", tmp_path / "out", **options)


def asked_by(auditor: Client, **fields: str) -> Any:
    now = datetime.now(UTC)
    typed = {"pack": "soc2", "since": f"{now - timedelta(days=1):%Y-%m-%d}", "until": f"{now:%Y-%m-%dT%H:%M:%S}"}
    return auditor.post("/admin/reports/", {**typed, **fields})


def test_it_is_made_in_the_background_and_taken_along_with_a_record(triage_bot: Agent, tmp_path: Path) -> None:
    auditor = sign_in("auditor", email="aud@example.com")
    seal(installation_signer(), now=datetime.now(UTC))
    answer = asked_by(auditor)
    assert answer.status_code == 302
    assert "Waiting" in auditor.get(answer.url).text
    assert auditor.post(f"{answer.url}report.zip").status_code == 404
    assert make_due() == 1
    assert "lines" in auditor.get(answer.url).text
    taken = auditor.post(f"{answer.url}report.zip")
    (tmp_path / "taken.zip").write_bytes(b"".join(taken.streaming_content))
    with zipfile.ZipFile(tmp_path / "taken.zip") as packed:
        packed.extractall(tmp_path / "taken")
    code, told = verified(tmp_path / "taken")
    assert code == 0, told
    kinds = EventRow.objects.filter(kind__startswith="report.").order_by("id").values_list("kind", "actor")
    by = "person:aud@example.com"
    assert list(kinds) == [("report.asked", by), ("report.made", by), ("report.taken", by)]


def test_one_that_cannot_be_made_says_why() -> None:
    auditor = sign_in("auditor", email="aud@example.com")
    answer = asked_by(auditor)
    make_due()
    assert "Nothing is under a signature yet" in auditor.get(answer.url).text
    assert Report.objects.get().state == "failed"


def test_a_wish_that_cannot_be_is_shown_again() -> None:
    auditor = sign_in("auditor", email="aud@example.com")
    answer = asked_by(auditor, until="2999-01-01")
    assert (answer.status_code, "ends in the future" in answer.text) == (400, True)
    assert not Report.objects.exists()
