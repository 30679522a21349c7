"""Instructions to the model in what tools return. Pure: no Django, no database.

Rules and a small linear model look at passages, not at the whole: a long honest text does not dilute one bad sentence.
No detector catches all; what holds when it misses stands elsewhere.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import exp
from typing import Final, NamedTuple

import re2

from governance.inspection import misplaced
from governance.inspection.detector import Detector, Hit
from governance.inspection.findings import Severity
from governance.inspection.injection_reading import Reading, has_meanings, outline
from governance.inspection.injection_rules import MARKS, ROWS, Row, Rule
from governance.inspection.signals import Encoded, Signal, SignalTable
from governance.inspection.views import RAW, View
from governance.inspection.walk import Leaf

VERSION: Final = 3
WINDOW: Final = 500
"""Characters within which rules add up."""
FLAG: Final = 1.2
HOLD: Final = 1.8
"""The weight of a passage that is told, and of one that is held: less than 3 and 1 % false alarms where the judging of
`bench.injection.train` leaves sources out."""
LEAST: Final = 0.6
"""Below this a rule tells nothing."""
SHARE: Final = 0.3
LEAST_LIKELY: Final = -2.0
MOST_LIKELY: Final = 4.0
"""How much the model counts: it tips what rules leave open and flags nothing alone."""
RULES_SHARE: Final = 1.5
LEAST_MISPLACED: Final = -1.0
EVEN: Final = 0.95
LEAST_GUESS: Final = 0.01
"""How rules and the model come to a guess, and the least that is told."""
MOST_PLACES: Final = 2_000
MOST_HITS: Final = 20
SURE: Final = 0.8
UNSURE: Final = 0.5
TOLD: Final = SURE - 0.01
CITED: Final = UNSURE - 0.01
TOPIC_TERMS: Final = 3
"""So many different terms of the trade make a text one about attacks: its orders are told and not held, and not
even told where all of them stand in quotation marks and ask for no deed. With fewer terms, or where nothing but a
quotation speaks for it and no deed is asked for, those are told that stand as examples do."""
QUOTED_TERMS: Final = 2
ACTING: Final = frozenset(("exfiltration", "relay", "coercion", "concealment", "authority"))
"""Families of rules."""

_TOPIC: Final = re2.compile(
    r"(?i)(?:(?:prompt|is|direct)?[ _-]?injections?\b|jailbreak\w*|red[ -]team\w*|guardrails?|owasp|mitre|cve-\d"
    r"|adversarial|false positives?|evasion|vulnerabilit\w+|mitigations?|exfiltration|detect(?:ors?|ion|s|ed)\b"
    r"|classifiers?|benchmarks?|attackers?|payloads?|malicious|attacks?\b|threats?\b|sanitiz\w+|llm security|untrusted"
    r"|signatures?\b|poison(?:ed|ing)\b|phishing|spoofing|suspicious|blocklists?"
    r"|heuristics?|scann(?:er|ing)\b|obfuscat\w+|leakage|instruction[ _-]override|regex(?:es)?\b|hijacking)"
)
_QUOTED: Final = re.compile(
    r"[“”«»`]\W{0,3}$|[\w)(—–:-] ?\(?[\"']\W{0,3}$|\n[ \t]*(?:\||[-*] |>)[^\n]{0,200}$",
)
"""Before a passage that is an example: a quotation in a sentence, code, a row of a table, an item of a list."""
_CITED: Final = re.compile(
    r"[“«`]\W{0,3}(?:\w{1,12} ){0,2}$|(?:[\w),] |\()[\"']\W{0,3}(?:\w{1,12} ){0,2}$|\n[ \t]*\|[^\n]{0,200}$"
)
"""The surest of these: what stands behind a word, a bracket or a comma. The value of a member in JSON is none."""
_ROW_TABLE: Final = SignalTable(Signal(row.rule.name, row.pattern.pattern) for row in ROWS)


class Place(NamedTuple):
    rule: Rule
    start: int
    end: int


class Passage(NamedTuple):
    """Where rules add up, and to what."""

    weight: float
    start: int
    end: int
    rule: str
    is_acting: bool
    """Is more asked for than to forget and to tell?"""


def look(view: View, leaf: Leaf, signals: frozenset[str]) -> Iterator[Hit]:
    found = weighed(view, signals)
    if not found:
        return
    is_told = any(passage.weight >= FLAG for passage in found)
    terms = topic_terms(view.text) if is_told else 0
    told = (passage for passage in found if passage.weight >= FLAG)
    is_citing = terms >= TOPIC_TERMS and all(
        not passage.is_acting and _stands(_CITED, view.text, passage) for passage in told
    )
    for passage in found:
        yield _hit(passage, CITED if is_citing else TOLD if _is_example(view.text, passage, terms) else 1.0)


def weighed(view: View, signals: frozenset[str]) -> list[Passage]:
    """By rules, and by the model what they find."""
    reading = Reading(view.text)
    found = _found(view, reading, signals)
    likeliest = misplaced.likeliest(reading) if found else None
    if likeliest is None:
        return found
    share = SHARE * min(MOST_LIKELY, max(LEAST_LIKELY, likeliest.score))
    return [passage._replace(weight=max(0.0, passage.weight + share)) for passage in found]


def guess(view: View, leaf: Leaf, signals: frozenset[str]) -> Iterator[Hit]:
    """How likely it is that something here gives orders, by rules and by the model. Graded, so that who measures sees
    what lies below the rules' bound; it counts for no rule."""
    reading = Reading(view.text)
    likeliest = misplaced.likeliest(reading)
    if likeliest is None:
        return
    heaviest = max((passage.weight for passage in _found(view, reading, signals)), default=0.0)
    confidence = guessed(heaviest, likeliest.score)
    if confidence >= LEAST_GUESS:
        yield Hit("injection.model", VERSION, "guess", Severity.LOW, confidence, likeliest.start, likeliest.end)


