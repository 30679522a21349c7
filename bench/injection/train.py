"""Trains the model of injected instructions, or judges it on sources it has not seen.

    python -m bench.injection.train PATH/injection.jsonl [--judge]

Trained on that set (its README names the licences) and on the texts of this package, on nothing else. The same data
give the same model, byte by byte. Judging leaves out one source of attacks and a quarter of the rest at a time.
"""

import argparse
import json
import random
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from pathlib import Path

from bench.injection.generate import samples
from governance.inspection.injection import weight_by_rules
from governance.inspection.injection_model import BUCKETS, FILE, SEGMENTS, packed, segments
from governance.inspection.injection_reading import Reading

SEED = 20_261_122
ATTACKING, INNOCENT = 2600, 4000
ROUNDS, EPOCHS, RATE = 3, 3, 0.3
SHRINK = 2e-6
OWN_WEIGHT = 0.5
SHARES = (0.2, 0.3, 0.4, 0.6)
"""How much the model may count beside the rules: tried when judging."""
FOLDS = 4
ABOUT_ATTACKS = "security_doc"
NOT_TRAINED_ON = frozenset(("bipia_text_attack",))
"""Ordinary questions set into ordinary mails: which passage is the attack is a guess, and the guess taught wrong."""

Window = tuple[tuple[int, ...], float]
"""Features, and what each of them counts."""
Example = tuple[Window, int, float]
"""With its label and weight."""


@dataclass(slots=True)
class Text:
    label: int
    source: str
    group: str
    weight: float
    windows: list[Window]
    core: list[Window]
    rules: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--judge", action="store_true")
    options = parser.parse_args()
    texts = [*_shared(options.path), *_own()]
    if options.judge:
        _judge(texts)
        return
    bias, weights = train(texts)
    FILE.write_bytes(packed(bias, weights))
    print(f"{FILE}: {FILE.stat().st_size:,} bytes, from {len(texts):,} texts")


def _shared(path: Path) -> Iterable[Text]:
    with path.open(encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            text = record["text"]
            group = f"{record['source']} {text[:60]}"
            if record["category"] in ("tech_doc", ABOUT_ATTACKS):
                group = record["source"]
            yield Text(record["label"], record["category"], group, 1.0, windows(text), [], weight_by_rules(text))


def _own() -> Iterable[Text]:
    for sample in samples(seed=SEED, attacking=ATTACKING, innocent=INNOCENT):
        core = windows(sample.core) if sample.label else []
        yield Text(
            sample.label, f"own {sample.label}", sample.group, OWN_WEIGHT, windows(sample.text), core,
            weight_by_rules(sample.text),
        )  # fmt: skip


def windows(text: str) -> list[Window]:
    parts = [segment.features for segment in segments(Reading(text))]
    found = []
    for at in range(max(1, len(parts) - SEGMENTS + 1)):
        features = tuple(each for part in parts[at : at + SEGMENTS] for each in part)
        found.append((features, 1 / sqrt(max(1, len(features)))))
    return found


def train(texts: Sequence[Text]) -> tuple[float, list[float]]:
    """Logistic regression by AdaGrad. Of an attacking text only its likeliest passage is one, after the first round."""
    chance = random.Random(SEED)
    weights, slopes = [0.0] * BUCKETS, [1e-8] * BUCKETS
    bias = [-1.0, 1e-8]
    for number in range(ROUNDS):
        used = [text for text in texts if text.source not in NOT_TRAINED_ON]
        examples = [example for text in used for example in _examples(text, number, bias[0], weights)]
        for _ in range(EPOCHS):
            chance.shuffle(examples)
            for example in examples:
                step(example, bias, weights, slopes)
    return bias[0], weights


def _examples(text: Text, number: int, bias: float, weights: Sequence[float]) -> Iterable[Example]:
    if not text.label:
        share = text.weight / sqrt(len(text.windows))
        return [(window, 0, share) for window in text.windows]
    if number:
        return [(max(text.windows, key=lambda window: score(window, bias, weights)), 1, text.weight)]
    chosen = text.core or text.windows
    return [(window, 1, text.weight / len(chosen)) for window in chosen]


def step(example: Example, bias: list[float], weights: list[float], slopes: list[float]) -> None:
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


def _judge(texts: Sequence[Text]) -> None:
    attacks = sorted({text.source for text in texts if text.label and not text.source.startswith("own")})
    judged: list[tuple[Text, float]] = []
    for fold in range(FOLDS):
        unseen = {text.group for text in texts if zlib.crc32(text.group.encode()) % FOLDS == fold}
        held = [text for text in texts if _is_held(text, attacks[fold % len(attacks)], unseen)]
        known = {id(text) for text in held}
        bias, weights = train([text for text in texts if id(text) not in known])
        judged += [(text, max(score(each, bias, weights) for each in text.windows)) for text in held]
        print(f"fold {fold}: {len(held)} texts, without {attacks[fold % len(attacks)]}", flush=True)
    _report("rules alone", [(text, text.rules) for text, _ in judged])
    _report("model alone", [(text, modelled) for text, modelled in judged])
    for share in SHARES:
        both = [(text, text.rules + share * max(-2.0, min(4.0, modelled))) for text, modelled in judged]
        _report(f"rules and {share} of the model", both)


def _is_held(text: Text, attack: str, unseen: set[str]) -> bool:
    return text.source == attack if text.label and not text.source.startswith("own") else text.group in unseen


def _report(title: str, judged: Sequence[tuple[Text, float]]) -> None:
    harmless = sorted(
        (value for text, value in judged if not text.label and text.source not in (ABOUT_ATTACKS, "own 0")),
        reverse=True,
    )
    print(title)
    for rate in (0.01, 0.03, 0.05):
        bound = harmless[int(rate * len(harmless))]
        by_source: dict[str, list[bool]] = defaultdict(list)
        for text, value in judged:
            by_source[text.source].append(value > bound)
        hits = [hit for text, value in judged if text.label and text.source != "own 1" for hit in [value > bound]]
        shares = "  ".join(f"{source} {100 * sum(hit) / len(hit):.0f}" for source, hit in sorted(by_source.items()))
        print(
            f"  {100 * rate:g} % false alarms, above {bound:.2f}: {100 * sum(hits) / len(hits):.1f} % found  | {shares}"
        )


if __name__ == "__main__":
    main()
