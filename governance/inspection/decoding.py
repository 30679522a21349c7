"""Percent, JSON escapes, and runs of base64, base32 or hex, undone within a text."""

import base64
import binascii
import bz2
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from governance.inspection.offsets import Builder

PERCENT: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
ESCAPE: Final = re.compile(r'(?:\\u[0-9A-Fa-f]{4})+|\\["\\/bfnrt]')
SIMPLE: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{24,}(?:(?:\r?\n|\\n)[A-Za-z0-9+/_-]{4,})*={0,6}")
HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}){12,}")
BREAK: Final = re.compile(r"\r?\n|\\n")
LINE: Final = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
PIECE: Final = re.compile(r"[A-Za-z0-9]{24,}={0,2}")
SHORTEST: Final = 24
"""Characters of base32."""
BASE32: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
BASE32_DIGITS: Final = bytes.maketrans(BASE32, b"0123456789ABCDEFGHIJKLMNOPQRSTUV")
"""To read it as a number takes a thirtieth of what `base64.b32decode` takes."""
URL_SAFE: Final = str.maketrans("-_", "+/")
UNPRINTABLE: Final = bytes(each for each in range(256) if (each < 0x20 and each not in b"\t\n\r") or each == 0x7F)
GZIP: Final = "H4sI"
MOST_MEMORY: Final = 32 * 1024 * 1024
"""Bytes that unpacking may take."""
MAX_RUN: Final = 256 * 1024
"""Characters of one run, and bytes it may unpack to."""


def unquoted(text: str) -> Builder:
    builder = Builder(text)
    done = 0
    for run in PERCENT.finditer(text):
        builder.keep(done, run.start())
        data = bytes.fromhex(run.group().replace("%", ""))
        if data.isascii():
            for number, byte in enumerate(data):
                builder.put(chr(byte), run.start() + 3 * number, run.start() + 3 * number + 3)
        else:
            builder.put(data.decode(errors="replace"), *run.span())
        done = run.end()
    builder.keep(done, len(text))
    return builder


def unescaped(text: str) -> Builder:
    """As the inside of a JSON string; what is no escape stays as it is."""
    builder = Builder(text)
    done = 0
    for escape in ESCAPE.finditer(text):
        builder.keep(done, escape.start())
        if escape.group()[1] == "u":
            _code_units(builder, escape)
        else:
            builder.put(SIMPLE.get(escape.group()[1], escape.group()[1]), *escape.span())
        done = escape.end()
    builder.keep(done, len(text))
    return builder


def _code_units(builder: Builder, run: re.Match[str]) -> None:
    units = bytes.fromhex(run.group().replace("\\u", ""))
    position = run.start()
    for character in units.decode("utf-16-be", errors="replace"):
        width = 12 if ord(character) > 0xFFFF else 6
        builder.put(character, position, min(position + width, run.end()))
        position = min(position + width, run.end() - 6)


def decoded(text: str) -> tuple[Builder, bool]:
    """Only what the runs hide, a line each; a hit in one stands for the whole run. False if one was too large."""
    reader = _Runs(Builder(text))
    for run in RUN.finditer(text):
        if not reader.read(*run.span()) and _is_broken(run.group()):
            for line in LINE.finditer(text, *run.span()):
                reader.read(*line.span())
    return reader.builder, reader.whole


@dataclass(slots=True)
class _Runs:
    builder: Builder
    whole: bool = True

    def read(self, start: int, end: int) -> bool:
        """Does it hide a text? Then that is written out."""
        self.whole = self.whole and end - start <= MAX_RUN
        for first, last, data in _readings(self.builder.source[start : min(end, start + MAX_RUN)]):
            plain, complete = _unpacked(data)
            self.whole = self.whole and complete
            if plain:
                self.builder.put(f"{plain}\n", start + first, start + last)
                return True
        return False


def _readings(run: str) -> Iterator[tuple[int, int, bytes]]:
    """What a run may be the encoding of, and of which part: as a whole, from another start, or piece by piece."""
    if HEX.fullmatch(run):
        yield 0, len(run), bytes.fromhex(run)
        return
    if run.islower() or run.isupper():
        yield 0, len(run), _base32(run)
        return  # paths and names; base64 of a text has letters of both cases
    bare = (BREAK.sub("", run) if _is_broken(run) else run).translate(URL_SAFE).rstrip("=")
    for skipped in range(4):
        yield 0, len(run), _base64(bare[skipped:])
    if (packed := bare.find(GZIP, 1)) > 0:
        yield 0, len(run), _base64(bare[packed:])
    if not bare.isalnum():
        for piece in PIECE.finditer(run):
            yield piece.start(), piece.end(), _base64(piece.group().rstrip("="))


def _is_broken(run: str) -> bool:
    """Whether BREAK is in it, which takes ten times as long to say so."""
    return "\n" in run or "\\n" in run


def _base32(run: str) -> bytes:
    code = (BREAK.sub("", run) if _is_broken(run) else run).rstrip("=").upper().encode()
    if len(code) < SHORTEST or code.translate(None, BASE32):
        return b""
    size = len(code) * 5 // 8
    return (int(code.translate(BASE32_DIGITS), 32) >> len(code) * 5 - 8 * size).to_bytes(size)


def _base64(bare: str) -> bytes:
    if len(bare) % 4 == 1:
        bare = bare[:-1]
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return b""


def _unpacked(data: bytes) -> tuple[str, bool]:
    """Its text if it is one, and whether that is all of it."""
    if data[:2] == b"\x1f\x8b":
        return _inflated(data, zlib.MAX_WBITS | 16)
    if data[:2] in (b"\x78\x01", b"\x78\x9c", b"\x78\xda"):
        return _inflated(data, zlib.MAX_WBITS)
    if data[:3] == b"BZh":
        return _unsqueezed(bz2.BZ2Decompressor(), data)
    if data[:6] == b"\xfd7zXZ\x00":
        return _unsqueezed(lzma.LZMADecompressor(memlimit=MOST_MEMORY), data)
    return _text(data), True


def _unsqueezed(unpacker: bz2.BZ2Decompressor | lzma.LZMADecompressor, data: bytes) -> tuple[str, bool]:
    try:
        plain = unpacker.decompress(data, MAX_RUN)
    except lzma.LZMAError as error:
        return "", "limit" not in str(error)
    except (OSError, ValueError):
        return "", True
    return _text(plain, cut=True), unpacker.eof or len(plain) < MAX_RUN


def _inflated(data: bytes, bits: int) -> tuple[str, bool]:
    unpacker = zlib.decompressobj(bits)
    try:
        plain = unpacker.decompress(data, MAX_RUN)
    except zlib.error:
        return "", True
    return _text(plain, cut=True), not unpacker.unconsumed_tail


def _text(data: bytes, *, cut: bool = False) -> str:
    """Empty for what is no text: then it was not meant to be decoded."""
    if len(data) > 3 and not any(data[1:64:2]) and all(data[0:64:2]):
        return data.decode("utf-16-le", errors="replace")
    if len(data) < 8 or len(data) - len(data.translate(None, UNPRINTABLE)) > len(data) // 50:
        return ""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        return data[: error.start].decode() if cut or error.start >= len(data) - 3 else ""
