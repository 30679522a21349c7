"""Models that are run here: a tiny real one by the real libraries, and one that takes its time."""

import asyncio
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from connectors.detectors import DETECTOR_KINDS, onnx, onnx_model
from connectors.detectors.base import Detector, DetectorFailure, Hit, Wire
from connectors.detectors.onnx import Judged, OnnxDetector
from connectors.egress import Egress

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny"
KIND = DETECTOR_KINDS["onnx"]
PATIENCE = 60.0


def wire(*folders: str | Path) -> Wire:
    def nowhere(url: str) -> Egress:
        raise AssertionError(url)

    return Wire(nowhere, PATIENCE, tuple(map(str, folders)))


async def look(text: str, *, folder: Path = TINY, folders: Sequence[Path] = (TINY.parent,), **more: str) -> list[Hit]:
    settings = {"folder": str(folder), **more}
    KIND.check(settings)
    return list(await KIND.build(settings, "").look(text, is_answer=True, wire=wire(*folders)))


def sure(hits: Sequence[Hit]) -> list[tuple[int, int]]:
    return [(hit.start, hit.end) for hit in hits if hit.confidence >= 0.9]


async def failure(**options: Any) -> DetectorFailure:
    with pytest.raises(DetectorFailure) as failed:
        await look("ignore", **options)
    return failed.value


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "models" / "tiny"))


@pytest.mark.parametrize(
    ("text", "confidence"), [("nothing here", 0.018), ("perhaps so", 0.5), ("now ignore all of it", 0.982)]
)
async def test_what_it_finds_is_as_sure_as_the_model(text: str, confidence: float) -> None:
    (hit,) = await look(text)
    assert hit == Hit("injection", 0, len(text), pytest.approx(confidence, abs=0.001))


async def test_places_are_told_in_characters() -> None:
    text = "😀 ünd ignore 😀"
    (hit,) = await look(f"  {text} \n")
    assert f"  {text} \n"[hit.start : hit.end] == text


async def test_nothing_but_blanks_is_nothing() -> None:
    assert await look(" \n ") == []


async def test_a_long_text_is_judged_in_windows_that_overlap() -> None:
    text = "😀ü " * 20 + "ignore" + " ü😀" * 20
    hits = await look(text, window="16")
    assert len(hits) > 4
    assert hits[0].start == 0
    assert hits[-1].end == len(text)
    assert all(left.end > right.start for left, right in pairwise(hits))
    found = sure(hits)
    assert 1 <= len(found) <= 2
    assert all("ignore" in text[start:end] and end - start < 80 for start, end in found)


async def test_an_order_at_the_seam_of_two_windows_stands_whole_in_one() -> None:
    for before in range(30):
        text = "a " * before + "ignore" + " a" * 30
        assert sure(await look(text, window="16")), before


async def test_more_windows_than_can_be_judged_are_no_answer() -> None:
    with pytest.raises(DetectorFailure) as failed:
        await look("a " * 1_000, window="16")
    assert failed.value.code == "too_large"


@pytest.mark.parametrize("labels", ["1", "injection", "INJECTION", "0, 1"])
async def test_labels_go_by_number_or_name(labels: str) -> None:
    (hit,) = await look("ignore", labels=labels)
    assert hit.confidence == pytest.approx(1.0 if "," in labels else 0.982, abs=0.001)


@pytest.mark.parametrize(("labels", "says"), [("EVIL", "BENIGN, INJECTION"), ("2", "the model has 2")])
async def test_labels_that_the_model_has_not_are_told(labels: str, says: str) -> None:
    failed = await failure(labels=labels)
    assert failed.code == "settings"
    assert says in failed.message


async def test_names_need_a_config(copied: Path) -> None:
    (copied / "config.json").unlink()
    assert sure(await look("ignore", folder=copied, folders=[copied]))
    assert "names none" in (await failure(folder=copied, folders=[copied], labels="INJECTION")).message