def guessed(weight: float, score: float) -> float:
    """Of what rules weigh and the model scores: half where one harmless text in twenty would be taken for an attack."""
    total = RULES_SHARE * weight + max(LEAST_MISPLACED, score)
    return round(1 / (1 + exp(min(30.0, EVEN - total))), 4)


def _found(view: View, reading: Reading, signals: frozenset[str]) -> list[Passage]:
    """By rules alone."""
    marked = list(_marked(view, signals))
    near = _near(view.text)
    if not near and not marked:
        return []
    possible = _possible(view.text)
    if not possible and not marked:
        return []
    return passages(_sorted([*marked, *_read(reading, [row for row in possible if row.rule.name in near])]))


def weight_by_rules(text: str) -> float:
    """Of the heaviest passage, for who trains and judges the model."""
    view = View(RAW, text)
    marked = _marked(view, frozenset(signal.name for _, signal in MARKS))
    found = _sorted([*marked, *_read(Reading(text), _possible(text))])
    return max((passage.weight for passage in passages(found)), default=0.0)


def _sorted(found: list[Place]) -> list[Place]:
    return sorted(found[:MOST_PLACES], key=lambda place: place.start)


def _marked(view: View, signals: frozenset[str]) -> Iterator[Place]:
    for rule, signal in MARKS:
        if signal.name in signals:
            for match in signal.find(view.encoded):
                yield Place(rule, match.start, match.end)


def may_order(text: str) -> bool:
    """Do words stand together of which a rule is made?"""
    return bool(_near(text))


def _near(text: str) -> frozenset[str]:
    """The names of the rows that may occur."""
    return _ROW_TABLE.occurring(Encoded(outline(text)))


def _possible(text: str) -> Sequence[Row]:
    return _needing(has_meanings(text))


@lru_cache(maxsize=4096)
def _needing(present: frozenset[str]) -> Sequence[Row]:
    """The rows of rules that these meanings may make."""
    return [row for row in ROWS if not any(present.isdisjoint(either) for either in row.needs)]


def _read(reading: Reading, possible: Sequence[Row]) -> Iterator[Place]:
    for row in possible:
        for match in row.pattern.finditer(reading.meanings):
            if match.end() > match.start() and row.unless.isdisjoint(reading.words[match.start() : match.end() + 1]):
                yield Place(row.rule, reading.spans[match.start()][0], reading.spans[match.end() - 1][1])


def passages(found: Sequence[Place]) -> list[Passage]:
    """The heaviest first, none over another."""
    heavy = sorted((_passage(found, first) for first in range(len(found))), reverse=True)
    kept: list[Passage] = []
    for passage in heavy:
        if passage.weight < LEAST or len(kept) >= MOST_HITS:
            break
        if all(passage.end <= other.start or other.end <= passage.start for other in kept):
            kept.append(passage)
    return kept


def _passage(found: Sequence[Place], first: int) -> Passage:
    """From one place on: the heaviest rule counts whole, those of other families half."""
    start, end = found[first].start, found[first].end
    best: dict[str, Rule] = {}
    for place in found[first : first + 60]:
        if place.end > start + WINDOW:
            continue
        known = best.get(place.rule.family)
        if known is None or known.weight < place.rule.weight:
            best[place.rule.family] = place.rule
            end = max(end, place.end)
    heaviest = max(best.values(), key=lambda rule: rule.weight, default=found[first].rule)
    weight = (heaviest.weight + sum(rule.weight for rule in best.values())) / 2
    return Passage(weight, start, end, heaviest.name, not ACTING.isdisjoint(best))


def topic_terms(text: str) -> int:
    """Articles and documentation on the subject quote what they warn of: to be told, not to be held."""
    return len({match[0].lower()[:8] for match in _TOPIC.finditer(text.encode(errors="replace"))})


def _is_example(text: str, passage: Passage, terms: int) -> bool:
    if terms >= QUOTED_TERMS:
        return terms >= TOPIC_TERMS or _stands(_QUOTED, text, passage)
    return (bool(terms) or not passage.is_acting) and _stands(_CITED, text, passage)


def _stands(after: re.Pattern[str], text: str, passage: Passage) -> bool:
    return after.search(text[max(0, passage.start - 250) : passage.start]) is not None


def _hit(passage: Passage, most: float) -> Hit:
    """Suspected, unless it is sure enough to be acted on."""
    confidence = min(_confidence(passage.weight), most)
    rule = f"injection.{passage.rule}"
    if confidence >= SURE:
        return Hit(rule, VERSION, "injection", Severity.HIGH, round(confidence, 4), passage.start, passage.end)
    return Hit(rule, VERSION, "suspicion", Severity.MEDIUM, round(confidence, 4), passage.start, passage.end)


def _confidence(weight: float) -> float:
    """Half at FLAG, four fifths at HOLD, never certain."""
    if weight < FLAG:
        return UNSURE * weight / FLAG * 0.99
    if weight < HOLD:
        return UNSURE + (SURE - UNSURE) * (weight - FLAG) / (HOLD - FLAG)
    return SURE + (1 - SURE) * (1 - HOLD / weight)


INJECTION: Final = Detector(
    frozenset(("injection", "suspicion")), tuple(signal for _, signal in MARKS), look, by_text=may_order
)
GUESSES: Final = Detector(frozenset(("guess",)), (), guess, by_text=bool)
"""For who measures: the gateway does not ask for it."""
