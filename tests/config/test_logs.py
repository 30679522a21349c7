import json
import logging
import sys

import pytest

from config.logs import JsonFormatter, TextFormatter

KEY = "gate_ak_9fK2mQ7xR4tY8uI1oP3aS5dF6gH0jL"


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("gateway", logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
@pytest.mark.parametrize("text", [KEY, f"Authorization: Bearer {KEY}", "header 'bearer abcdefgh12345678'"])
def test_no_token_is_logged(formatter, text):
    line = formatter.format(record("seen %s here", text))
    assert "<token>" in line
    assert KEY not in line
    assert "abcdefgh12345678" not in line


def test_no_token_in_a_traceback():
    try:
        raise ValueError(f"bad header {KEY}")
    except ValueError:
        entry = record("failed")
        entry.exc_info = sys.exc_info()
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(entry)
        assert "ValueError" in line
        assert KEY not in line


def test_json_is_one_line_without_extras():
    line = JsonFormatter().format(record("a\nb", request={"body": "private"}))
    assert "\n" not in line
    assert json.loads(line)["message"] == "a\nb"
    assert "private" not in line
