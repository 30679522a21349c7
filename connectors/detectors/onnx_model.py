"""Models that onnxruntime runs, with their tokenizers. Imported where one is asked: both libraries are an extra.

Of a folder nothing is read but model.onnx, tokenizer.json and config.json: no pickles, no code, no libraries of custom
operators, no weights in files beside the model. A model is loaded once in a process for each state of its files.
"""

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

import numpy
import onnxruntime
import orjson
from tokenizers import Encoding, Tokenizer

from connectors.detectors.base import DetectorFailure, bad_answer
from connectors.detectors.onnx import Judged

MODEL, TOKENIZER, CONFIG = "model.onnx", "tokenizer.json", "config.json"
MOST_BYTES: Final[Mapping[str, int]] = {MODEL: 2 * 1024**3, TOKENIZER: 64 * 1024**2, CONFIG: 1024**2}
NOWHERE: Final = "/dev/null"
"""No file can lie in it: a model whose weights stand in files of their own is not loaded."""
MOST_WINDOWS: Final = 64
MOST_LOADED: Final = 4
INPUTS: Final = frozenset(("input_ids", "attention_mask", "token_type_ids"))
_loaded: "OrderedDict[tuple[str, int], Model]" = OrderedDict()
_loading = threading.Lock()
# One text at a time: threads of its own would gain nothing, and it warns of every fork after it made some.
os.environ["TOKENIZERS_PARALLELISM"] = "false"


class Model:
    def __init__(self, files: Mapping[str, bytes], window: int) -> None:
        self.digest = digest(files)
        self.labels = _labels(files[CONFIG]) if CONFIG in files else {}
        self._session = onnxruntime.InferenceSession(files[MODEL], _options(), providers=["CPUExecutionProvider"])
        self._inputs = [each.name for each in self._session.get_inputs()]
        outputs = [each.name for each in self._session.get_outputs()]
        self._output = "logits" if "logits" in outputs else outputs[0]
        if not INPUTS.issuperset(self._inputs) or "input_ids" not in self._inputs:
            raise DetectorFailure("model", f"It is no classifier of texts: it wants {', '.join(self._inputs)[:200]}.")
        self._tokenizer = Tokenizer.from_str(files[TOKENIZER].decode())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(window, stride=window // 4)

    def judge(self, text: str, *, stop: threading.Event) -> Sequence[Judged]:
        (encoded,) = self._tokenizer.encode_batch([text])  # lets other threads go on; `encode` does not
        windows = [encoded, *encoded.overflowing]
        if len(windows) > MOST_WINDOWS:
            raise DetectorFailure("too_large", f"The text is longer than {MOST_WINDOWS} windows of the model.")
        found = []
        for window in windows:
            place = _place(window)
            if stop.is_set():
                break
            if place is not None:
                found.append(Judged(*place, self._likely(window)))
        return found

    def _likely(self, window: Encoding) -> list[float]:
        told = {"input_ids": window.ids, "attention_mask": window.attention_mask, "token_type_ids": window.type_ids}
        given = {name: numpy.array([told[name]], dtype=numpy.int64) for name in self._inputs}
        try:
            (answer,) = self._session.run([self._output], given)
            (scores,) = answer.tolist()
        except Exception:  # noqa: BLE001 - the library raises what has no base of its own, with words of the text
            raise DetectorFailure("model", "The model failed on this text.") from None
        return softmax(scores)


def load(folder: Path, root: Path, window: int) -> Model:
    """Raises DetectorFailure."""
    with _loading:
        files = read_files(folder, root)
        key = (digest(files), window)
        if key not in _loaded:
            _loaded[key] = _made(files, window)
        _loaded.move_to_end(key)
        while len(_loaded) > MOST_LOADED:
            _loaded.popitem(last=False)
        return _loaded[key]


def _made(files: Mapping[str, bytes], window: int) -> Model:
    try:
        return Model(files, window)
    except DetectorFailure:
        raise
    except Exception as error:  # noqa: BLE001 - neither library has a base for what it raises
        raise DetectorFailure("model", f"{MODEL} and {TOKENIZER} cannot be loaded ({type(error).__name__}).") from None


def read_files(folder: Path, root: Path) -> dict[str, bytes]:
    """Raises DetectorFailure."""
    found = {}
    for name, most in MOST_BYTES.items():
        try:
            found[name] = _read(folder / name, root, most)
        except FileNotFoundError:
            if name != CONFIG:
                raise DetectorFailure("model", f"Its folder has no {name}.") from None
        except (OSError, RuntimeError) as error:
            raise DetectorFailure("model", f"{name} cannot be read ({type(error).__name__}).") from None
    return found


def _read(path: Path, root: Path, most: int) -> bytes:
    """Raises DetectorFailure, OSError."""
    real = path.resolve(strict=True)
    if not real.is_relative_to(root):
        raise DetectorFailure("settings", f"{path.name} leads out of the folder that MODEL_FOLDERS allows.")
    about = real.stat()
    if not S_ISREG(about.st_mode):
        raise DetectorFailure("model", f"{path.name} is no file.")
    with real.open("rb") as file:
        body = file.read(most + 1) if about.st_size <= most else b""
    if about.st_size > most or len(body) > most:
        raise DetectorFailure("model", f"{path.name} is larger than {most // 1024**2:,} MiB.")
    return body


def digest(files: Mapping[str, bytes]) -> str:
    """As `sha256sum model.onnx tokenizer.json config.json | sha256sum` says, of those that are there."""
    lines = (f"{sha256(files[name]).hexdigest()}  {name}\n" for name in MOST_BYTES if name in files)
    return sha256("".join(lines).encode()).hexdigest()


def softmax(scores: Any) -> list[float]:
    """Raises DetectorFailure."""
    if not isinstance(scores, list) or len(scores) < 2 or not all(_is_number(each) for each in scores):
        raise bad_answer("The model does not give one score for each of its labels.")
    highest = max(scores)
    powers = [math.exp(each - highest) for each in scores]
    total = sum(powers)
    return [each / total for each in powers]


def _is_number(score: Any) -> bool:
    return isinstance(score, float) and math.isfinite(score)


def _place(window: Encoding) -> tuple[int, int] | None:
    """Of the characters that its tokens stand for; None where it has none but those that the tokenizer adds."""
    pairs = zip(window.offsets, window.special_tokens_mask, strict=True)
    places = [place for place, is_special in pairs if not is_special and place[0] < place[1]]
    return (min(start for start, _ in places), max(end for _, end in places)) if places else None


def _labels(config: bytes) -> dict[int, str]:
    """Raises DetectorFailure."""
    try:
        told = orjson.loads(config).get("id2label") or {}
        return {int(number): str(name) for number, name in told.items()}
    except (orjson.JSONDecodeError, AttributeError, ValueError):
        raise DetectorFailure("model", f"{CONFIG} is not one of a model.") from None


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
    return options
