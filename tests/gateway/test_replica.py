"""Searches and session pages read evidence from a replica, if there is one; what is written or decided does not."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection, connections
from django.urls import reverse

from audit.event import uuid7
from audit.models import AgentSession, EventRow
from audit.reading import REPLICA, EvidenceRouter, from_replica
from governance.models import Agent
from tests.gateway.signing_in import sign_in
from tests.gateway.test_evidence_pages import NOW, a_refusal
from tests.migrated import migrated_folder

HERE, THERE = (UUID(int=0x8 << 76 | 0x2 << 62 | n) for n in (1, 2))

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="a copy of a file stands for the replica")


@pytest.fixture
def replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A copy of the database, of another moment."""
    file = tmp_path / "replica.sqlite3"
    shutil.copy(migrated_folder() / "gatehouse.sqlite3", file)
    monkeypatch.setitem(connections.settings, REPLICA, connection.settings_dict | {"NAME": str(file)})
    connections[REPLICA].connect()
    yield
    connections[REPLICA].close()
    del connections[REPLICA]


def a_run(run: UUID, agent: str, using: str) -> None:
    row = AgentSession(id=run, began=uuid7(int(NOW.timestamp() * 1000)), agent=agent, last_at=NOW, calls=1)
    row.save(using=using, force_insert=True)


@pytest.mark.django_db
@pytest.mark.usefixtures("replica")
def test_sessions_are_read_there_and_rights_and_records_are_not() -> None:
    a_run(HERE, "first-bot", "default")
    a_run(THERE, "second-bot", REPLICA)
    a_refusal(session=HERE)
    client = sign_in("auditor")
    text = client.get(reverse("runs")).content.decode()
    assert "second-bot" in text
    assert "first-bot" not in text
    assert client.get(reverse("run_page", args=[HERE])).status_code == 404
    answer = client.post(reverse("runs"), {"text": "chair"})
    assert answer.status_code == 200
    assert EventRow.objects.filter(kind="payload.searched").exists()
    assert not EventRow.objects.using(REPLICA).filter(kind="payload.searched").exists()


@pytest.mark.django_db
@pytest.mark.usefixtures("replica")
def test_only_evidence_and_only_where_it_is_asked_for() -> None:
    router = EvidenceRouter()

    @from_replica
    def asked() -> tuple[str | None, str | None, str | None]:
        return router.db_for_read(EventRow), router.db_for_read(Agent), router.db_for_write(EventRow)

    assert asked() == (REPLICA, None, "default")
    assert router.db_for_read(EventRow) is None
    assert router.allow_migrate(REPLICA, "audit") is False


def test_without_a_replica_all_is_as_it_was() -> None:
    assert from_replica(lambda: EvidenceRouter().db_for_read(EventRow))() is None
