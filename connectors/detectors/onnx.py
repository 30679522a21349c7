"""A model of the organisation's own that says whether a text is an injected order, such as Prompt Guard or PIGuard:
run in this process, without a network, beside the event loop.

No more than MOST_JOBS texts are judged at once; one that nobody waits for any more keeps its place until its thread has
come to the end of a window, so that late answers cannot pile up.
"""

import asyncio
import importlib.util
import os.path
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final, NamedTuple, Protocol

from connectors.detectors.base import DetectorFailure, DetectorKind, Hit, Wire, within
from connectors.detectors.settings import Setting, check_settings, listed, read

MOST_JOBS: Final = 2
LEAST_WINDOW, MOST_WINDOW = 16, 8_192
LIBRARIES: Final = ("onnxruntime", "tokenizers")
NOT_INSTALLED: Final = "onnxruntime and tokenizers are not installed; requirements-onnx.lock has them"
SETTINGS: Final = (
    Setting(
        "folder",
        "Folder",
        text="Where the gateway runs, with model.onnx and tokenizer.json. MODEL_FOLDERS says what may be named.",
        pattern=r"/[^\x00-\x1f\x7f]*",
        must_be="an absolute path, e.g. /srv/models/prompt-guard",
    ),
    Setting(
        "labels",
        "Labels that mean an injected order",
        "1",
        "Their numbers, from 0, or their names in config.json (id2label), separated by commas.",
        shape="list",
        pattern=r"[A-Za-z0-9_.-]{1,64}",
        must_be="numbers or names such as INJECTION",
    ),
    Setting(
        "window",
        "Tokens at once",
        "512",
        f"As many as the model reads, {LEAST_WINDOW} to {MOST_WINDOW:,}. Longer texts are judged in overlapping parts.",
        pattern="[1-9][0-9]{1,3}",
        must_be=f"a number from {LEAST_WINDOW} to {MOST_WINDOW:,}",
    ),
)


class Judged(NamedTuple):
    """A window of the text, in characters, and how likely each label is."""

    start: int
    end: int
    likely: Sequence[float]


class Model(Protocol):
    """`digest` is that of its files, `labels` what they are called, by number."""

    digest: str
    labels: Mapping[int, str]

    def judge(self, text: str, *, stop: threading.Event) -> Sequence[Judged]:
        """Less than all of it once `stop` is set. Raises DetectorFailure."""


Load = Callable[[Path, Path, int], Model]
"""Of a folder, which nothing may lead out of the second one, for windows of so many tokens."""


def check(settings: Mapping[str, Any]) -> None:
    check_settings(SETTINGS, settings)
    told = read(SETTINGS, settings)
    if os.path.normpath(told["folder"]) != told["folder"]:
        raise ValueError("folder: write the path as it is, without '..' and without '/' at its end")
    if not LEAST_WINDOW <= int(told["window"]) <= MOST_WINDOW:
        raise ValueError(f"window: a number from {LEAST_WINDOW} to {MOST_WINDOW:,}")


def check_here(settings: Mapping[str, Any], folders: Sequence[str]) -> None:
    if not is_installed():
        raise ValueError(f"kind: {NOT_INSTALLED}")
    try:
        allowed_root(read(SETTINGS, settings)["folder"], folders)
    except ValueError as error:
        raise ValueError(f"settings.{error}") from None


def is_installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in LIBRARIES)


def allowed_root(folder: str, folders: Sequence[str]) -> Path:
    """Which of the allowed folders it lies in, links followed. Whether it is there is not told of any other place.
    Raises ValueError."""
    if not folders:
        raise ValueError("folder: models are not allowed here; MODEL_FOLDERS names the folders that may hold them")
    try:
        real = Path(folder).resolve()
        roots = [root for root in (Path(each).resolve() for each in folders) if real.is_relative_to(root)]
    except (OSError, RuntimeError):
        raise ValueError("folder: its path cannot be followed") from None
    if roots:
        return roots[0]
    raise ValueError("folder: it lies in none of the folders that MODEL_FOLDERS allows")


def load_by_libraries(folder: Path, root: Path, window: int) -> Model:
    """Raises DetectorFailure."""
    try:
        load: Load = resolve_name("connectors.detectors.onnx_model:load")
    except ImportError:
        raise DetectorFailure("not_installed", f"Here {NOT_INSTALLED}.") from None
    return load(folder, root, window)


class OnnxDetector:
    """Its threads end when nobody refers to it any more."""

    def __init__(self, settings: Mapping[str, Any], secret: str, *, load: Load = load_by_libraries) -> None:
        told = read(SETTINGS, settings)
        self._folder, self._window = told["folder"], int(told["window"])
        self._wanted = listed(told["labels"])
        self._load = load
        self._loaded: Model | None = None
        self._loading = threading.Lock()
        self._places = asyncio.Semaphore(MOST_JOBS)
        self._threads = ThreadPoolExecutor(MOST_JOBS, thread_name_prefix="onnx")

    @property
    def model(self) -> str:
        return self._loaded.digest if self._loaded is not None else ""

    async def look(self, text: str, *, is_answer: bool, wire: Wire) -> Sequence[Hit]:
        stop = threading.Event()
        await self._places.acquire()
        job = asyncio.get_running_loop().run_in_executor(
            self._threads, partial(self._judge, text, wire.model_folders, stop)
        )
        job.add_done_callback(self._ended)
        try:
            return await asyncio.shield(job)
        finally:
            stop.set()

    def close(self) -> None:
        """Who still waits gets the answer."""

    def _ended(self, job: asyncio.Future[list[Hit]]) -> None:
        self._places.release()
        if not job.cancelled():
            job.exception()

    def _judge(self, text: str, folders: Sequence[str], stop: threading.Event) -> list[Hit]:
        model = self._ready(folders)
        wanted = _numbers(self._wanted, model.labels)
        if stop.is_set():
            return []
        return within(text, (_hit(judged, wanted) for judged in model.judge(text, stop=stop)))

    def _ready(self, folders: Sequence[str]) -> Model:
        """Raises DetectorFailure."""
        with self._loading:
            if self._loaded is None:
                try:
                    root = allowed_root(self._folder, folders)
                except ValueError as error:
                    raise DetectorFailure("settings", f"Its settings do not fit: {error}") from None
                self._loaded = self._load(Path(self._folder), root, self._window)
            return self._loaded


def _numbers(wanted: Sequence[str], labels: Mapping[int, str]) -> list[int]:
    """Raises DetectorFailure."""
    by_name = {name.casefold(): number for number, name in labels.items()}
    found = [int(each) if each.isdecimal() else by_name.get(each.casefold(), -1) for each in wanted]
    if -1 in found:
        known = ", ".join(sorted(labels.values())[:20]) or "none"
        raise DetectorFailure("settings", f"Its labels do not fit: config.json names {known}.")
    return sorted(set(found))


def _hit(judged: Judged, wanted: Sequence[int]) -> Hit:
    if wanted[-1] >= len(judged.likely):
        raise DetectorFailure("settings", f"Its labels do not fit: the model has {len(judged.likely)}, from 0.")
    return Hit("injection", judged.start, judged.end, min(1.0, sum(judged.likely[each] for each in wanted)))


KIND: Final = DetectorKind(
    "A model of your own (ONNX)",
    SETTINGS,
    check,
    OnnxDetector,
    most_bytes=100_000,
    is_local=True,
    check_here=check_here,
)
