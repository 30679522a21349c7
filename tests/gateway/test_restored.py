"""A database in whose place there was a newer one: nothing is signed and nobody calls until somebody confirms it."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from audit.checkpoint import InstallationKeys, installation_signer
from audit.models import Checkpoint, EventRow, Leaf
from audit.newest_signed import NewestSigned, newest_signed
from audit.sequencer import LogDamaged, OtherDatabase, Sequencer
from gateway import actions
from gateway.evidence_alarms import look
from gateway.evidence_health import read_health
from gateway.models import Notice
from gateway.restored import BY, hold_if_anchors_know_better, hold_if_other_database
from governance.freezes import FreezeTarget
from governance.models import Anchor, Freeze, NotificationChannel
from tests.audit.writing import lower_guards, record_call
from tests.gateway.calling import it_admin, problem, security
from tests.gateway.signing_in import sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def _signed(settings: Settings, tmp_path: Path) -> None:
    """Two checkpoints, both signed here."""
    settings.AUDIT_SIGNING_KEY_FILE = tmp_path / "key"
    settings.PUBLIC_URL = "https://gw.corp.example"
    NotificationChannel.objects.create(name="ops", kind="webhook", url="https://ops.example/hook")
    running = sequencer()
    for _ in range(2):
        record_call()
        seal(running)


def sequencer() -> Sequencer:
    return Sequencer(installation_signer(), InstallationKeys(), newest_signed())


def seal(running: Sequencer) -> None:
    running.advance(timezone.now(), sign_every=timedelta(0))


def cut_back() -> None:
    """As if the backup of before the last checkpoint had been put back."""
    first = Checkpoint.objects.earliest("size")
    for table in ("audit_event", "audit_leaf", "audit_checkpoint"):
        lower_guards(table)
    EventRow.objects.filter(id__in=Leaf.objects.filter(index__gte=first.size).values("event_id")).delete()
    Leaf.objects.filter(index__gte=first.size).delete()
    Checkpoint.objects.filter(size__gt=first.size).delete()


def freezes() -> int:
    return Freeze.objects.filter(created_by=BY, lifted_at=None).count()


def kept_aside() -> list[str]:
    key = newest_signed()._path
    return [path.name for path in key.parent.iterdir() if "before-restore" in path.name]


def test_the_database_that_was_signed_is_gone_on_with() -> None:
    assert newest_signed().contradicts() == ""
    assert not hold_if_other_database()
    seal(sequencer())
    assert freezes() == 0


def test_an_older_one_is_frozen_and_not_signed_until_somebody_lifts_the_freeze() -> None:
    size = Checkpoint.objects.latest("size").size
    cut_back()
    signed = Checkpoint.objects.count()
    with pytest.raises(OtherDatabase, match="holds"):
        seal(sequencer())
    assert hold_if_other_database()
    assert hold_if_other_database()
    assert freezes() == 1, "each process that starts notices it; one freeze says it"
    assert f"a checkpoint of {size} was signed here" in Freeze.objects.get(created_by=BY).reason
    assert Notice.objects.filter(subject="Evidence needs you").exists()
    assert "older:signed" in dict(read_health(timezone.now()).troubles())
    assert look(timezone.now()) >= 1
    with pytest.raises(OtherDatabase):
        seal(sequencer())
    assert Checkpoint.objects.count() == signed

    assert actions.unfreeze(FreezeTarget(), by="person:olga@example.com") == 1
    assert not hold_if_other_database()
    assert kept_aside() == [f"key.newest.before-restore-{size}"], "whoever asks later can see what was lost"
    seal(sequencer())
    assert newest_signed().contradicts() == ""
    assert freezes() == 0
    lifted = EventRow.objects.get(kind="freeze.lifted")
    assert lifted.actor == "person:olga@example.com"


def test_only_who_changes_anchors_confirms_another_database() -> None:
    cut_back()
    assert hold_if_other_database()
    freeze = Freeze.objects.get(created_by=BY)
    it = it_admin()
    assert (
        "evidence set it" in problem(it.post(f"freezes/{freeze.pk}/lift"), 403, "permission_denied")["detail"].lower()
    )
    chosen = {"action": "lift", "_selected_action": [str(freeze.pk)], "confirmed": "yes"}
    client = sign_in("it-admin", email="ira@example.com")
    answer = client.post(reverse("admin:governance_freeze_changelist"), chosen, follow=True)
    assert "Evidence set it" in answer.content.decode()
    with pytest.raises(CommandError):
        call_command("unfreeze", "--everything", "--actor", it.person.email)
    assert freezes() == 1
    call_command("unfreeze", "--everything", "--actor", security().person.email)
    assert freezes() == 0


def test_one_that_went_on_by_itself_is_another_one() -> None:
    """As long as the lost one, or longer: only the roots differ."""
    cut_back()
    for _ in range(3):
        record_call()
        Sequencer(installation_signer()).advance(timezone.now(), sign_every=timedelta(0))
    with pytest.raises(OtherDatabase, match="not the one of which"):
        seal(sequencer())


def test_a_running_sequencer_notices_as_well(settings: Settings) -> None:
    running = sequencer()
    seal(running)
    record_call()
    seal(running)
    cut_back()
    with pytest.raises(LogDamaged, match="shrank"):
        seal(running)
    running.forget()
    with pytest.raises(OtherDatabase):
        seal(running)


def test_a_damaged_note_is_no_permission() -> None:
    newest_signed()._path.write_text("gw.corp")
    assert hold_if_other_database()
    assert freezes() == 1


def test_where_nothing_is_known_nothing_is_held_against_it() -> None:
    newest_signed()._path.unlink()
    cut_back()
    assert not hold_if_other_database()
    seal(sequencer())
    assert newest_signed().contradicts() == ""


def test_an_older_note_that_comes_late_changes_nothing(tmp_path: Path) -> None:
    first, last = Checkpoint.objects.earliest("size"), Checkpoint.objects.latest("size")
    newest = NewestSigned(tmp_path / "newest")
    newest.keep(last.note)
    newest.keep(first.note)
    assert (tmp_path / "newest").read_text() == last.note
    assert [path.name for path in tmp_path.glob("newest*")] == ["newest"], "nothing half-written stays"


def test_anchors_that_know_better_freeze_as_well_and_are_believed_once() -> None:
    Anchor.objects.create(name="archive", kind="rfc3161", url="https://tsa.example", trust="PEM")
    assert not hold_if_anchors_know_better()
    Anchor.objects.update(ahead_size=9)
    assert hold_if_anchors_know_better()
    assert freezes() == 1
    actions.unfreeze(FreezeTarget(), by="person:olga@example.com")
    Anchor.objects.update(ahead_size=12)
    assert not hold_if_anchors_know_better()
    assert freezes() == 0


def test_home_says_it() -> None:
    cut_back()
    home = sign_in("security").get(reverse("admin:index")).content.decode()
    assert "not the database whose log was signed here" in home
