"""What every outside detector offers the gateway: a text in, places in it out. No database, no policy, no vault here.

Whatever a service answers is hostile: bounded in size and depth, checked type by type; a place that is not in the text
makes the whole answer worthless.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import orjson

from connectors.base import Headers, UpstreamFailure
from connectors.detectors.settings import Setting
from connectors.egress import Egress
from connectors.http1 import Answer
from connectors.json_depth import is_too_deep

ANSWER_BYTES: Final = 1024 * 1024
MOST_HITS: Final = 5_000
LONGEST_LABEL: Final = 36
_UNFIT: Final = re.compile(r"[^a-z0-9_]+")


class DetectorFailure(Exception):
    """It did not say what is in the text. `code` is stable; the message is ours and holds nothing of what was sent or
    answered."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Hit(NamedTuple):
    """What a service found: `start` and `end` count characters of the text it was given."""

    label: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Wire:
    """The way to a service, for one question."""

    way: Callable[[str], Egress] = field(repr=False)
    seconds: float
    model_folders: Sequence[str] = ()
    """Where models may lie that are run here."""

    async def post(self, url: str, body: bytes, headers: Headers = ()) -> Any:
        """The JSON of a 200. Raises DetectorFailure."""
        lines = (("Content-Type", "application/json"), *headers)
        try:
            return await self.way(url).send(
                "POST", url, headers=lines, body=body, timeout_seconds=self.seconds, read=_read
            )
        except UpstreamFailure as failure:
            raise DetectorFailure(failure.code, failure.message) from None


class Detector(Protocol):
    """One that is set up; made once for each state of its settings and secret, used from one event loop. `model` is the
    digest of the model that answers, where that is run here and loaded."""

    @property
    def model(self) -> str: ...

    async def look(self, text: str, *, is_answer: bool, wire: Wire) -> Sequence[Hit]:
        """`is_answer`: the text is what a system answered, not what an agent sends. Raises DetectorFailure."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class DetectorKind:
    """`needs` says what its secret is, empty if it takes none; `secret_kinds` which kinds of secret may hold that."""

    label: str
    settings: tuple[Setting, ...]
    check: Callable[[Mapping[str, Any]], None]
    """Raises ValueError that begins with the setting's name."""
    build: Callable[[Mapping[str, Any], str], Detector]
    """Of settings that passed the check and the secret's value. Raises DetectorFailure."""
    needs: str = ""
    may_lack_it: bool = False
    secret_kinds: tuple[str, ...] = ("bearer",)
    most_bytes: int = 500_000
    """No more can be asked of it at once."""
    is_local: bool = False
    """The text does not leave this machine."""
    check_here: Callable[[Mapping[str, Any], Sequence[str]], None] = lambda _, __: None
    """Whether this installation can ask it, by settings that passed the check, and the folders that may hold models.
    Raises ValueError that begins with the name of what stands in the way."""


async def _read(answer: Answer) -> Any:
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise DetectorFailure("bad_answer", "It compressed its answer although asked not to.")
    body = await answer.whole(at_most=ANSWER_BYTES)
    if answer.status != 200:
        raise refused(answer.status)
    return parsed(body)


def refused(status: int) -> DetectorFailure:
    if status in (401, 403):
        return DetectorFailure("access", f"It answered {status}: its secret, or the rights of it, are not right.")
    if status == 429:
        return DetectorFailure("busy", "It answered 429: too many questions.")
    return DetectorFailure("error", f"It answered {status}.")


def parsed(body: bytes) -> Any:
    """Raises DetectorFailure."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise bad_answer("It did not answer in JSON.") from None
    if is_too_deep(body, value):
        raise bad_answer("Its answer is nested too deeply.")
    return value


def bad_answer(message: str = "Its answer has not the form that it should have.") -> DetectorFailure:
    return DetectorFailure("bad_answer", message)


# -- reading an answer, member by member; each raises DetectorFailure


def member(value: Any, name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    """A member of an object; `default` stands for one that is not there."""
    if not isinstance(value, dict):
        raise bad_answer()
    found = value.get(name, default)
    if found is default and default is not None:
        return found
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise bad_answer()
    return found


def items(value: Any, name: str) -> list[Any]:
    """A list that may be left out when it is empty."""
    found: list[Any] = member(value, name, list, default=[])
    if len(found) > MOST_HITS:
        raise bad_answer(f"It tells more than {MOST_HITS:,} findings.")
    return found


def count(value: Any, name: str, default: int | None = None) -> int:
    """A number of characters or bytes; Google writes such numbers as text."""
    found = member(value, name, (int, str), default=default)
    if isinstance(found, str):
        if not (found.isascii() and found.isdecimal() and len(found) < 12):
            raise bad_answer()
        return int(found)
    return int(found)


def score(value: Any, name: str) -> float:
    found = float(member(value, name, (int, float)))
    if not 0.0 <= found <= 1.0:
        raise bad_answer("A score is not from 0 to 1.")
    return found


def named(label: str) -> str:
    """As rules of detection are called: `US_SSN` is `us_ssn`."""
    return _UNFIT.sub("_", label[: 4 * LONGEST_LABEL].lower()).strip("_")[:LONGEST_LABEL] or "found"


def within(text: str, hits: Iterable[Hit]) -> list[Hit]:
    """They, if each of them stands in the text."""
    found = list(hits)
    if len(found) > MOST_HITS:
        raise bad_answer(f"It tells more than {MOST_HITS:,} findings.")
    if any(not 0 <= hit.start < hit.end <= len(text) for hit in found):
        raise bad_answer("It tells of a place that is not in the text.")
    return found


def characters(text: str, start: int, end: int) -> tuple[int, int]:
    """A range of bytes of the text in UTF-8 as characters. One that cuts a character in two takes all of it."""
    body = text.encode()
    if not 0 <= start < end <= len(body):
        raise bad_answer("It tells of a place that is not in the text.")
    while start and body[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(body) and body[end] & 0xC0 == 0x80:
        end += 1
    first = len(body[:start].decode())
    return first, first + len(body[start:end].decode())
