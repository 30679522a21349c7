#!/usr/bin/env python3
"""Checks evidence that Gatehouse exported, with nothing but this file and Python 3.9 or newer.

    python3 auditverify.py bundle EXPORT [--key KEY] [--anchor NOTE ...]    a folder or .zip of `export_audit`
    python3 auditverify.py proof FILE.tlog-proof --entry FILE --key KEY     one event is in the signed log
    python3 auditverify.py checkpoint NOTE --key KEY [--stamp FILE.tsr]     the log's name signed this note
    python3 auditverify.py consistency FILE --anchor NOTE ... --key KEY     a newer checkpoint only adds to older ones

KEY is the log's verifier key, `name+id+key`, as you got it from somebody you trust and not with the bundle. An anchor
is a checkpoint of the same log that was kept where the gateway's operator cannot reach. An export of the whole log is
compared with it as it is; anything less needs a proof that leads from the anchor to its checkpoint: --consistency FILE,
from `manage.py prove_consistency OLD NEW` or GET /api/v1/checkpoints/NEW/consistency/OLD (sizes, in leaves). When the
log's key was replaced, any of its keys will do: the export's rotations.jsonl leads from one to the next.

Hashes are those of RFC 6962, checkpoints C2SP signed notes (tlog-checkpoint) with Ed25519 (RFC 8032), proofs C2SP
tlog-proof, consistency proofs what C2SP tlog-witness is sent, time stamps RFC 3161. What was not checked is always
printed. Exit 0: sound. 1: not sound; the first bad leaf is named. 2: there is nothing here that can be checked.
"""

from __future__ import annotations

import argparse
import csv
import hmac
import json
import re
import sys
import zipfile
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256, sha512
from pathlib import Path
from typing import IO, Any, NoReturn

FORMAT = "gatehouse/evidence/v1"
PROOF_FORMAT = "c2sp.org/tlog-proof@v1"
MAX_PROBLEMS = 100
MAX_LINE = 4 * 1024 * 1024
MAX_NOTE = 16 * 1024
HASH = 32
LONGEST_PATH = 63
MOST_NAMED = 12
ROTATED, ROTATIONS = "signing_key.rotated", "rotations.jsonl"
PRUNED = b"audit.pruned"
BLOCK = 4096
"""Leaves hashed at a time: a perfect subtree, so that its root is a peak of the whole."""

NOTE = re.compile(
    r"(?P<text>(?P<origin>[^\n]+)\n(?P<size>0|[1-9][0-9]{0,18})\n(?P<root>[A-Za-z0-9+/=]{44})\n)\n(?P<signed>(?:[^\n]+\n){1,16})"
)
SIGNATURE = re.compile("\u2014 (?P<name>[^\\s+]+) (?P<raw>[A-Za-z0-9+/=]+)")
KEY_LIKE = re.compile(r"[^\s+]+\+[0-9a-f]{8}\+\S+")


class Bad(Exception):
    """Not sound, or not what it should be; the message says what."""


class Unusable(Exception):
    """Nothing that could be checked."""


# Ed25519, verification only (RFC 8032 section 5.1.7). Public data: it need not run in constant time.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1, 1, 0)
Point = tuple[int, int, int, int]