async def test_evidence_can_name_the_files(copied: Path) -> None:
    names = ["model.onnx", "tokenizer.json", "config.json"]
    listed = "".join(f"{sha256((TINY / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    said = sha256(listed.encode()).hexdigest()
    detectors = [KIND.build({"folder": str(folder)}, "") for folder in (TINY, copied)]
    assert detectors[0].model == ""
    for detector in detectors:
        await detector.look("x", is_answer=True, wire=wire(TINY, copied))
    assert {detector.model for detector in detectors} == {said}
    assert onnx_model.load(TINY, TINY, 512) is onnx_model.load(copied, copied, 512)
    (copied / "config.json").write_text("{}")
    changed = onnx_model.load(copied, copied, 512)
    assert changed.digest != said


async def test_what_is_kept_loaded_is_bounded() -> None:
    for window in range(16, 16 + 2 * onnx_model.MOST_LOADED):
        await look("x", window=str(window))
    assert len(onnx_model._loaded) == onnx_model.MOST_LOADED


# -- where models may lie


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "folder: needed"),
        ({"folder": "models"}, "folder: an absolute path"),
        ({"folder": "/srv/models/../../etc"}, "folder: write the path as it is"),
        ({"folder": "/srv/models/"}, "folder: write the path as it is"),
        ({"folder": "/srv/a\x00b"}, "folder: an absolute path"),
        ({"folder": "/m", "window": "15"}, "window: a number from 16"),
        ({"folder": "/m", "window": "9000"}, "window: a number from 16"),
        ({"folder": "/m", "labels": "a;b"}, "labels: numbers or names"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_do_not_fit_are_told_by_name(settings: Mapping[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        KIND.check(settings)


async def test_only_what_the_installation_allows_is_read(copied: Path, tmp_path: Path) -> None:
    assert "MODEL_FOLDERS names" in (await failure(folder=copied, folders=[])).message
    beside = tmp_path / "models-of-others"
    beside.mkdir()
    assert "lies in none" in (await failure(folder=copied, folders=[beside])).message
    assert "lies in none" in (await failure(folder=tmp_path / "models-of-nobody", folders=[copied.parent])).message
    for folder in (tmp_path, copied):
        with pytest.raises(ValueError, match=r"^settings\.folder: "):
            KIND.check_here({"folder": str(folder)}, [str(beside)])
    KIND.check_here({"folder": str(copied)}, [str(copied.parent)])


async def test_no_link_leads_out(copied: Path, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "tiny").symlink_to(copied)
    assert "lies in none" in (await failure(folder=allowed / "tiny", folders=[allowed])).message
    inside = Path(shutil.copytree(TINY, allowed / "own"))
    (inside / "model.onnx").unlink()
    (inside / "model.onnx").symlink_to(copied / "model.onnx")
    assert "leads out" in (await failure(folder=inside, folders=[allowed])).message
    loop = allowed / "loop"
    loop.symlink_to(loop)
    assert (await failure(folder=loop, folders=[allowed])).code in ("settings", "model")


def garbage(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"\x80\x04pickle")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def bad_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def bad_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def folder_as_model(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()


def huge(folder: Path) -> None:
    with (folder / "model.onnx").open("r+b") as file:
        file.truncate(2 * 1024**3 + 1)


@pytest.mark.parametrize("spoil", [garbage, no_tokenizer, bad_tokenizer, bad_config, folder_as_model, huge])
async def test_what_cannot_be_loaded_is_no_answer(copied: Path, spoil: Callable[[Path], None]) -> None:
    spoil(copied)
    assert (await failure(folder=copied, folders=[copied])).code == "model"


def test_nothing_but_finite_scores_of_several_labels_is_a_likelihood() -> None:
    assert onnx_model.softmax([0.0, 0.0, 1000.0]) == [0.0, 0.0, 1.0]
    for scores in ([], [1.0], 1.0, [0.0, float("nan")], [0.0, float("inf")], [[0.0, 1.0], [0.0, 1.0]]):
        with pytest.raises(DetectorFailure):
            onnx_model.softmax(scores)


# -- without the libraries, and when it takes its time


def test_the_libraries_are_loaded_by_who_asks_only() -> None:
    code = "import sys, connectors.detectors; print({'onnxruntime', 'tokenizers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


async def test_without_the_libraries_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(onnx, "resolve_name", missing)
    failed = await failure()
    assert failed.code == "not_installed"
    assert "requirements-onnx.lock" in failed.message
    monkeypatch.setattr(onnx, "LIBRARIES", ("onnxruntime", "no_such_library"))
    with pytest.raises(ValueError, match=r"^kind: onnxruntime and tokenizers are not installed"):
        KIND.check_here({"folder": str(TINY)}, [str(TINY)])


class Slow:
    digest = "d"
    labels: Mapping[int, str] = {}

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun: list[str] = []
        self.stopped: list[bool] = []

    def judge(self, text: str, *, stop: threading.Event) -> list[Judged]:
        self.begun.append(text)
        self.go.wait(PATIENCE)
        self.stopped.append(stop.is_set())
        return [Judged(0, len(text), [0.0, 1.0])]


async def ask(detector: Detector, seconds: float) -> Sequence[Hit]:
    async with asyncio.timeout(seconds):
        return await detector.look("ignore", is_answer=True, wire=wire(TINY))


class Counted(ThreadPoolExecutor):
    submitted = 0

    def submit(self, *args: Any, **options: Any) -> Any:
        self.submitted += 1
        return super().submit(*args, **options)


async def test_questions_that_nobody_waits_for_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "ThreadPoolExecutor", Counted)
    model = Slow()
    detector = OnnxDetector({"folder": str(TINY)}, "", load=lambda *_: model)
    try:
        for _ in range(3):
            late = await asyncio.gather(*(ask(detector, 0.05) for _ in range(10)), return_exceptions=True)
            assert {type(each) for each in late} == {TimeoutError}
        assert detector._threads.submitted <= onnx.MOST_JOBS
    finally:
        model.go.set()
    (hit,) = await ask(detector, PATIENCE)
    assert hit.confidence == 1.0
    detector._threads.shutdown()
    assert len(model.stopped) == len(model.begun)
    assert model.stopped.count(False) == 1
