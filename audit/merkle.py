"""The Merkle tree of RFC 6962 section 2.1: pure functions over 32-byte hashes.

A leaf here is a `leaf_hash(...)`; `size` counts leaves; a frontier is the compact range of a tree, enough
to grow it and to know its root in O(log n) memory.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Leaves and nodes hash in different domains, so that no entry can pose as an inner node."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of `size` leaves, held as the roots of its perfect subtrees, the largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError("a frontier has one peak for each set bit of its size")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise ValueError("a peak is 32 bytes long")

    def extend(self, leaves: Iterable[bytes]) -> "Frontier":
        """The tree with these leaves added at its end; equal subtrees merge as in binary addition."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = node_hash(peaks.pop(), node)
                carry >>= 1
            peaks.append(node)
            size += 1
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        return _fold(self.peaks) if self.peaks else EMPTY_ROOT

    def to_bytes(self) -> bytes:
        return b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, size: int, stored: bytes) -> "Frontier":
        """ValueError if the bytes cannot be the frontier of a tree of that size."""
        return cls(size, tuple(stored[at : at + HASH_BYTES] for at in range(0, len(stored), HASH_BYTES)))


def root_of(leaves: Iterable[bytes]) -> bytes:
    return Frontier().extend(leaves).root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, leaves), from the leaf's sibling up. IndexError outside the tree. O(n) hashes."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"no leaf {index} in a tree of {len(leaves)}")
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    left, right = leaves[:half], leaves[half:]
    if index < half:
        return [*inclusion_proof(left, index), root_of(right)]
    return [*inclusion_proof(right, index - half), root_of(left)]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """PROOF(old_size, leaves): the first `old_size` leaves make a prefix of this tree. O(n) hashes."""
    if not 0 <= old_size <= len(leaves):
        raise IndexError(f"no tree of {old_size} inside one of {len(leaves)}")
    return _subproof(leaves, old_size, whole=True) if old_size else []


def is_included(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Does `proof` lead from the leaf at `index` to the root of `size` leaves? (RFC 9162 section 2.1.3.2)"""
    if not 0 <= index < size:
        return False
    position, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            position, last = _skip_left_edge(position, last)
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and node == root


def is_consistent(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Does `proof` show that the older tree is a prefix of the newer one? (RFC 9162 section 2.1.4.2)"""
    if old_size == size:
        return not proof and old_root == root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT and size > 0
    if not 0 < old_size < size:
        return False
    nodes = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    if not nodes:
        return False
    return _walk_consistency(old_size - 1, size - 1, nodes) == (old_root, root)


def _walk_consistency(old: int, new: int, nodes: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The old and the new root that these nodes rebuild; None if there are too many or too few of them."""
    while old & 1:
        old, new = old >> 1, new >> 1
    old_node = new_node = nodes[0]
    for sibling in nodes[1:]:
        if new == 0:
            return None
        if old & 1 or old == new:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            old, new = _skip_left_edge(old, new)
        else:
            new_node = node_hash(new_node, sibling)
        old, new = old >> 1, new >> 1
    return (old_node, new_node) if new == 0 else None


def _skip_left_edge(position: int, last: int) -> tuple[int, int]:
    """An odd last node is carried up unpaired: climb until it is a right child or the root."""
    while position and not position & 1:
        position, last = position >> 1, last >> 1
    return position, last


def _subproof(leaves: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2; `whole` while the old tree's root is known to the verifier."""
    if old_size == len(leaves):
        return [] if whole else [root_of(leaves)]
    half = _split(len(leaves))
    left, right = leaves[:half], leaves[half:]
    if old_size <= half:
        return [*_subproof(left, old_size, whole=whole), root_of(right)]
    return [*_subproof(right, old_size - half, whole=False), root_of(left)]


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (> 1)."""
    return 1 << (size - 1).bit_length() - 1


def _fold(peaks: Sequence[bytes]) -> bytes:
    node = peaks[-1]
    for peak in reversed(peaks[:-1]):
        node = node_hash(peak, node)
    return node
