"""What a reader of HTML sees, and what is in it all the same: comments, hidden elements, alternative texts."""

import html
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from governance.inspection.offsets import Builder

TOKEN: Final = re.compile(r"<!--|<(?=[A-Za-z/!])|&#?[A-Za-z0-9]{2,31};")
TAG: Final = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,20})([^<>]{0,4000})>|<![^<>]{0,4000}>")
UNSEEN: Final = re.compile(
    r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden|opacity\s{0,9}:\s{0,9}0(?![.\d])"
    r"|font-size\s{0,9}:\s{0,9}0(?![.\d])|(?:^|\s)hidden(?:\s|=|$)|aria-hidden\s{0,9}=\s{0,9}.?true"
    r"|(?<![-\w])color\s{0,9}:\s{0,9}(?:white|transparent|#fff\b|#ffffff\b)",
    re.IGNORECASE,
)
UNSEEN_ELEMENTS: Final = frozenset(("script", "style", "template", "noscript", "title", "head"))
VOID: Final = frozenset(("img", "br", "hr", "input", "meta", "link", "area", "base", "col", "embed", "source", "wbr"))
SAID: Final = re.compile(
    r"""\b(?:alt|title|aria-label|content|placeholder)\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE
)
"""Attributes whose values are words."""


@dataclass(slots=True)
class _Reader:
    builder: Builder
    hidden: list[tuple[int, int]] = field(default_factory=list)
    open: Counter[str] = field(default_factory=Counter)
    """Hidden elements that are open, and those of the same name inside them."""
    hidden_from: int | None = None
    comments_end: bool = True

    def read(self) -> None:
        text = self.builder.source
        done = position = 0
        while (token := TOKEN.search(text, position)) is not None:
            end = self.token(token, done)
            position = token.end() if end is None else end
            done = done if end is None else end
        self.builder.keep(done, len(text))
        self.leave()

    def token(self, token: re.Match[str], done: int) -> int | None:
        """Where it ends; None if it is none after all."""
        text = self.builder.source
        if token.group() == "<!--":
            return self.comment(token.start(), done)
        if token.group() == "<":
            tag = TAG.match(text, token.start())
            return None if tag is None else self.tag(tag, done)
        said = html.unescape(token.group())
        if said == token.group():
            return None
        self.builder.keep(done, token.start())
        self.builder.put(said, *token.span())
        return token.end()

    def comment(self, start: int, done: int) -> int | None:
        text = self.builder.source
        end = text.find("-->", start) if self.comments_end else -1
        if end < 0:
            self.comments_end = False
            return None
        self.builder.keep(done, start)
        self.aside(start + 4, end)
        return end + 3

    def aside(self, start: int, end: int) -> None:
        """Words that are there and not shown."""
        from_here = self.builder.offsets.length
        self.builder.keep(start, end)
        self.builder.put(" ", end, end + 1)
        if self.hidden_from is None:
            self.hidden.append((from_here, self.builder.offsets.length))

    def tag(self, tag: re.Match[str], done: int) -> int:
        closing, name, attributes = tag.groups()
        self.builder.keep(done, tag.start())
        name = (name or "").lower()
        if closing:
            self.close(name)
        elif name and name not in VOID:
            self.enter(name, attributes)
        for said in SAID.finditer(attributes or "") if not closing else ():
            offset = tag.start(3)
            self.aside(*(offset + edge for edge in said.span(1 if said.group(1) is not None else 2)))
        return tag.end()

    def enter(self, name: str, attributes: str) -> None:
        if attributes.endswith("/"):
            return
        if self.hidden_from is not None:
            self.open[name] += name in self.open
        elif name in UNSEEN_ELEMENTS or UNSEEN.search(attributes):
            self.hidden_from = self.builder.offsets.length
            self.open[name] = 1

    def close(self, name: str) -> None:
        if name in self.open:
            self.open[name] -= 1
            if not self.open[name]:
                self.leave()

    def leave(self) -> None:
        if self.hidden_from is not None:
            self.hidden.append((self.hidden_from, self.builder.offsets.length))
        self.hidden_from = None
        self.open.clear()


def shown(text: str) -> tuple[Builder, tuple[tuple[int, int], ...]]:
    """The text without tags, with entities read; and which ranges of it a browser would not show."""
    reader = _Reader(Builder(text))
    reader.read()
    return reader.builder, tuple(reader.hidden)
