"""Signed statements of the log's size and root, in the text formats outsiders' tools read.

C2SP signed-note and tlog-checkpoint with Ed25519. The key file holds the log's name beside its seed, so a log
keeps its identity when the installation's public address changes.
"""

import os
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Self
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from audit.merkle import HASH_BYTES

ED25519 = b"\x01"
KEY_BYTES = 32
MAX_NOTE_CHARS = 16_384
KEY_NAME = re.compile(r"[^\s+]+")
KEY_FILE = re.compile(r"PRIVATE\+KEY\+(?P<name>[^\s+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)\n?")
CHECKPOINT = re.compile(r"(?P<origin>[^\n]+)\n(?P<size>0|[1-9][0-9]{0,18})\n(?P<root>[A-Za-z0-9+/=]{44})\n")
SIGNATURE = re.compile(r"— (?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/=]+)")


class BadNote(ValueError):
    """A note that is malformed or not signed by the key it should be."""


class BadKey(ValueError):
    """A signing key file that cannot be used; the message never shows its content."""


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a checkpoint states: this log, at this size, has this root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """BadNote unless it is exactly the three lines we write."""
        match = CHECKPOINT.fullmatch(text)
        if match is None:
            raise BadNote("not a checkpoint")
        return cls(match["origin"], int(match["size"]), _decoded(match["root"], length=HASH_BYTES))


@dataclass(frozen=True, slots=True)
class Verifier:
    """The public half: whose signature to expect under a note."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        """The verifier key as auditors paste it: `name+id+key`."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(ED25519 + self.public).decode()}"

    def open(self, note: str) -> TreeHead:
        """What the checkpoint states, if this key signed it. Raises BadNote."""
        return TreeHead.parse(self.open_statement(note))

    def signs_next(self, note: str) -> bool:
        """Whether this key's signature is the last one of its log: at a handover that is the next signer's."""
        lines = note.rpartition("\n\n")[2].split("\n")
        ours = [line for line in lines if line.startswith(f"— {self.name} ")]
        return bool(ours) and _parse_signature(ours[-1])[1][:4] == self.key_id

    def has_signed(self, note: str) -> bool:
        try:
            self.open(note)
        except BadNote:
            return False
        return True

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the form of `str()`. Raises BadKey."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            raw = b64decode(encoded, validate=True)
        except Base64Error:
            raise BadKey("not a verifier key") from None
        verifier = cls(name, raw[1:])
        if not KEY_NAME.fullmatch(name) or raw[:1] != ED25519 or verifier.key_id.hex() != key_id:
            raise BadKey("not a verifier key")
        return verifier

    def open_statement(self, note: str) -> str:
        """The text of the note, if this key signed it. Signatures of other keys do not count.

        BadNote if the form is wrong, our signature is missing, or it fails.
        """
        if len(note) > MAX_NOTE_CHARS:
            raise BadNote("too long")
        text, blank, lines = note.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise BadNote("not a signed note")
        text += "\n"
        signatures = [_parse_signature(line) for line in lines[:-1].split("\n")]
        ours = [raw[4:] for name, raw in signatures if name == self.name and raw[:4] == self.key_id]
        if not ours:
            raise BadNote(f"not signed by {self.name}")
        for signature in ours:
            self._check(text, signature)
        return text

    def _check(self, text: str, signature: bytes) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError) as error:
            raise BadNote(f"the signature of {self.name} is wrong") from error


@dataclass(frozen=True, slots=True)
class Signer:
    """A log's name and its private key."""

    name: str
    key: Ed25519PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        if not KEY_NAME.fullmatch(self.name):
            raise BadKey("a log's name has no space and no plus")

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.name, self.key.public_key().public_bytes_raw())

    def sign(self, *, size: int, root: bytes) -> str:
        """The signed note for a tree of this log."""
        return self._note(TreeHead(self.name, size, root).text())

    def sign_with(self, heir: "Signer", *, size: int, root: bytes) -> str:
        """The same by two keys of one log: this one, and the one that comes after it."""
        _, _, line = heir.sign(size=size, root=root).rpartition("\n\n")
        return self.sign(size=size, root=root) + line

    def sign_statement(self, text: str) -> str:
        """Of something else in the log's name; never what could be taken for a checkpoint. Raises BadNote."""
        if CHECKPOINT.fullmatch(text) or not text.endswith("\n") or "\n\n" in text:
            raise BadNote("not a statement")
        return self._note(text)

    def _note(self, text: str) -> str:
        signature = b64encode(self.verifier.key_id + self.key.sign(text.encode())).decode()
        return f"{text}\n— {self.name} {signature}\n"


