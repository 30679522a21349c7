"""Trains the model of injected instructions, or judges it on what it has not seen.

    python -m bench.injection.train PATH/injection.jsonl [--judge]

Trained on that set (its README names the licences) and on the texts of this package, on nothing else. The same data
give the same model, byte by byte. Judging leaves out a third of all templates and sources at a time; first as they
fall, so that other attacks of a source were seen, then whole sources of attacks.
"""

import argparse
import json
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from pathlib import Path
from typing import Any, Final

from bench.injection.generate import Sample, errand_samples, samples
from governance.inspection.injection import (
    FLAG,
    HOLD,
    LEAST,
    LEAST_LIKELY,
    LEAST_MISPLACED,
    MOST_LIKELY,
    RULES_SHARE,
    SHARE,
    weight_by_rules,
)
from governance.inspection.injection_model import BUCKETS, FILE, packed
from governance.inspection.injection_reading import Reading
from governance.inspection.misplaced import sentences

SEED = 20_261_122
ATTACKING, INNOCENT = 2600, 4000
ASKED, ASIDES, MANUALS = 2400, 2400, 500
ROUNDS, EPOCHS, RATE = 3, 1, 0.1
SHRINK = 2e-6
GENERAL_WEIGHT, ERRAND_WEIGHT, AROUND_WEIGHT = 0.5, 1.0, 0.3
"""Of texts of templates, of errands, and of what is harmless around an attack."""
WITHIN = 0.5
"""So much of a sentence must be of the attack for it to be one."""
MANY_SENTENCES = 2
LONGEST_ERRAND = 150
FOLDS = 3
SET_INTO_MAILS = "bipia_text_attack"
LEFT_OUT: Final = ((SET_INTO_MAILS,), ("bipia_code_attack", "gandalf_wrapped"), ("llmail_inject",))
ABOUT_ATTACKS = "security_doc"
OWN = "own"

Window = tuple[tuple[int, ...], float]
"""Features of a sentence, and what each of them counts."""
Example = tuple[Window, int, float]
"""With its label and weight."""


@dataclass(slots=True)
class Text:
    """`core` are the numbers of the windows that are the attack; unknown if there are none."""

    label: int
    source: str
    group: str
    weight: float
    windows: list[Window]
    core: list[int]
    rules: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--judge", action="store_true")
    options = parser.parse_args()
    texts = [*shared(options.path), *_own()]
    if options.judge:
        judge(texts)
        return
    bias, weights = train(texts)
    FILE.write_bytes(packed(bias, weights))
    print(f"{FILE}: {FILE.stat().st_size:,} bytes, from {len(texts):,} texts")


def shared(path: Path) -> Iterator[Text]:
    with path.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    errands = _set_into_mails(records)
    for record in records:
        text, category = record["text"], record["category"]
        group, cores = f"{record['source']} {text[:60]}", []
        if category == SET_INTO_MAILS:
            cores = [errand for errand in errands if errand in text][:1]
            group = f"{category} {cores or text[-60:]}"
        elif category in ("tech_doc", ABOUT_ATTACKS):
            group = record["source"]
        yield known(Sample(text, record["label"], "".join(cores), group), category, 1.0)


