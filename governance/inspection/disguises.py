"""Secrets that somebody spelled in another way, found by how they begin: letters apart, backwards, rot13, and codes
(`disguised_codes.py`).

Only what begins like a token of a known vendor is read so, and only a token in that vendor's format counts. All
beginnings are looked for as they stand, for literals cost the first pass nothing.
"""

import re
from codecs import encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from governance.inspection import plausible
from governance.inspection.detector import Hit
from governance.inspection.secret_formats import FORMATS, Format
from governance.inspection.signals import Encoded, Signal, TooManyMatches
from governance.inspection.views import View

VERSION: Final = 1
CONFIDENCE: Final = 0.9
BEGINNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "aws_access_key_id": ("AKIA", "ASIA"),
    "google_api_key": ("AIza",),
    "google_oauth_secret": ("GOCSPX-",),
    "google_access_token": ("ya29.",),
    "digitalocean_token": ("dop_v1_",),
    "databricks_token": ("dapi",),
    "github_token": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    "github_fine_grained_token": ("github_pat_",),
    "gitlab_token": ("glpat-",),
    "atlassian_token": ("ATATT3",),
    "npm_token": ("npm_",),
    "pypi_token": ("pypi-Ag",),
    "docker_token": ("dckr_pat_",),
    "vault_token": ("hvs.",),
    "openai_key": ("sk-proj-", "sk-svcacct-"),
    "anthropic_key": ("sk-ant-",),
    "openrouter_key": ("sk-or-v1-",),
    "groq_key": ("gsk_",),
    "slack_token": ("xoxb-", "xoxp-"),
    "slack_app_token": ("xapp-",),
    "stripe_key": ("sk_live_", "sk_test_", "rk_live_"),
    "stripe_webhook_secret": ("whsec_",),
    "shopify_token": ("shpat_",),
    "linear_key": ("lin_api_",),
    "grafana_service_token": ("glsa_",),
    "gatehouse_key": ("gate_ak_", "gate_pt_"),
}
"""Rule of a format -> how its tokens begin."""
ALL_BEGINNINGS: Final = tuple(each for those in BEGINNINGS.values() for each in those)
NEEDLES: Final = tuple(dict.fromkeys(each[:4] for each in ALL_BEGINNINGS))
"""What is looked for where a beginning is written in another way."""
BY_RULE: Final = {each.rule: each for each in FORMATS}
WINDOW: Final = 640
"""Characters from the beginning on that are read: letters apart take some each."""
MOST_TOKEN: Final = 200
MOST_READ: Final = 40
"""Of one disguise in one view: each costs up to a millisecond, and what is cheap to rule out does not count."""
CHECKED: Final = 40
"""Characters of a token that has a checksum: what goes on after it are words that stick to it."""
MOST_FILLER: Final = 8
"""Different characters of a token that nobody uses."""
WORD: Final = re.compile(r"[A-Za-z0-9_\-.]*")
GROUP: Final = re.compile(r"[A-Za-z0-9]+")
GAP: Final = re.compile(r"[^A-Za-z0-9]{1,8}")
LETTERS_AND_GAPS: Final = re.compile(r"(?:[^A-Za-z0-9]{0,8}[A-Za-z0-9])*")
WORDS: Final = re.compile(r"[^A-Za-z0-9]+[A-Z]?[a-z]{3,}[^A-Za-z0-9]+[a-z]+[^A-Za-z0-9]+[a-z]{2,}")
"""Here a sentence goes on."""
SPEAKING: Final = re.compile(r"[a-z]{3,}(?:[_\-. ]|$)")
"""A name goes on, and no token."""
GAPS: Final = (
    *(
        " ",
        "\n",
        "-",
        ".",
        ",",
        ", ",
        "|",
        "_",
        "/",
        ":",
        ";",
        "+",
        "~",
        "*",
        "·",
        "•",
        "\t",
        "  ",
        "\n- ",
        " | ",
        " - ",
    ),
    *("', '", "','", "' '", "'+'", '", "', '","', '"+"', "]["),
)
USUAL_GAPS: Final = GAPS[:6]
MANY: Final = 14
"""Gaps in one signal: a pattern may not be endless."""
SHORT: Final = 2
"""Letters that make no word."""


class Reading(NamedTuple):
    """What a part of a text may say; `ends[i]` is where character i of it ends in that text."""

    start: int
    plain: str
    ends: Sequence[int]
    is_plain: bool = False
    """Are its letters those of the text, so that words of a language may pass for a token?"""


@dataclass(frozen=True, slots=True)
class Disguise:
    """`read` is told the text, and where something begins and ends that the signal means."""

    signal: Signal
    read: Callable[[str, int, int], Iterator[Reading]]

    def look(self, view: View) -> Iterator[Hit]:
        done = read = 0
        for match in self.signal.find(view.encoded):
            if match.start < done:
                continue
            for reading in self.read(view.text, match.start, match.end):
                read += 1
                if (hit := _judged(reading, view.text)) is not None:
                    done = hit.end
                    yield hit
                    break
            if read > MOST_READ:
                raise TooManyMatches(self.signal.name)


def signal(name: str, literals: Iterable[str], *, before: str = "", after: str = "", caseless: bool = False) -> Signal:
    """The first pass may ask for more around the literals."""
    found = "|".join(map(re.escape, dict.fromkeys(literals)))
    glimpse = f"{before}(?:{found}){after}" if before or after else ""
    return Signal(f"secret.{name}", found, glimpse, caseless=caseless)


