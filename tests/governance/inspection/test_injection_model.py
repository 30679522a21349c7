"""The shipped model: loaded as it was trained, the same answer each time, and of use."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.injection.generate import errand_samples, samples
from bench.injection.train import Text, known, train
from governance.inspection.injection_model import BUCKETS, FILE, packed, segments, shipped, unpacked
from governance.inspection.injection_reading import Reading
from governance.inspection.misplaced import likeliest as likeliest_sentence


def likeliest(text: str) -> float:
    sentence = likeliest_sentence(Reading(text))
    return sentence.score if sentence is not None else -9.0


def test_it_is_small_and_survives_packing() -> None:
    model = shipped()
    assert FILE.stat().st_size < 200_000
    assert len(model.weights) == BUCKETS
    again = unpacked(packed(model.bias, [model.scale * weight for weight in model.weights]))
    assert again.weights == model.weights
    assert again.bias == pytest.approx(model.bias)


def test_new_texts_of_its_own_kind_are_told_apart() -> None:
    """Texts of another seed: it has seen their templates, not them."""
    fresh = list(samples(seed=7, attacking=150, innocent=150))
    attacking = [likeliest(sample.core) for sample in fresh if sample.label]
    innocent = [likeliest(sample.core) for sample in fresh if not sample.label]
    assert sum(score > 0 for score in attacking) > 0.7 * len(attacking)
    assert sum(score > 0 for score in innocent) < 0.1 * len(innocent)


def test_the_same_texts_train_the_same_model() -> None:
    def texts() -> list[Text]:
        made = [
            *samples(seed=3, attacking=20, innocent=20),
            *errand_samples(seed=3, asked=20, innocent=20, manuals=5),
        ]
        return [known(each, "own", 1.0) for each in made]

    assert packed(*train(texts())) == packed(*train(texts()))


@given(st.text(max_size=200))
def test_segments_cover_words_of_any_text_in_order(text: str) -> None:
    reading = Reading(text)
    found = list(segments(reading))
    assert len(reading.words) == len(reading.meanings) == len(reading.spans)
    assert all(0 <= segment.first <= segment.last < len(reading.words) for segment in found)
    assert all(one.last < other.first for one, other in pairwise(found))
