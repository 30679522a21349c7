"""Inclusion proofs out of stored frontiers are those that RFC 6962 defines."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.checkpoint import Signer
from audit.merkle import Frontier, inclusion_proof, leaf_hash
from audit.models import EventRow
from audit.proof import path_from, prove
from audit.record import record
from audit.sequencer import Sequencer
from tests.audit.writing import NOON, event, execute, lower_guards


@given(st.integers(1, 130), st.data())
def test_a_path_from_a_frontier_is_the_path_from_all_leaves(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(size)]
    index = data.draw(st.integers(0, size - 1))
    assert list(path_from(Frontier().extend(leaves[:index]), leaves[index:])) == inclusion_proof(leaves, index)


@pytest.fixture
def log(db: None, signer: Signer) -> list[EventRow]:
    """Seven checkpoints with different numbers of leaves between them."""
    sequencer = Sequencer(signer)
    for pass_number in range(7):
        for _ in range(pass_number):
            record(event())
        sequencer.advance(NOON + timedelta(seconds=pass_number), sign_every=timedelta(0))
    return list(EventRow.objects.order_by("id"))


@pytest.mark.database
def test_every_event_of_a_log_can_be_proven(log: list[EventRow]) -> None:
    proofs = [prove(row) for row in log]
    assert len(proofs) > 20
    assert all(proof is not None and proof.holds for proof in proofs)


@pytest.mark.database
def test_an_unsealed_event_cannot_be_proven_yet(log: list[EventRow]) -> None:
    late = event()
    record(late)
    assert prove(EventRow.objects.get(id=late.id)) is None


@pytest.mark.database
def test_a_changed_record_is_not_proven(log: list[EventRow]) -> None:
    lower_guards("audit_event")
    changed = log[5]
    execute("UPDATE audit_event SET epoch = epoch + 1 WHERE kind = %s", "call.refused")
    changed.refresh_from_db()
    proof = prove(changed)
    assert proof is not None
    assert not proof.holds