def spelled(needle: str, size: int, gaps: Iterable[str]) -> list[str]:
    """With gaps after each `size` letters, if there is room for any."""
    pieces = [needle[at : at + size] for at in range(0, len(needle), size)]
    return [gap.join(pieces) for gap in gaps] if len(pieces) > 1 else []


def _judged(reading: Reading, text: str) -> Hit | None:
    for each in _beginning_like(reading.plain):
        match = next(each.signal.find(Encoded(reading.plain)), None)
        if match is None or match.start:
            continue
        end = match.end if each.check is None else min(match.end, CHECKED)
        token, last = reading.plain[:end], max(reading.ends[:end])
        is_certain = each.check is not None and each.check(token)
        if is_certain or (_is_random(token) and not (reading.is_plain and _is_prose(text[reading.start : last]))):
            return Hit(each.rule, VERSION, "secret", each.severity, CONFIDENCE, reading.start, last)
    return None


def _beginning_like(plain: str) -> Iterator[Format]:
    for rule, beginnings in BEGINNINGS.items():
        if plain.startswith(beginnings):
            yield BY_RULE[rule]


def _is_random(token: str) -> bool:
    """Letters and digits, or letters of both cases, and not the same ones over and over."""
    body = token[4:]
    is_mixed = any(map(str.isdigit, body)) or not (body.islower() or body.isupper())
    return is_mixed and len(set(body)) > MOST_FILLER and not plausible.is_filler(body)


def _is_prose(text: str) -> bool:
    groups = GROUP.findall(text)
    words = [each for each in groups if len(each) > SHORT and each.isalpha() and (each.islower() or each.istitle())]
    return 3 * sum(map(len, words)) > sum(map(len, groups))


# -- letters apart


def _apart(text: str, start: int, end: int) -> Iterator[Reading]:
    """Without all that is no letter; and without one gap only, since what is no letter may be a part of a token."""
    run = LETTERS_AND_GAPS.match(text, end, end + WINDOW)
    window = WORDS.split(run.group(), maxsplit=1)[0] if run else ""
    yield _kept(text, start, end, window, [at for at, letter in enumerate(window) if letter.isalnum()])
    yield from _without_one_gap(text, start, end, window)


def _begun(text: str, start: int, end: int) -> Iterator[Reading]:
    """What begins as usual and then goes on with gaps, which are alike: else many a list of names would be a token."""
    if text[max(0, start - 1) : start].isalnum() or SPEAKING.match(text, end) or _stands_whole(text, start):
        return
    run = LETTERS_AND_GAPS.match(text, end, end + WINDOW)
    yield from _without_one_gap(text, start, end, WORDS.split(run.group(), maxsplit=1)[0] if run else "")


def _without_one_gap(text: str, start: int, end: int, window: str) -> Iterator[Reading]:
    gaps = GAP.findall(window)
    for gap in dict.fromkeys([*gaps[:2], *sorted(gaps, key=gaps.count)[-1:]]):
        dropped = {place for found in re.finditer(re.escape(gap), window) for place in range(*found.span())}
        yield _kept(text, start, end, window, [at for at in range(len(window)) if at not in dropped])


def _kept(text: str, start: int, end: int, window: str, kept: list[int]) -> Reading:
    beginning, kept = BY_LETTERS[_letters(text[start:end])], kept[:MOST_TOKEN]
    plain = beginning + "".join([window[place] for place in kept])
    ends = [*range(start + 1, start + len(beginning)), end, *(end + place + 1 for place in kept)]
    return Reading(start, plain, ends, is_plain=True)


def _stands_whole(text: str, start: int) -> bool:
    plain = Encoded(text[start : start + MOST_TOKEN])
    return any(match.start == 0 for each in _beginning_like(plain.text[:16]) for match in each.signal.find(plain))


def _letters(text: str) -> str:
    return "".join(GROUP.findall(text))


BY_LETTERS: Final = {_letters(each): each for each in ALL_BEGINNINGS}


def _spelled(*sizes: int, gaps: Sequence[str]) -> Iterator[str]:
    return (each for size in sizes for beginning in ALL_BEGINNINGS for each in spelled(beginning, size, gaps))


# -- backwards, and by another alphabet


def _backwards(text: str, _: int, end: int) -> Iterator[Reading]:
    run = WORD.match(text[max(0, end - MOST_TOKEN) : end][::-1])
    if run:
        yield Reading(end - run.end(), run.group(), [end] * run.end())


def _rotated(text: str, start: int, _: int) -> Iterator[Reading]:
    run = WORD.match(text, start, start + MOST_TOKEN)
    if run:
        yield Reading(start, encode(run.group(), "rot13"), range(start + 1, run.end() + 1))


DISGUISES: Final = (
    Disguise(signal("begun", ALL_BEGINNINGS), _begun),
    Disguise(signal("apart", _spelled(1, gaps=GAPS[:MANY])), _apart),
    Disguise(signal("far_apart", _spelled(1, gaps=GAPS[MANY:])), _apart),
    Disguise(signal("in_pairs", _spelled(2, gaps=USUAL_GAPS)), _apart),
    Disguise(signal("in_pieces", _spelled(3, 4, 5, gaps=USUAL_GAPS)), _apart),
    Disguise(signal("backwards", [each[::-1] for each in NEEDLES], before="[A-Za-z0-9_-]{8}"), _backwards),
    Disguise(signal("rotated", [encode(each, "rot13") for each in NEEDLES], after="[A-Za-z0-9_-]{8}"), _rotated),
)