def _set_into_mails(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The attacks among the lines: they stand first in one mail and last in another. A longer line is a whole mail."""
    texts = [record["text"].split("\n") for record in records if record["category"] == SET_INTO_MAILS]
    edges = {lines[0].strip() for lines in texts} & {lines[-1].strip() for lines in texts}
    return sorted(edge for edge in edges if len(edge) <= LONGEST_ERRAND)


def _own() -> Iterator[Text]:
    for sample in samples(seed=SEED, attacking=ATTACKING, innocent=INNOCENT):
        yield known(sample, f"{OWN} {sample.label}", GENERAL_WEIGHT)
    for sample in errand_samples(seed=SEED, asked=ASKED, innocent=ASIDES, manuals=MANUALS):
        yield known(sample, f"{OWN} errand {sample.label}", ERRAND_WEIGHT)


def known(sample: Sample, source: str, weight: float) -> Text:
    found = list(sentences(Reading(sample.text)))
    windows = [(tuple(each.features), 1 / sqrt(max(1, len(each.features)))) for each in found]
    start, end = _where(sample)
    core = [
        number
        for number, each in enumerate(found)
        if min(end, each.end) - max(start, each.start) >= WITHIN * (each.end - each.start)
    ]
    rules = weight_by_rules(sample.text)
    return Text(sample.label, source, sample.group, weight, windows or [((), 1.0)], core, rules)


def _where(sample: Sample) -> tuple[int, int]:
    if sample.label and sample.core:
        for written in (sample.core, json.dumps(sample.core)[1:-1], json.dumps(sample.core, ensure_ascii=False)[1:-1]):
            at = sample.text.find(written)
            if at >= 0:
                return at, at + len(written)
    return 0, 0


def train(texts: Sequence[Text]) -> tuple[float, list[float]]:
    """Logistic regression by AdaGrad. Where the attack in a text is not known, its likeliest sentence is it."""
    chance = random.Random(SEED)
    weights, slopes = [0.0] * BUCKETS, [1e-8] * BUCKETS
    bias = [-1.0, 1e-8]
    for number in range(ROUNDS):
        examples = [example for text in texts for example in _examples(text, number, bias[0], weights)]
        for _ in range(EPOCHS):
            chance.shuffle(examples)
            for example in examples:
                _step(example, bias, weights, slopes)
    return bias[0], weights


def _examples(text: Text, number: int, bias: float, weights: Sequence[float]) -> Iterator[Example]:
    share = text.weight / sqrt(len(text.windows))
    if not text.label:
        yield from ((window, 0, share) for window in text.windows)
        return
    chosen = text.core
    if number and (not chosen or len(chosen) > MANY_SENTENCES):
        among = chosen or range(len(text.windows))
        chosen = [max(among, key=lambda at: score(text.windows[at], bias, weights))]
    yield from ((text.windows[at], 1, text.weight / sqrt(len(chosen))) for at in chosen)
    if text.core and text.source != f"{OWN} 1":
        around = (window for at, window in enumerate(text.windows) if at not in text.core)
        yield from ((window, 0, AROUND_WEIGHT * share) for window in around)


def _step(example: Example, bias: list[float], weights: list[float], slopes: list[float]) -> None:
    (features, value), label, weight = example
    margin = bias[0] + value * sum([weights[each] for each in features])
    error = weight * (1 / (1 + exp(-max(-30.0, min(30.0, margin)))) - label)
    if -0.001 < error < 0.001:
        return
    slope = error * value
    square = slope * slope
    for each in features:
        slopes[each] += square
        weights[each] -= RATE * (slope + SHRINK * weights[each]) / sqrt(slopes[each])
    bias[1] += error * error
    bias[0] -= RATE * error / sqrt(bias[1])


def score(window: Window, bias: float, weights: Sequence[float]) -> float:
    return bias + window[1] * sum([weights[each] for each in window[0]])


def judge(texts: Sequence[Text]) -> None:
    _judge("a third of everything left out", texts, _falls)
    _judge("whole sources of attacks left out", texts, _is_left_out)


def _falls(text: Text, fold: int) -> bool:
    return zlib.crc32(text.group.encode()) % FOLDS == fold


def _is_left_out(text: Text, fold: int) -> bool:
    is_theirs = text.label and not text.source.startswith(OWN)
    return text.source in LEFT_OUT[fold] if is_theirs else _falls(text, fold)


def _judge(title: str, texts: Sequence[Text], is_held: Callable[[Text, int], bool]) -> None:
    judged: list[tuple[Text, float]] = []
    for fold in range(FOLDS):
        bias, weights = train([text for text in texts if not is_held(text, fold)])
        held = (text for text in texts if is_held(text, fold))
        judged += [(text, max(score(each, bias, weights) for each in text.windows)) for text in held]
    report(f"model alone, {title}", judged)
    both = [(text, RULES_SHARE * text.rules + max(LEAST_MISPLACED, value)) for text, value in judged]
    report(f"with the rules, {title}", both)
    for name, bound in (("told", FLAG), ("held", HOLD)):
        found = [(text, _weight(text, value) >= bound) for text, value in judged if not text.source.startswith(OWN)]
        attacks = [is_found for text, is_found in found if text.label]
        harmless = [is_found for text, is_found in found if not text.label and text.source != ABOUT_ATTACKS]
        print(f"{name}: {100 * sum(attacks) / len(attacks):.1f} %, false {100 * sum(harmless) / len(harmless):.2f} %")


def _weight(text: Text, value: float) -> float:
    """As the gateway weighs: the model is asked only about what rules find."""
    return text.rules + SHARE * min(MOST_LIKELY, max(LEAST_LIKELY, value)) if text.rules >= LEAST else 0.0


def report(title: str, judged: Sequence[tuple[Text, float]]) -> None:
    theirs = [(text, value) for text, value in judged if not text.source.startswith(OWN)]
    harmless = [value for text, value in theirs if not text.label and text.source != ABOUT_ATTACKS]
    harmless.sort(reverse=True)
    print(title)
    for rate in (0.01, 0.03, 0.05):
        bound = harmless[int(rate * len(harmless))]
        found = [value > bound for text, value in theirs if text.label]
        print(f"  {100 * rate:g} % false alarms, above {bound:.2f}: {100 * sum(found) / len(found):.1f} % found")
        for source in sorted({text.source for text, _ in judged}):
            hits = [value > bound for text, value in judged if text.source == source]
            print(f"    {source:22} {100 * sum(hits) / len(hits):5.1f}")


if __name__ == "__main__":
    main()
