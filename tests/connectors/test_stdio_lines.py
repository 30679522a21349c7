from hypothesis import given
from hypothesis import strategies as st

from connectors.base import ChildSpec, UpstreamAuth
from connectors.stdio_child import ENDS_BYTES, TAIL_BYTES, LineReader, Tail, environment


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))), st.integers(1, 50))
def test_lines_come_out_as_they_went_in_however_they_are_cut(lines: list[bytes], size: int) -> None:
    sent = b"".join(line + b"\n" for line in lines)
    reader = LineReader(max_bytes=100)
    got = [line for at in range(0, len(sent), size) for line in reader.feed(sent[at : at + size])]
    assert [line.text for line in got] == lines
    assert not any(line.is_cut for line in got)


@given(st.integers(0, 20_000), st.integers(1, 5_000))
def test_of_a_line_too_long_only_the_ends_are_kept(excess: int, size: int) -> None:
    limit = 4_000
    line = b"a" * ENDS_BYTES + b"-" * (limit - ENDS_BYTES + 1 + excess) + b"z" * ENDS_BYTES
    reader = LineReader(max_bytes=limit)
    got = [each for at in range(0, len(line), size) for each in reader.feed(line[at : at + size])]
    assert got == []
    assert reader.line_bytes == len(line)
    cut, short = reader.feed(b"\nshort\n")
    assert cut == (b"a" * ENDS_BYTES + b"z" * ENDS_BYTES, True)
    assert short == (b"short", False)
    assert reader.line_bytes == 0


def test_the_tail_masks_secrets_before_it_cuts_anything() -> None:
    tail = Tail(("s3cret-value", "ab"))
    tail.add(b"x" * 490 + b"s3cret-value\n" + b"ab stays\n")
    assert "s3cret" not in tail.text()
    assert "ab stays" in tail.text()
    tail.add(b"s3cret-value\n" + b"y" * (TAIL_BYTES - 5) + b"\nend")
    assert "value" not in tail.text(), "half of a secret at the edge"
    assert tail.text().endswith("end")


def test_a_program_sees_nothing_that_it_is_not_given() -> None:
    child = ChildSpec(("/bin/x",), {"PATH": "/opt/bin", "MODE": "fast"})
    auth = UpstreamAuth(variables=(("TOKEN", "t"),))
    assert environment(child, auth, home="/h") == {
        "PATH": "/opt/bin",
        "HOME": "/h",
        "TMPDIR": "/h",
        "LANG": "C.UTF-8",
        "MODE": "fast",
        "TOKEN": "t",
    }
