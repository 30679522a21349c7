from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from connectors.json_depth import SHORT, is_too_deep

LEAVES = st.none() | st.integers(-5, 5) | st.text(st.sampled_from('[]{}"\\a'), max_size=6)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\', max_size=2), inner, max_size=3),
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def is_refused(document: bytes, **limits: int) -> bool:
    return is_too_deep(document, orjson.loads(document), **limits)


@given(DOCUMENTS, st.integers(0, 6), st.sampled_from((0, SHORT)))
def test_it_counts_nesting_and_nothing_else(value: Any, limit: int, blanks: int) -> None:
    assert is_refused(orjson.dumps(value) + b" " * blanks, max_depth=limit) == (depth(value) > limit)


def test_the_default_bound() -> None:
    assert not is_refused(b"[" * 64 + b"]" * 64)
    assert is_refused(b"[" * 65 + b"]" * 65)
