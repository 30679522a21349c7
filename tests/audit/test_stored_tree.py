"""Paths that are found from stored frontiers are those of RFC 6962, and damage is said to be damage."""

import pytest

from audit import stored_tree
from audit.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash, root_of
from audit.models import Checkpoint, Leaf
from audit.stored_tree import StoredTree
from audit.subset_proof import LeavesMissing
from tests.audit.writing import NOON, execute, lower_guards

SIZE = 75
SIGNED = (5, 6, 20, 32, 33, 61, SIZE)
LEAVES = [leaf_hash(b"%d" % number) for number in range(SIZE)]


@pytest.fixture(autouse=True)
def stored(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small subtrees are so small here that nearly all come from frontiers."""
    monkeypatch.setattr(stored_tree, "BLOCK", 2)
    Leaf.objects.bulk_create(
        Leaf(index=at, event_id=f"00000000-0000-7000-8000-{at:012d}", hash=leaf) for at, leaf in enumerate(LEAVES)
    )
    for size in SIGNED:
        frontier = Frontier().extend(LEAVES[:size])
        Checkpoint.objects.create(
            size=size, root=frontier.root(), frontier=frontier.to_bytes(), at=NOON, note=f"log\n{size}\n"
        )
    lower_guards("audit_leaf")
    lower_guards("audit_checkpoint")


def test_every_path_is_the_one_of_the_whole_tree() -> None:
    tree = StoredTree()
    for size in (1, 2, 7, 32, 33, 64, SIZE):
        assert [tree.inclusion_path(at, size) for at in range(size)] == [
            inclusion_proof(LEAVES[:size], at) for at in range(size)
        ]
        assert [tree.consistency_path(old, size) for old in range(size + 1)] == [
            consistency_proof(LEAVES[:size], old) for old in range(size + 1)
        ]
    assert tree.root(64, SIZE) == root_of(LEAVES[64:])


def test_a_hole_in_what_is_read_is_told_and_the_rest_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    execute('DELETE FROM audit_leaf WHERE "index" = 3')
    assert StoredTree().inclusion_path(70, SIZE) == inclusion_proof(LEAVES, 70)
    execute('DELETE FROM audit_leaf WHERE "index" = 63')
    with pytest.raises(LeavesMissing):
        StoredTree().consistency_path(40, SIZE)
    execute("UPDATE audit_checkpoint SET frontier = root WHERE size = 61")
    with pytest.raises(LeavesMissing):
        StoredTree().inclusion_path(70, SIZE)
    monkeypatch.setattr(stored_tree, "MOST_LEAVES", 3)
    execute("DELETE FROM audit_checkpoint WHERE size < 75")
    with pytest.raises(LeavesMissing, match="No checkpoint"):
        StoredTree().root(0, 16)
