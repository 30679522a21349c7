"""One proof for many leaves, against the verifier that an outsider runs."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.auditverify import Bad, _root_with
from audit.merkle import leaf_hash, root_of
from audit.subset_proof import subset_proof


@st.composite
def chosen_leaves(draw: st.DrawFn) -> tuple[list[bytes], list[int]]:
    size = draw(st.integers(0, 70))
    leaves = [leaf_hash(number.to_bytes(2, "big")) for number in range(size)]
    chosen = draw(st.sets(st.integers(0, size - 1))) if size else set()
    return leaves, sorted(chosen)


def root(leaves: list[bytes], chosen: list[int], nodes: bytes) -> tuple[bytes, bytes]:
    file = io.BytesIO(nodes)
    found = _root_with(iter([(index, leaves[index]) for index in chosen]), len(leaves), file)
    return found, file.read()


@given(chosen_leaves())
def test_it_leads_to_the_root_and_nothing_is_left(drawn: tuple[list[bytes], list[int]]) -> None:
    leaves, chosen = drawn
    nodes = b"".join(subset_proof(chosen, len(leaves), iter(leaves))) if leaves else b""
    assert root(leaves, chosen, nodes) == (root_of(leaves), b"")


@given(chosen_leaves(), st.data())
def test_another_leaf_leads_elsewhere(drawn: tuple[list[bytes], list[int]], data: Any) -> None:
    leaves, chosen = drawn
    if not chosen:
        return
    nodes = b"".join(subset_proof(chosen, len(leaves), iter(leaves)))
    forged = list(leaves)
    forged[data.draw(st.sampled_from(chosen))] = leaf_hash(b"forged")
    assert root(forged, chosen, nodes)[0] != root_of(leaves)


def test_a_proof_that_is_cut_off_is_refused() -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(9)]
    nodes = b"".join(subset_proof([3], 9, iter(leaves)))
    with pytest.raises(Bad, match="cut off"):
        root(leaves, [3], nodes[:-1])
