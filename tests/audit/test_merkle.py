"""The tree against the recursion of RFC 6962 section 2.1, and its proofs against forgeries."""

from base64 import b64decode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
)

LARGEST = 300
LEAVES = [leaf_hash(str(number).encode()) for number in range(LARGEST + 1)]


def rfc_root(leaves: list[bytes]) -> bytes:
    """MTH, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = max(1 << bit for bit in range(10) if 1 << bit < len(leaves))
    return sha256(b"\x01" + rfc_root(leaves[:half]) + rfc_root(leaves[half:])).digest()


ROOTS = [rfc_root(LEAVES[:size]) for size in range(LARGEST + 1)]


def test_leaf_and_node_hashes_are_those_of_the_published_vector() -> None:
    leaves = [leaf_hash(entry) for entry in (b"a", b"b", b"c")]
    assert root_of(leaves) == b64decode("NmQuc8JUCrEh46a/lUWwokmCzYMOsT080Z3jzmwCHsE=")
    assert inclusion_proof(leaves, 1) == [
        b64decode("Aippeebat6pa5MPl5F9+l3ESp+Y1k4INvsHsc4ok+Tw="),
        b64decode("WX/LMSgtNGVMIA00GPylcFxkjr8ybsc9jd7xGEH4dtg="),
    ]


def test_the_empty_tree_has_the_empty_root() -> None:
    assert Frontier().root() == EMPTY_ROOT == rfc_root([])


@pytest.mark.parametrize("size", range(1, LARGEST + 1))
def test_root_and_inclusion_at_every_size(size: int) -> None:
    leaves, root = LEAVES[:size], ROOTS[size]
    assert root_of(leaves) == root
    for index in {0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
        proof = inclusion_proof(leaves, index)
        assert is_included(leaves[index], index, size, root, proof)
        assert not is_included(leaves[index], (index + 1) % size, size, root, proof) or size == 1
        assert not is_included(leaf_hash(b"forged"), index, size, root, proof)
        assert not is_included(leaves[index], index, size, root, [*proof, EMPTY_ROOT])


@pytest.mark.parametrize("size", range(1, LARGEST + 1))
def test_consistency_at_every_size(size: int) -> None:
    for old in {1, 2, size // 3, size // 2, size - 1, size} & set(range(1, size + 1)):
        proof = consistency_proof(LEAVES[:size], old)
        assert is_consistent(old, ROOTS[old], size, ROOTS[size], proof)
        assert not is_consistent(old, leaf_hash(b"forged"), size, ROOTS[size], proof)
        assert not is_consistent(old, ROOTS[old], size, leaf_hash(b"forged"), proof)
        assert not is_consistent(old, ROOTS[old], size, ROOTS[size], [*proof, EMPTY_ROOT])


def test_every_tree_continues_the_empty_one() -> None:
    assert is_consistent(0, EMPTY_ROOT, 3, ROOTS[3], consistency_proof(LEAVES[:3], 0))
    assert not is_consistent(0, ROOTS[1], 3, ROOTS[3], [])
    assert not is_consistent(0, EMPTY_ROOT, 3, ROOTS[3], [EMPTY_ROOT])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 64, 65])
def test_every_leaf_of_a_tree_is_provable_and_a_shortened_proof_is_not(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(LEAVES[:size], index)
        assert is_included(LEAVES[index], index, size, ROOTS[size], proof)
        if proof:
            assert not is_included(LEAVES[index], index, size, ROOTS[size], proof[:-1])


@given(st.integers(0, LARGEST), st.integers(0, LARGEST))
def test_a_frontier_grows_in_any_portions_and_survives_storage(first: int, second: int) -> None:
    low, high = sorted((first, second))
    stored = Frontier().extend(LEAVES[:low]).to_bytes()
    grown = Frontier.from_bytes(low, stored).extend(LEAVES[low:high])
    assert (grown.size, grown.root()) == (high, ROOTS[high])


@given(st.integers(-3, 70), st.binary(max_size=200))
def test_stored_bytes_that_are_no_frontier_are_refused(size: int, stored: bytes) -> None:
    if size >= 0 and len(stored) == 32 * size.bit_count():
        assert Frontier.from_bytes(size, stored).to_bytes() == stored
        return
    with pytest.raises(ValueError, match="peak"):
        Frontier.from_bytes(size, stored)


@given(st.integers(-1, 9), st.integers(-1, 9), st.lists(st.sampled_from(LEAVES[:9] + ROOTS[:9]), max_size=5))
def test_verification_answers_false_rather_than_failing(first: int, second: int, proof: list[bytes]) -> None:
    forged = leaf_hash(b"forged")
    assert not is_included(forged, first, second, forged, proof) or (first, second, proof) == (0, 1, [])
    if first != second:
        assert not is_consistent(first, forged, second, ROOTS[max(second, 0)], proof)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_proof_for_a_leaf_outside(index: int) -> None:
    with pytest.raises(IndexError):
        inclusion_proof(LEAVES[:3], index)
    with pytest.raises(IndexError):
        consistency_proof(LEAVES[:3], -1 if index < 0 else 4)
