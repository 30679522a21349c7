"""Writes tests/models/tiny: a classifier of a few hundred bytes that knows one order by a word.

`pip install onnx onnxruntime tokenizers`, then `python tests/models/make_tiny.py`. It need not be run again: the files
are in the repository, so that the tests need no package to make them.
"""

import json
from pathlib import Path

from onnx import TensorProto, helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

FOLDER = Path(__file__).resolve().parent / "tiny"
WORDS = {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "ignore": 3, "perhaps": 4}
SCORES = [[0.0, -4.0], [0.0, -4.0], [0.0, -4.0], [0.0, 4.0], [0.0, 0.0]]
"""Of each word, for BENIGN and INJECTION; a text has the highest of its words."""


def main() -> None:
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, [1, "tokens"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])
    table = helper.make_tensor("table", TensorProto.FLOAT, [len(SCORES), 2], [x for row in SCORES for x in row])
    look = helper.make_node("Gather", ["table", "input_ids"], ["each"])
    best = helper.make_node("ReduceMax", ["each"], ["logits"], axes=[1], keepdims=0)
    graph = helper.make_graph([look, best], "tiny", [ids, mask], [logits], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)])
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "model.onnx").write_bytes(model.SerializeToString())
    tokenizer.save(str(FOLDER / "tokenizer.json"))
    (FOLDER / "config.json").write_text(json.dumps({"id2label": {"0": "BENIGN", "1": "INJECTION"}}) + "\n")


if __name__ == "__main__":
    main()