def _point(raw: bytes) -> Point | None:
    """Extended coordinates of a point as 32 bytes; None if there is no such point."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * ROOT_OF_MINUS_ONE % P
    if v * x * x % P != u or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(scalar: int, point: Point) -> Point:
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point, scalar = _add(point, point), scalar >> 1
    return result


BASE = _point(bytes.fromhex("58" + "66" * 31)) or IDENTITY


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Is this the Ed25519 signature of the key's owner under the message?"""
    if len(public) != HASH or len(signature) != 64:
        return False
    key, r, s = _point(public), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or r is None or s >= ORDER:
        return False
    challenge = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little") % ORDER
    left, right = _times(s, BASE), _add(r, _times(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


class Key:
    """A log's name and public key."""

    def __init__(self, text: str) -> None:
        self.name, _, rest = text.strip().partition("+")
        told, _, encoded = rest.partition("+")
        raw = _base64(encoded)
        self.public, self.id = raw[1:], sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        if not self.name or raw[:1] != b"\x01" or len(self.public) != HASH or self.id.hex() != told:
            raise Unusable(f"not a verifier key: {text.strip()[:80]!r}")


class Head:
    """What a checkpoint states: this log, at this size, has this root. Signed by nobody yet."""

    def __init__(self, note: str, where: str) -> None:
        found = NOTE.fullmatch(note) if len(note) <= MAX_NOTE else None
        if found is None:
            raise Bad(f"{where}: not a checkpoint")
        self.where, self.note, self.origin, self.size = where, note, found["origin"], int(found["size"])
        self.root, self._text, self._signed = _base64(found["root"]), found["text"], found["signed"]

    def check(self, key: Key) -> None:
        """Bad unless the key signed it, in the log's name."""
        if self.origin != key.name:
            raise Bad(f"{self.where}: it speaks of the log {self.origin}, not of {key.name}")
        signatures = [_signature(line, self.where) for line in self._signed[:-1].split("\n")]
        ours = [raw[4:] for name, raw in signatures if name == key.name and raw[:4] == key.id]
        if not ours:
            raise Bad(f"{self.where}: not signed by {key.name}")
        if not all(is_signed(key.public, self._text.encode(), raw) for raw in ours):
            raise Bad(f"{self.where}: the signature of {key.name} is wrong")


class Keys:
    """The log's keys one after another, as rotations in the log introduce them. The auditor holds one, old or new.

    A rotation is an event that names both keys; the first checkpoint after it is signed by both. From there on the
    older key's signature counts no more, and before it the newer one's does not.
    """

    def __init__(self, held: Key) -> None:
        self.name = held.name
        self._keys = [held]
        self._ends: list[int] = []
        self._sound: set[str] = set()

    def follow(self, lines: Iterable[Any], where: str) -> None:
        """From the key held to the newest, and back to the first. Bad if a rotation does not hold."""
        found = [_rotation(line, f"{where}, line {number}") for number, line in enumerate(lines, 1)]
        found.sort(key=lambda each: each[2])
        for old, new, size in found:
            if old.public == self._keys[-1].public:
                self._keys.append(new)
                self._ends.append(size)
        for old, new, size in reversed(found):
            if new.public == self._keys[0].public and size not in self._ends:
                self._keys.insert(0, old)
                self._ends.insert(0, size)
        self._sound.clear()

    def check(self, head: Head) -> None:
        """Bad unless each key whose turn it was signed it, in the log's name."""
        if head.note in self._sound:
            return
        starts, ends = [0, *self._ends], [*self._ends, head.size]
        for turn, key in enumerate(self._keys):
            if starts[turn] <= head.size <= ends[turn]:
                head.check(key)
        self._sound.add(head.note)


def _rotation(line: Any, where: str) -> tuple[Key, Key, int]:
    told = _json(line)
    entry, proof = _base64(told.get("entry")), told.get("proof")
    header = _json(entry[8:])
    details = header.get("details")
    if header.get("kind") != ROTATED or not isinstance(details, dict) or not isinstance(proof, str):
        raise Bad(f"{where}: not a rotation of the log's key")
    old, new = Key(str(details.get("old"))), Key(str(details.get("new")))
    head = check_proof(proof, entry, Keys(old), where)
    head.check(new)
    return old, new, head.size


def _signature(line: str, where: str) -> tuple[str, bytes]:
    found = SIGNATURE.fullmatch(line)
    if found is None:
        raise Bad(f"{where}: a signature line is malformed")
    return found["name"], _base64(found["raw"])


# The tree (RFC 6962 section 2.1)


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def leaf_entry(epoch: int, header: bytes) -> bytes:
    """What a leaf hashes: the epoch of the commit, 8 bytes, before the header."""
    return epoch.to_bytes(8, "big", signed=True) + header


class Tree:
    """Grows by leaf hashes; the root of what came so far at any time."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []
        self._rest: list[bytes] = []

    def extend(self, leaves: Sequence[bytes]) -> None:
        self._rest += leaves
        self.size += len(leaves)
        while len(self._rest) >= BLOCK:
            self._push(_perfect(self._rest[:BLOCK]), BLOCK)
            del self._rest[:BLOCK]

    def root(self) -> bytes:
        peaks = [*(peak for _, peak in self._peaks), *_peaks_of(self._rest)]
        if not peaks:
            return sha256(b"").digest()
        node = peaks.pop()
        while peaks:
            node = node_hash(peaks.pop(), node)
        return node

    def _push(self, node: bytes, size: int) -> None:
        while self._peaks and self._peaks[-1][0] == size:
            node, size = node_hash(self._peaks.pop()[1], node), size * 2
        self._peaks.append((size, node))


def _perfect(nodes: Sequence[bytes]) -> bytes:
    hashed = sha256
    while len(nodes) > 1:
        nodes = [hashed(b"\x01" + nodes[at] + nodes[at + 1]).digest() for at in range(0, len(nodes), 2)]
    return nodes[0]


def _peaks_of(leaves: Sequence[bytes]) -> list[bytes]:
    peaks: list[bytes] = []
    at = 0
    while at < len(leaves):
        size = 1 << (len(leaves) - at).bit_length() - 1
        peaks.append(_perfect(leaves[at : at + size]))
        at += size
    return peaks


def is_included(leaf: bytes, index: int, head: Head, path: Iterable[bytes]) -> bool:
    """RFC 9162 section 2.1.3.2."""
    if not 0 <= index < head.size:
        return False
    position, last, node = index, head.size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and node == head.root


def is_consistent(older: Head, newer: Head, path: Sequence[bytes]) -> bool:
    """RFC 9162 section 2.1.4.2."""
    if older.size in (newer.size, 0):
        same = older.root == (newer.root if older.size else sha256(b"").digest())
        return same and not path
    nodes = [older.root, *path] if older.size & older.size - 1 == 0 else path
    return older.size < newer.size and _grown(older.size - 1, newer.size - 1, nodes) == (older.root, newer.root)


def _grown(old: int, new: int, nodes: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The older and the newer root that these nodes make; none of any tree if they are too few or too many."""
    while old & 1:
        old, new = old >> 1, new >> 1
    old_node = new_node = nodes[0] if nodes else b""
    for sibling in nodes[1:]:
        if new == 0:
            return b"", b""
        if old & 1 or old == new:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while old and not old & 1:
                old, new = old >> 1, new >> 1
        else:
            new_node = node_hash(new_node, sibling)
        old, new = old >> 1, new >> 1
    return (old_node, new_node) if new == 0 else (b"", b"")


class Link:
    """A consistency proof: the older size, the path, and the newer checkpoint, which stands under a signature."""

    def __init__(self, text: str, where: str) -> None:
        lines, _, note = text.partition("\n\n")
        first, *path = lines.split("\n")
        if not re.fullmatch(r"old (0|[1-9][0-9]{0,18})", first) or len(path) > LONGEST_PATH:
            raise Bad(f"{where}: not a consistency proof")
        self.where, self.old, self.path = where, int(first[4:]), [_base64(line) for line in path]
        self.head = Head(note, where)
        if any(len(node) != HASH for node in self.path) or self.old > self.head.size:
            raise Bad(f"{where}: not a consistency proof")


def is_joined(one: Head, other: Head, links: Iterable[Link]) -> bool:
    """Is the smaller tree the beginning of the larger? False if nothing here leads from one to the other. Bad if they
    are of two logs: then somebody with the key signed both."""
    older, newer = sorted((one, other), key=lambda head: head.size)
    if older.size in (newer.size, 0):
        if not is_consistent(older, newer, ()):
            raise Bad(f"{older.where} and {newer.where} differ, both of {newer.size:,} leaves: the log was forked")
        return True
    for link in links:
        if (link.old, link.head.size) == (older.size, newer.size):
            if link.head.root != newer.root:
                raise Bad(f"{link.where} leads to another log of {newer.size:,} leaves than that of {newer.where}")
            if not is_consistent(older, newer, link.path):
                raise Bad(
                    f"{newer.where} does not continue {older.where}: the log was forked or written anew after"
                    f" {older.size:,} leaves at the latest, or {link.where} is no proof of it"
                )
            return True
    return False


# Time stamps (RFC 3161): what was stamped and when. The authority's signature is for openssl.

SIGNED_DATA, TST_INFO = bytes.fromhex("2a864886f70d010702"), bytes.fromhex("2a864886f70d0109100104")
SHA256 = bytes.fromhex("608648016503040201")
SEQUENCE, INTEGER, OCTETS, OID, TIME, EXPLICIT_0 = 0x30, 0x02, 0x04, 0x06, 0x18, 0xA0


def _der(raw: bytes) -> list[tuple[int, bytes]]:
    """Elements one after the other, each by its tag and content: lengths definite, in their shortest form, all used."""
    found = []
    at = 0
    while at < len(raw):
        if len(raw) - at < 2 or raw[at] & 31 == 31:
            raise ValueError("no DER")
        tag, size, at = raw[at], raw[at + 1], at + 2
        if size & 128:
            octets, size = size & 127, int.from_bytes(raw[at : at + (size & 127)], "big")
            if not 1 <= octets <= 4 or len(raw) - at < octets or raw[at] == 0 or size < 128:
                raise ValueError("no DER")
            at += octets
        if size > len(raw) - at:
            raise ValueError("no DER")
        found.append((tag, raw[at : at + size]))
        at += size
    return found


def _only(element: tuple[int, bytes], tag: int) -> bytes:
    if element[0] != tag:
        raise ValueError("another element")
    return element[1]


def stamp_of(reply: bytes, where: str) -> tuple[bytes, str]:
    """The SHA-256 that a timestamp authority's answer is about, and its moment. Bad if it is none."""
    try:
        (whole,) = _der(reply)
        status, token = _der(_only(whole, SEQUENCE))
        if _only(_der(_only(status, SEQUENCE))[0], INTEGER) not in (b"\0", b"\1"):
            raise ValueError("not granted")
        content = _explicit(_only(token, SEQUENCE), SIGNED_DATA)
        signed = _der(_only(content, SEQUENCE))
        told = _der(_only(_explicit(_only(signed[2], SEQUENCE), TST_INFO), OCTETS))
        (info,) = told
        _, _, imprint, _, moment, *_ = _der(_only(info, SEQUENCE))
        algorithm, digest = _der(_only(imprint, SEQUENCE))
        if _only(_der(_only(algorithm, SEQUENCE))[0], OID) != SHA256:
            raise ValueError("another hash")
        when = re.fullmatch(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d{1,9})?Z", _only(moment, TIME))
        if when is None:
            raise ValueError("no time")
        year, month, day, hour, minute, second = (part.decode() for part in when.groups()[:6])
        return _only(digest, OCTETS), f"{year}-{month}-{day} {hour}:{minute}:{second} UTC"
    except (ValueError, IndexError):
        raise Bad(f"{where}: not an RFC 3161 time stamp with SHA-256") from None


def _explicit(raw: bytes, kind: bytes) -> tuple[int, bytes]:
    """The content of this kind, in its wrapping of RFC 5652."""
    name, wrapped = _der(raw)
    if _only(name, OID) != kind:
        raise ValueError("another kind")
    (content,) = _der(_only(wrapped, EXPLICIT_0))
    return content


def check_stamp(reply: bytes, note: bytes, where: str) -> str:
    """When it says that the note was there. Bad unless it is about this note."""
    imprint, moment = stamp_of(reply, where)
    if imprint != sha256(note).digest():
        raise Bad(f"{where}: it stamps something else than the checkpoint beside it")
    return moment


# Bundles


class Files:
    """The members of a folder or of a .zip, read as streams."""

    def __init__(self, path: str) -> None:
        self._folder = Path(path)
        self.opened: set[str] = set()
        self._zip: zipfile.ZipFile | None = None
        if self._folder.is_file():
            try:
                self._zip = zipfile.ZipFile(self._folder)
            except (OSError, zipfile.BadZipFile) as error:
                raise Unusable(f"{path}: neither a folder nor a .zip ({error})") from None
        elif not self._folder.is_dir():
            raise Unusable(f"{path}: there is no such file or folder")

    def names(self) -> set[str]:
        if self._zip:
            return {name for name in self._zip.namelist() if not name.endswith("/")}
        return {str(file.relative_to(self._folder).as_posix()) for file in self._folder.rglob("*") if file.is_file()}

    def open(self, name: str) -> IO[bytes]:
        self.opened.add(name)
        try:
            return self._zip.open(name) if self._zip else (self._folder / name).open("rb", 1 << 20)
        except (KeyError, OSError):
            raise Unusable(f"{name}: it is not in the bundle") from None

    def raw(self, name: str, limit: int = MAX_LINE) -> bytes:
        with self.open(name) as file:
            raw = file.read(limit + 1)
        if len(raw) > limit:
            raise Unusable(f"{name}: longer than {limit:,} bytes")
        return raw

    def text(self, name: str, limit: int = MAX_LINE) -> str:
        return self.raw(name, limit).decode("utf-8", "replace")

    def lines(self, name: str) -> Iterator[bytes]:
        with self.open(name) as file:
            while line := file.readline(MAX_LINE + 1):
                if len(line) > MAX_LINE:
                    raise Unusable(f"{name}: a line is longer than {MAX_LINE:,} bytes")
                yield line


class Findings:
    """What is wrong, all counted and the first hundred told; and what nobody looked at."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.count = 0
        self.first_bad_leaf: int | None = None
        self.not_checked: list[str] = []

    def add(self, what: str, leaf: int | None = None) -> None:
        self.count += 1
        if leaf is not None:
            what = f"leaf {leaf}: {what}"
            self.first_bad_leaf = leaf if self.first_bad_leaf is None else min(leaf, self.first_bad_leaf)
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(what)

    def guard(self, check: Callable[[], Any]) -> bool:
        """Whether it went without a problem."""
        try:
            check()
        except Bad as problem:
            self.add(str(problem))
            return False
        return True


NO_ANCHOR = "No anchor was compared: whoever holds the log's database and its key can have written all of it anew."
TRUTH = "Whether what the events say is true; only that it is what was recorded."
NOT_JOINED = (
    "{anchor}, an anchor of {old:,} leaves: nothing leads from it to {head} of {new:,}. Ask for the proof"
    " (manage.py prove_consistency {first} {last}, or GET /api/v1/checkpoints/{last}/consistency/{first}) and give"
    " it with --consistency."
)
AUTHORITY = (
    "That a timestamp authority signed {stamp}, which names {moment}:"
    " openssl ts -verify -data {note} -in {stamp} -CAfile ROOT.pem"
)


class Kept:
    """What the auditor brings along: anchors, and proofs that lead from them on."""

    def __init__(self, anchors: Sequence[Head], links: Sequence[Link]) -> None:
        self.anchors, self.links = anchors, links
        self.compared = 0

    def check(self, head: Head, keys: Keys, findings: Findings) -> None:
        """Signatures, and whether each anchor is the beginning of the log at hand, or its continuation."""
        self.check_signatures(keys, findings)
        for anchor in self.anchors:
            try:
                joined = is_joined(anchor, head, self.links)
            except Bad as problem:
                findings.add(str(problem))
                continue
            self.compared += joined
            if not joined:
                findings.not_checked.append(_not_joined(anchor, head))
        if not self.compared:
            findings.not_checked.append(NO_ANCHOR)

    def check_signatures(self, keys: Keys, findings: Findings) -> None:
        for head in (*self.anchors, *(link.head for link in self.links)):
            findings.guard(lambda head=head: keys.check(head))  # type: ignore[misc]


def _not_joined(anchor: Head, head: Head) -> str:
    first, last = sorted((anchor.size, head.size))
    return NOT_JOINED.format(
        anchor=anchor.where, old=anchor.size, head=head.where, new=head.size, first=first, last=last
    )


class Bundle:
    """An export of a stretch of the log from its beginning (`leaves.bin`), or of chosen events with their proofs: one
    for each, or one for all (`proof.bin`). A report's lines (`lines/*.csv`) name the events that they rest on."""

    def __init__(self, path: str, key: Key | None, kept: Kept) -> None:
        self.files, self.findings, self.kept = Files(path), Findings(), kept
        self.names = self.files.names()
        if "bundle.json" not in self.names or "checkpoint.txt" not in self.names:
            raise Unusable(f"{path}: not an evidence bundle: bundle.json or checkpoint.txt is not there")
        about = _json(self.files.text("bundle.json"))
        if about.get("format") != FORMAT:
            raise Unusable(f"{path}: its format is {about.get('format')!r}; this verifier knows {FORMAT}")
        self.told = about.get("events")
        self.keys = Keys(self._trusted(key))
        self.head = Head(self.files.text("checkpoint.txt", MAX_NOTE), "checkpoint.txt")
        self.stamped: list[Head] = []
        self.leaves = self.events = self.payloads = self.lines = self.pruned = 0

    def _trusted(self, key: Key | None) -> Key:
        if key is None:
            self.findings.not_checked.append(
                "Whose log this is: the key came with the bundle. Give --key with the one you got elsewhere."
            )
            return Key(self.files.text("key.txt", MAX_NOTE)) if "key.txt" in self.names else _refuse("there is no key")
        return key

    def check(self) -> Findings:
        self.findings.guard(self._follow_keys)
        self.findings.guard(lambda: self.keys.check(self.head))
        self._check_stamps()
        if "leaves.bin" in self.names:
            self._check_log()
        else:
            self.kept.check(self.head, self.keys, self.findings)
            if "proof.bin" in self.names:
                self._check_together()
            else:
                self._check_single_events()
        self._check_lines()
        if "payloads.log" in self.names:
            self._check_payloads()
        else:
            self.findings.not_checked.append("What was asked and answered: the bundle holds no payloads.")
        self.findings.not_checked += [TRUTH, self._not_looked_at()]
        return self.findings

    def _not_looked_at(self) -> str:
        """What stands under no signature, or was not even opened."""
        left = sorted(self.names - self.files.opened)
        more = f", and {len(left) - MOST_NAMED:,} more" if len(left) > MOST_NAMED else ""
        others = f"; and these files, which came along: {', '.join(left[:MOST_NAMED])}{more}" if left else ""
        return f"What bundle.json says beside the number of events{others}. No proof leads to them."

    def _follow_keys(self) -> None:
        if ROTATIONS in self.names:
            self.keys.follow(self.files.lines(ROTATIONS), ROTATIONS)

    def _check_stamps(self) -> None:
        """That each is about a checkpoint of this log, and that this log went on from there."""
        for name in sorted(each for each in self.names if re.fullmatch(r"stamps/[0-9-]+\.tsr", each)):
            stem = name[: -len(".tsr")]
            self.findings.guard(lambda stem=stem: self._check_stamp(stem))  # type: ignore[misc]

    def _check_stamp(self, stem: str) -> None:
        stamp, note, proof = f"{stem}.tsr", f"{stem}.txt", f"{stem}.consistency"
        if note not in self.names:
            raise Bad(f"{stamp}: the checkpoint that it stamps is not there")
        head = Head(self.files.text(note, MAX_NOTE), note)
        self.keys.check(head)
        moment = check_stamp(self.files.raw(stamp), self.files.raw(note, MAX_NOTE), stamp)
        self.findings.not_checked.append(AUTHORITY.format(stamp=stamp, moment=moment, note=note))
        self.stamped.append(head)
        links = [Link(self.files.text(proof, MAX_NOTE), proof)] if proof in self.names else []
        if "leaves.bin" not in self.names and not is_joined(head, self.head, links):
            self.findings.not_checked.append(f"That checkpoint.txt continues {note}, which was stamped.")

    def _check_log(self) -> None:
        """Events against leaves, then leaves against roots."""
        self.kept.check_signatures(self.keys, self.findings)
        if not self.kept.anchors:
            self.findings.not_checked.append(NO_ANCHOR)
        leaves = self._read_leaves()
        self._check_events(leaves)
        if len(leaves) // HASH < self.head.size:
            self.findings.add(f"missing; the checkpoint is of {self.head.size:,} leaves", leaf=len(leaves) // HASH)
        heads = sorted([*self._checkpoints(), self.head, *self.stamped, *self.kept.anchors], key=lambda head: head.size)
        tree = Tree()
        agreed: list[Head] = []
        for head in heads:
            if head.size * HASH > len(leaves):
                self.findings.add(
                    f"missing; {head.where} is of {head.size:,} leaves, the bundle has {len(leaves) // HASH:,}: the log"
                    " was cut back, or the bundle is older",
                    leaf=len(leaves) // HASH,
                )
                continue
            tree.extend(_hashes(leaves, tree.size, head.size))
            if tree.root() != head.root:
                self._differ(head, self._good_before(head, agreed))
                break
            agreed.append(head)
            self.kept.compared += head in self.kept.anchors
        self.leaves = self.head.size

    def _good_before(self, head: Head, agreed: Sequence[Head]) -> int:
        """Up to which leaf the log surely is the true one. When it is an anchor that differs, who wrote the log anew
        may have had the key, and only older anchors count. Else nobody signed what came after the first bad leaf, so
        a search among the checkpoints that agree finds the last one that is signed."""
        if head in self.kept.anchors:
            return max((each.size for each in agreed if each in self.kept.anchors), default=0)
        low, high = 0, len(agreed)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._is_signed(agreed[middle]) else (low, middle)
        return agreed[low - 1].size if low else 0

    def _is_signed(self, head: Head) -> bool:
        try:
            self.keys.check(head)
        except Bad:
            return False
        return True

    def _read_leaves(self) -> bytes:
        with self.files.open("leaves.bin") as file:
            leaves = file.read(self.head.size * HASH)
            if file.read(1):
                self.findings.add("leaves.bin goes on after it, under no signature", leaf=self.head.size)
        if len(leaves) % HASH:
            self.findings.add("leaves.bin is cut off", leaf=len(leaves) // HASH)
        return leaves

    def _checkpoints(self) -> Iterator[Head]:
        """The older ones that came along. Their roots are compared; under the newest signature they stand anyway."""
        if "checkpoints.jsonl" in self.names:
            for number, line in enumerate(self.files.lines("checkpoints.jsonl"), 1):
                yield Head(_json(line).get("note", ""), f"checkpoints.jsonl, line {number}")

    def _check_events(self, leaves: bytes) -> None:
        expected, hashed = 0, sha256
        gaps: list[tuple[int, int]] = []
        pruned: list[tuple[int, int]] = []
        for line in self.files.lines("events.log"):
            index, epoch, header = _event(line)
            if index < expected:
                self.findings.add("is told twice or out of order", leaf=index)
                continue
            if index >= self.head.size:
                self.findings.add("it is after the checkpoint, under no signature", leaf=index)
                continue
            gaps.append((expected, index))
            expected = index + 1
            entry = b"\x00" + epoch.to_bytes(8, "big", signed=True) + header
            if hashed(entry).digest() != leaves[index * HASH : index * HASH + HASH]:
                self.findings.add("the event is not the one that was recorded", leaf=index)
            elif PRUNED in header:
                pruned += _pruned_by(header, index)
            self.events += 1
        gaps.append((expected, self.head.size))
        self._judge(gaps, pruned)
        if self.told != self.events:
            self.findings.add(f"bundle.json tells of {self.told} events, there are {self.events}")

    def _differ(self, head: Head, good: int) -> None:
        """The root tells of a stretch; a leaf in it that is known to be bad says it better."""
        known = self.findings.first_bad_leaf
        if known is not None and good <= known < head.size:
            self.findings.add(f"{head.where}: its root is not that of these leaves")
        else:
            self.findings.add(f"it, or one before {head.size}, is not what {head.where} was made of", leaf=good)

    def _judge(self, gaps: Sequence[tuple[int, int]], pruned: list[tuple[int, int]]) -> None:
        """What is not there was pruned as a record in this log says, or it is missing."""
        pruned.sort()
        known = 0
        for start, end in gaps:
            if start >= end:
                continue
            while known < len(pruned) and pruned[known][1] <= start:
                known += 1
            at, look = start, known
            while at < end and look < len(pruned) and pruned[look][0] < end:
                first, past = pruned[look]
                self._miss(at, first)
                stop = min(past, end)
                if stop > at:
                    self.pruned += stop - max(at, first)
                    at = stop
                look += 1
            self._miss(at, end)
        if self.pruned:
            self.findings.not_checked.append(
                f"What {self.pruned:,} pruned records said: by other records of this log they went; their hashes stand."
            )

    def _miss(self, start: int, end: int) -> None:
        if start < end:
            many = "" if end == start + 1 else f", and those of the leaves up to {end - 1}"
            self.findings.add(f"its event{many} is gone", leaf=start)

    def _check_single_events(self) -> None:
        """Each by its proof; nothing is told of the events between."""
        self.findings.not_checked.append(
            "That these are all events of their kind: a bundle of single events proves each."
        )
        last, apart = -1, 0
        for line in self.files.lines("events.log"):
            index, epoch, header = _event(line)
            if index <= last:
                self.findings.add("is told twice or out of order", leaf=index)
                continue
            last, self.events = index, self.events + 1
            name = f"proofs/{index}.tlog-proof"
            if name not in self.names:
                self.findings.add("there is no proof of it", leaf=index)
                continue
            try:
                head = check_proof(self.files.text(name), leaf_entry(epoch, header), self.keys, name, index)
                apart += not is_joined(head, self.head, self.kept.links)
            except Bad as problem:
                self.findings.add(str(problem), leaf=index)
        if apart:
            self.findings.not_checked.append(
                f"That checkpoint.txt continues the older checkpoints under which {apart:,} events are proved; so no"
                " anchor speaks for these events."
            )
        if self.told != self.events:
            self.findings.add(f"bundle.json tells of {self.told} events, there are {self.events}")

    def _check_together(self) -> None:
        """All events by one proof: it holds the roots of the subtrees that none of them is in, from the left."""
        self.findings.not_checked.append("That these are all events of their kind: the bundle holds chosen ones.")
        with self.files.open("proof.bin") as nodes:
            try:
                root = _root_with(self._ascending(), self.head.size, nodes)
            except Bad as problem:
                self.findings.add(str(problem))
                return
            if root != self.head.root or nodes.read(1):
                self.findings.add("events.log and proof.bin do not lead to the root that the checkpoint signs")
        if self.told != self.events:
            self.findings.add(f"bundle.json tells of {self.told} events, there are {self.events}")

    def _ascending(self) -> Iterator[tuple[int, bytes]]:
        last = -1
        for line in self.files.lines("events.log"):
            index, epoch, header = _event(line)
            if index <= last or index >= self.head.size:
                raise Bad(f"leaf {index}: is told twice, out of order, or after the checkpoint")
            last, self.events = index, self.events + 1
            yield index, leaf_hash(leaf_entry(epoch, header))

    def _check_lines(self) -> None:
        """Every line of a report rests on events that came along and were checked above."""
        tables = sorted(name for name in self.names if re.fullmatch(r"lines/[a-z-]+\.csv", name))
        if not tables:
            return
        events = dict(self._as_lines_name_them())
        for name in tables:
            text = (line.decode("utf-8", "replace") for line in self.files.lines(name))
            try:
                for number, row in enumerate(csv.DictReader(text), 2):
                    self.lines += 1
                    if not _rests_on(row, events):
                        self.findings.add(f"{name}, record {number}: it rests on no event of this bundle")
            except csv.Error as error:
                self.findings.add(f"{name}: {error}")
        self.findings.not_checked.append("That the words of a line say what its event says: compare with events.log.")

    def _as_lines_name_them(self) -> Iterator[tuple[str, str]]:
        for line in self.files.lines("events.log"):
            index, epoch, header = _event(line)
            yield str(index), f"{leaf_hash(leaf_entry(epoch, header)).hex()} {_json(header).get('id')}"

    def _check_payloads(self) -> None:
        """What was asked and answered is what the events commit to, blinded."""
        commitments: dict[int, Any] = {}
        for line in self.files.lines("events.log"):
            index, _, header = _event(line)
            if b'"payload_commitment":""' not in header:
                commitments[index] = _json(header).get("payload_commitment")
        for line in self.files.lines("payloads.log"):
            told = _json(line)
            place, blinding, body = told.get("index"), told.get("blinding"), told.get("payload")
            if not isinstance(place, int):
                raise Unusable("payloads.log: a line names no leaf")
            if hmac.new(_base64(blinding), _base64(body), sha256).hexdigest() != commitments.pop(place, None):
                self.findings.add("its payload is not the one that was recorded", leaf=place)
            self.payloads += 1
        if commitments:
            self.findings.not_checked.append(f"{len(commitments):,} payloads that are not in the bundle.")

    def figure(self) -> str:
        counts = f"{self.events:,} events, {self.leaves:,} leaves, {self.payloads:,} payloads"
        if self.lines:
            counts = f"{self.lines:,} lines, {counts}"
        if self.pruned:
            counts += f", {self.pruned:,} records pruned: hash kept, header not checked"
        return f"{counts}, checkpoint {self.head.size:,} of {self.head.origin}, {self.kept.compared} anchors"


def check_proof(text: str, entry: bytes, keys: Keys, where: str, index: int | None = None) -> Head:
    """Bad unless the proof leads from this entry to a checkpoint that the log's key signed."""
    lines, _, note = text.partition("\n\n")
    first, *rest = lines.split("\n")
    rest = [line for line in rest if not line.startswith("extra ")]
    if first != PROOF_FORMAT or not rest or not re.fullmatch(r"index (0|[1-9][0-9]{0,18})", rest[0]):
        raise Bad(f"{where}: not a {PROOF_FORMAT}")
    head = Head(note, where)
    keys.check(head)
    told = int(rest[0].split()[1])
    if index not in (None, told) or not is_included(leaf_hash(entry), told, head, [_base64(line) for line in rest[1:]]):
        raise Bad(f"{where}: the event is not in the tree that it names")
    return head


def _root_with(chosen: Iterator[tuple[int, bytes]], size: int, nodes: IO[bytes]) -> bytes:
    """Of a tree of `size` leaves: from chosen leaves in their order, and the roots of what lies between them."""
    following = next(chosen, (size, b""))

    def walk(low: int, high: int) -> bytes:
        nonlocal following
        if following[0] >= high:
            node = nodes.read(HASH)
            if len(node) != HASH:
                raise Bad("proof.bin is cut off")
            return node
        if high - low == 1:
            leaf, following = following[1], next(chosen, (size, b""))
            return leaf
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        left = walk(low, middle)
        return node_hash(left, walk(middle, high))

    return walk(0, size) if size else sha256(b"").digest()


def _rests_on(row: dict[str, Any], events: dict[str, str]) -> bool:
    """The columns are those of the gateway's reports."""
    named = f"{row.get('leaf_hash')} {row.get('event_id')}"
    others = (row.get("other_leaves") or "").split()
    return events.get(row.get("leaf_index") or "") == named and all(other in events for other in others)


def _event(line: bytes) -> tuple[int, int, bytes]:
    """`index epoch header`, a line each; the header is the exact bytes that were hashed."""
    try:
        index, epoch, header = line.rstrip(b"\n").split(b" ", 2)
        place, moment = int(index), int(epoch)
        if not (0 <= place < 1 << 63 and -(1 << 63) <= moment < 1 << 63):
            raise ValueError
        return place, moment, header
    except ValueError:
        raise Unusable(f"events.log: not a line of an event: {line[:80]!r}") from None


def _pruned_by(header: bytes, index: int) -> list[tuple[int, int]]:
    """The leaves that a record of pruning names; it can only speak of what stood before it."""
    told = _json(header)
    details = told.get("details")
    ranges = details.get("ranges") if told.get("kind") == PRUNED.decode() and isinstance(details, dict) else None
    found = []
    for each in ranges if isinstance(ranges, list) else ():
        if isinstance(each, list) and len(each) == 2 and type(each[0]) is int is type(each[1]):
            first, past = each
            if 0 <= first < past <= index:
                found.append((first, past))
    return found


def _hashes(leaves: bytes, start: int, end: int) -> list[bytes]:
    return [leaves[at : at + HASH] for at in range(start * HASH, end * HASH, HASH)]


def _json(text: Any) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    return told if isinstance(told, dict) else {}


def _base64(text: Any) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (ValueError, TypeError):
        return b""


def _refuse(why: str) -> NoReturn:
    raise Unusable(why)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()[: MAX_LINE + 1]
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None


def _text(path: str) -> str:
    return _read(path).decode("utf-8", "replace")


def _report(findings: Findings, figure: str) -> int:
    for gap in findings.not_checked:
        print(f"Not checked: {gap}")
    for problem in findings.problems:
        print(f"Problem: {problem}")
    if findings.count > len(findings.problems):
        print(f"... and {findings.count - len(findings.problems):,} more problems")
    if not findings.count:
        print(f"sound: {figure}")
        return 0
    first = "" if findings.first_bad_leaf is None else f", first bad leaf {findings.first_bad_leaf}"
    print(f"NOT SOUND: {findings.count:,} problems{first}; {figure}")
    return 1


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("bundle", "proof", "checkpoint", "consistency"))
    parser.add_argument("path")
    parser.add_argument("--key", metavar="KEY", help="the log's verifier key, or a file that holds it")
    parser.add_argument("--anchor", metavar="NOTE", action="append", default=[], help="a kept checkpoint's file")
    parser.add_argument(
        "--consistency", metavar="FILE", action="append", default=[], help="a proof that leads from an anchor on"
    )
    parser.add_argument("--entry", metavar="FILE", help="of a proof: the bytes that the leaf hashes")
    parser.add_argument("--stamp", metavar="FILE", help="of a checkpoint: what a timestamp authority answered")
    parser.add_argument("--rotations", metavar="FILE", help="rotations.jsonl of an export, when the key was replaced")
    told = parser.parse_args(words)
    if told.key is None and told.what != "bundle":
        parser.error("--key is needed: without it nobody is known to have signed anything")
    if told.entry is None and told.what == "proof":
        parser.error("--entry is needed: the event's bytes that the proof is of")
    if not told.anchor and told.what == "consistency":
        parser.error("--anchor is needed: the older checkpoint that the newer one should continue")
    return told


def _key(told: str) -> Key:
    """As it is written, or from the file that holds it."""
    return Key(told if KEY_LIKE.fullmatch(told) else _text(told))


def _kept(told: argparse.Namespace) -> Kept:
    anchors = [Head(_text(path), path) for path in told.anchor]
    return Kept(anchors, [Link(_text(path), path) for path in told.consistency])


def _check_alone(told: argparse.Namespace) -> tuple[Findings, str]:
    """One file: an event's proof, a checkpoint, or the proof that one continues others."""
    keys, findings, kept = Keys(_key(told.key)), Findings(), _kept(told)
    if told.rotations:
        keys.follow(_text(told.rotations).splitlines(), told.rotations)
    head = CHECKS[told.what](told, keys, kept, findings)
    kept.check(head, keys, findings)
    if told.what == "consistency" and not kept.compared and not findings.count:
        raise Unusable(f"{told.path} leads from none of the anchors to its checkpoint of {head.size:,} leaves")
    return findings, f"checkpoint {head.size:,} of {head.origin}, root {head.root.hex()}, {kept.compared} anchors"


def _check_event(told: argparse.Namespace, keys: Keys, kept: Kept, findings: Findings) -> Head:
    findings.not_checked += [TRUTH, "What else the log holds: this is the proof of one event."]
    return check_proof(_text(told.path), _read(told.entry), keys, told.path)


def _check_note(told: argparse.Namespace, keys: Keys, kept: Kept, findings: Findings) -> Head:
    head = Head(_text(told.path), told.path)
    keys.check(head)
    findings.not_checked.append("What the log holds: this is only its size and root, signed.")
    if told.stamp:
        moment = check_stamp(_read(told.stamp), _read(told.path), told.stamp)
        findings.not_checked.append(AUTHORITY.format(stamp=told.stamp, moment=moment, note=told.path))
    return head


def _check_link(told: argparse.Namespace, keys: Keys, kept: Kept, findings: Findings) -> Head:
    link = Link(_text(told.path), told.path)
    keys.check(link.head)
    findings.not_checked.append("What the log holds: this is only that it grew from one size to another.")
    kept.links = [link, *kept.links]
    return link.head


CHECKS = {"proof": _check_event, "checkpoint": _check_note, "consistency": _check_link}


def main(words: Sequence[str] | None = None) -> int:
    told = _arguments(words)
    try:
        if told.what == "bundle":
            bundle = Bundle(told.path, told.key and _key(told.key), _kept(told))
            return _report(bundle.check(), bundle.figure())
        return _report(*_check_alone(told))
    except Bad as problem:
        print(f"NOT SOUND: {problem}")
        return 1
    except (Unusable, zipfile.BadZipFile) as error:
        print(f"cannot be checked: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
