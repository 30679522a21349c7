"""Text from agents and upstreams, made safe to look at.

Escaping stops markup. It does not stop letters that cannot be seen or that turn the line around: with those a
tool description reads harmless to the reviewer and different to the model.
"""

import re
import unicodedata

import orjson
from django.utils.html import format_html
from django.utils.safestring import SafeString

SHOWN_CHARS = 100_000
_DECEPTIVE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_NOT_ASCII_TEXT = re.compile(r"[^\n\t\x20-\x7e]")
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")


def visible(text: str) -> str:
    """Every invisible or direction-changing character as ⟦U+202E⟧. Not escaped: the template does that."""
    return _NOT_ASCII_TEXT.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    return f"⟦U+{ord(character):04X}⟧" if _deceives(character) else character


def _deceives(character: str) -> bool:
    is_variation = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    is_odd_space = unicodedata.category(character) == "Zs" and character != " "
    is_unseen = unicodedata.category(character) in _DECEPTIVE or character in _BLANK_LETTERS
    return is_unseen or is_variation or is_odd_space


def pretty_json(raw: bytes) -> SafeString:
    """JSON as an indented block; what is no JSON is shown as text."""
    try:
        text = orjson.dumps(orjson.loads(raw), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        text = raw.decode(errors="backslashreplace")
    return block(text)


def block(text: str) -> SafeString:
    cut = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}\n… cut here, {len(text):,} characters in all"
    return format_html('<pre class="gatehouse-block">{}</pre>', visible(cut))
