"""Whatever a text hides behind an encoding is read, and leads back to the place where it stands."""

import base64
import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.inspection.detectors import TABLE
from governance.inspection.views import MAX_VIEWS, TooManyViews, View, views

NEEDLE = "the needle of this test 42"
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


def read(text: str) -> list[View]:
    found = []
    with suppress(TooManyViews):
        found.extend(view for view, _ in views(text, lambda view: TABLE.occurring(view.encoded)))
    return found


def spans(text: str, needle: str) -> set[str]:
    """The raw texts that the needle was made of, in whatever view it shows."""
    found = set()
    for view in read(text):
        start = view.text.find(needle)
        if start >= 0:
            first, last = view.raw_span(start, start + len(needle))
            found.add(text[first:last])
    return found


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


WRAPPED = {
    "plain": NEEDLE,
    "base64": in_base64(NEEDLE),
    "base64-of-a-shifted-text": in_base64(f"x{NEEDLE}"),
    "url-safe": base64.urlsafe_b64encode(f"???>>>{NEEDLE}".encode()).decode(),
    "hex": NEEDLE.encode().hex(),
    "base32": base64.b32encode(NEEDLE.encode()).decode(),
    "lower-base32": base64.b32encode(NEEDLE.encode()).decode().lower().rstrip("="),
    "gzip-in-base64": base64.b64encode(gzip.compress(NEEDLE.encode())).decode(),
    "bzip-in-base64": base64.b64encode(bz2.compress(NEEDLE.encode())).decode(),
    "xz-in-base64": base64.b64encode(lzma.compress(NEEDLE.encode())).decode(),
    "base64-of-base64": in_base64(in_base64(NEEDLE)),
    "percent": "".join(f"%{ord(each):02x}" for each in NEEDLE),
    "percent-of-base64": quote(in_base64(f"{NEEDLE}?"), safe=""),
    "utf-16-in-base64": base64.b64encode(NEEDLE.encode("utf-16-le")).decode(),
    "escaped": "".join(f"\\u{ord(each):04x}" for each in NEEDLE),
    "entities": "".join(f"&#{ord(each)};" for each in NEEDLE),
    "fullwidth": "".join(chr(ord(each) + 0xFEE0) if each != " " else each for each in NEEDLE),
    "zero-width": "\u200b".join(NEEDLE),
    "struck-through": "\u0336".join(NEEDLE),
    "tags": "".join(chr(0xE0000 + ord(each)) for each in NEEDLE),
    "variation-selectors": "".join(chr(0xE0100 + ord(each) - 16) for each in NEEDLE),
    "cyrillic": NEEDLE.replace("e", "е"),
    "split-by-markup": NEEDLE.replace("d", "d<b></b>"),
}


@pytest.mark.parametrize("encoding", WRAPPED)
@pytest.mark.parametrize("around", [("", ""), ("héllo ", " wörld"), ("x=", "\n"), ('{"a": "', '"}')])
def test_an_encoded_text_is_read_and_found_where_it_stands(encoding: str, around: tuple[str, str]) -> None:
    before, after = around
    found = spans(f"{before}{WRAPPED[encoding]}{after}", NEEDLE)
    assert WRAPPED[encoding] in found


def test_a_run_is_decoded_inside_a_path() -> None:
    assert spans(f"/v1/callback/{in_base64(NEEDLE)}/end", NEEDLE)


def test_what_html_hides_is_read_and_known_as_hidden() -> None:
    text = f"<p>Seen</p><div style='display: none'><div>in</div>{NEEDLE}</div><p>seen again</p>"
    view = next(view for view in read(text) if view.name == "html")
    place = view.text.index(NEEDLE)
    assert view.hides(place, place + len(NEEDLE))
    assert not view.hides(view.text.index("seen again"), view.text.index("seen again") + 10)
    assert not view.hides(0, 4)


@pytest.mark.parametrize("text", [f"a<!-- {NEEDLE} -->b", f'<img alt="{NEEDLE}">', f"<script>{NEEDLE}</script>"])
def test_comments_and_alternative_texts_are_hidden(text: str) -> None:
    view = next(view for view in read(text) if view.name == "html")
    place = view.text.index(NEEDLE)
    assert view.hides(place, place + len(NEEDLE))


def test_json_in_json_in_json_is_read() -> None:
    inner = json.dumps({"note": 'say "this" now'})
    text = json.dumps({"body": json.dumps({"body": inner})})
    assert any('say "this" now' in view.text for view in read(text))


@pytest.mark.parametrize("squeeze", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip", "xz"])
def test_a_bomb_is_opened_only_a_little(squeeze: Callable[[bytes], bytes]) -> None:
    bomb = base64.b64encode(squeeze(b"a" * 5_000_000)).decode()
    with pytest.raises(TooManyViews):
        list(views(bomb, lambda view: TABLE.occurring(view.encoded)))


def test_encodings_without_end_come_to_an_end() -> None:
    text = "secret text of some length"
    for _ in range(12):
        text = in_base64(text)
    assert len(read(text)) <= MAX_VIEWS


@given(TEXTS, TEXTS, st.sampled_from(sorted(WRAPPED)), st.sampled_from(sorted(WRAPPED)))
def test_every_span_lies_in_the_text(before: str, after: str, first: str, second: str) -> None:
    text = f"{before} {WRAPPED[first]} {after} {WRAPPED[second]}"
    for view in read(text):
        for start in range(len(view.text)):
            low, high = view.raw_span(start, start + 1)
            assert 0 <= low < high <= len(text)
            if start:
                assert view.raw_span(start - 1, start)[0] <= low


@given(TEXTS)
def test_bytes_are_counted_as_characters(text: str) -> None:
    encoded = View("raw", text).encoded
    for position in range(len(text)):
        assert encoded.character(len(text[:position].encode())) == position
