"""Prometheus' text format 0.0.4, and the same as JSON on its way between two processes of ours."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import orjson

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """`suffix` goes behind the family's name."""

    suffix: str
    labels: dict[str, str]
    value: float


class Family(NamedTuple):
    """All samples of one name; `kind` is counter, gauge or histogram."""

    name: str
    kind: str
    text: str
    samples: list[Sample]


def gauge(name: str, text: str, *values: tuple[dict[str, str], float]) -> Family:
    return Family(name, "gauge", text, [Sample("", labels, value) for labels, value in values])


def of_process(process: str, families: Iterable[Family]) -> list[Family]:
    """Labelled with the process: counters begin anew with it, and a sum of several would seem to fall."""
    return [
        family._replace(samples=[each._replace(labels={"process": process, **each.labels}) for each in family.samples])
        for family in families
    ]


def text(families: Iterable[Family]) -> bytes:
    """Families of one name, whose samples must stand together, become one."""
    merged: dict[str, Family] = {}
    for family in families:
        known = merged.setdefault(family.name, family._replace(samples=[]))
        known.samples.extend(family.samples)
    return "".join(line for family in merged.values() for line in _lines(family)).encode()


def _lines(family: Family) -> Iterator[str]:
    if not family.samples:
        return
    yield f"# HELP {family.name} {family.text}\n# TYPE {family.name} {family.kind}\n"
    for suffix, labels, value in family.samples:
        pairs = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels.items())
        yield f"{family.name}{suffix}{{{pairs}}} {_number(value)}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else "NaN"


def pack(families: Iterable[Family]) -> bytes:
    return orjson.dumps([[*family[:3], [list(sample) for sample in family.samples]] for family in families])


def unpack(packed: bytes) -> list[Family]:
    """Raises ValueError or TypeError for what `pack` never makes."""
    told: list[Any] = orjson.loads(packed)
    return [Family(name, kind, about, [Sample(*sample) for sample in samples]) for name, kind, about, samples in told]
