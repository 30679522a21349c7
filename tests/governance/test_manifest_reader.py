"""YAML and JSON with lines, and everything that is refused at this door."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.manifest.reader import MAX_FILE_BYTES, BadManifest, Node, read
from governance.manifest.text import _yaml


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    return [plain(child) for child in node.value] if isinstance(node.value, list) else node.value


def value_of(text: str) -> object:
    return plain(read(text.encode(), file="org.yaml"))


def complaint(content: bytes) -> str:
    with pytest.raises(BadManifest) as caught:
        read(content, file="org.yaml")
    return str(caught.value)


def test_words_and_times_that_older_yaml_reads_otherwise_stay_text() -> None:
    read_back = value_of("on: result\nanswer: no\nfrom: 08:00\nto: 19:00\nday: 2026-01-31\n")
    assert read_back == {"on": "result", "answer": "no", "from": "08:00", "to": "19:00", "day": "2026-01-31"}


def test_scalars() -> None:
    assert value_of("a: 1\nb: 1.5\nc: true\nd: null\ne:\nf: '1'\ng: 1e3\n") == {
        "a": 1, "b": 1.5, "c": True, "d": None, "e": None, "f": "1", "g": 1000.0,
    }  # fmt: skip


def test_every_member_knows_its_line_and_path() -> None:
    root = read(b"teams:\n  - name: a\n  - title: x\n    name: b\n", file="org.yaml")
    name = root.members()["teams"].items()[1].members()["name"]
    assert (name.place.line, name.path) == (4, "teams[1].name")


def test_json_indented_by_tabs_and_with_escaped_surrogates() -> None:
    assert value_of('{\n\t"a": "\\ud83d\\ude00 \\\\ud83d \\/",\n\t"b": [1]\n}') == {"a": "😀 \\ud83d /", "b": [1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: 2\na: 3\n", "org.yaml:3: the key 'a' occurs twice (first in line 1)"),
        (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        (b"a: &x [1]\nb: *x\n", "org.yaml:1: anchors and aliases"),
        (b"a: *x\n", "anchors and aliases"),
        (b"a: !!python/object/apply:os.system [id]\n", "tags (!...)"),
        (b"[" * 100_000, "nested too deeply"),
        (b"a: [1\n", "not valid YAML or JSON"),
        (b"a: 1\n\tb: 2\n", "org.yaml:2: not valid YAML"),
        (b"---\na: 1\n---\nb: 1\n", "one document"),
        (b"? [a]\n: 1\n", "a key must be plain text"),
        (b'a: "\\0"\n', "control characters"),
        (b'{"a": "\\ud83d"}', "not valid"),
        (b"a: 1\nb: \xff\n", "org.yaml:2: the file is not valid UTF-8"),
        (b" " * (MAX_FILE_BYTES + 1), "larger than 4 MB"),
    ],
)
def test_refused(content: bytes, message: str) -> None:
    assert message in complaint(content)


def test_an_alias_bomb_costs_nothing() -> None:
    bomb = "a: &a [x, x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "anchors and aliases" in complaint(bomb.encode())


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t"), max_size=40)
PLAIN = st.recursive(
    TEXT | st.booleans() | st.none() | st.integers(-(10**15), 10**15),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXT, children, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, PLAIN, max_size=4))
def test_what_we_write_is_what_we_read(value: dict[str, object]) -> None:
    assert value_of(_yaml(value)) == value
    assert value_of(json.dumps(value, indent="\t")) == value
    assert value_of(json.dumps(value, ensure_ascii=False)) == value


@given(st.binary(max_size=200) | st.text(alphabet="ab:-?[]{},&*!|>'\"%@`#\n\t 0", max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with suppress(BadManifest):
        read(content, file="org.yaml")