def installation_signer() -> Signer:
    """This installation's signer; its key is made on first use."""
    path = Path(settings.AUDIT_SIGNING_KEY_FILE)
    if not path.exists():
        _create(path, Signer(log_name(settings.PUBLIC_URL), Ed25519PrivateKey.generate()))
    return load_signer(path)


def installation_verifier() -> Verifier | None:
    """Whose signatures this installation's checkpoints carry; None as long as it has signed nothing."""
    path = Path(settings.AUDIT_SIGNING_KEY_FILE)
    return load_signer(path).verifier if path.exists() else None


class InstallationKeys:
    """The key file, and beside it the key that is to follow. Which of them signs is for the log to say: once a
    checkpoint carries the next key's signature, that key takes the file's place, whoever saw it first."""

    def __init__(self) -> None:
        self._path = Path(settings.AUDIT_SIGNING_KEY_FILE)
        self._next = self._path.with_name(f"{self._path.name}.next")

    def after(self, note: str) -> Signer:
        """Who signs after this checkpoint."""
        heir = self.heir()
        if heir is None or not heir.verifier.has_signed(note):
            return load_signer(self._path)
        self.hand_over()
        return heir

    def heir(self) -> Signer | None:
        try:
            return load_signer(self._next)
        except FileNotFoundError:
            return None

    def make_heir(self, name: str) -> Signer:
        """Of two that want one, both get the same."""
        _create(self._next, Signer(name, Ed25519PrivateKey.generate()))
        return load_signer(self._next)

    def hand_over(self) -> None:
        """The older private key is gone then; its public half stays in the log."""
        with suppress(FileNotFoundError):
            self._next.replace(self._path)


def log_name(public_url: str) -> str:
    return f"{urlsplit(public_url).netloc.rpartition('@')[2]}/audit"


def load_signer(path: Path) -> Signer:
    """BadKey if the file does not hold a key; OSError if it cannot be read."""
    match = KEY_FILE.fullmatch(path.read_text(encoding="utf-8", errors="replace"))
    if match is None:
        raise BadKey(f"{path} does not hold an audit signing key")
    signer = Signer(match["name"], _private_key(match["key"], path))
    if signer.verifier.key_id.hex() != match["id"]:
        raise BadKey(f"{path} is damaged: name and key do not belong together")
    return signer


def _private_key(encoded: str, path: Path) -> Ed25519PrivateKey:
    try:
        raw = b64decode(encoded, validate=True)
    except Base64Error:
        raise BadKey(f"{path} is damaged") from None
    if raw[:1] != ED25519 or len(raw) != 1 + KEY_BYTES:
        raise BadKey(f"{path} does not hold an Ed25519 key")
    return Ed25519PrivateKey.from_private_bytes(raw[1:])


def _create(path: Path, signer: Signer) -> None:
    """Writes beside and links into place: a reader never sees half a key, and of two creators one wins."""
    encoded = b64encode(ED25519 + signer.key.private_bytes_raw()).decode()
    with NamedTemporaryFile("w", dir=path.parent, prefix=path.name) as beside:
        beside.write(f"PRIVATE+KEY+{signer.name}+{signer.verifier.key_id.hex()}+{encoded}\n")
        beside.flush()
        os.fsync(beside.fileno())
        try:
            path.hardlink_to(beside.name)
        except FileExistsError:
            return


def _parse_signature(line: str) -> tuple[str, bytes]:
    match = SIGNATURE.fullmatch(line)
    if match is None:
        raise BadNote("a signature line is malformed")
    return match["name"], _decoded(match["signature"])


def _decoded(encoded: str, *, length: int | None = None) -> bytes:
    try:
        raw = b64decode(encoded, validate=True)
    except Base64Error:
        raise BadNote("bad base64") from None
    if b64encode(raw).decode() != encoded or length not in (None, len(raw)):
        raise BadNote("bad base64")
    return raw
